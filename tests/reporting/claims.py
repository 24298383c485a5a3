"""The words of a study's held-out questions, by the rule of docs/statistics.md; nothing of the analysis is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.stats.multitest import multipletests

from tests.reporting.formulas import (
    Estimate,
    Term,
    add_up,
    reject_graphically,
)
from tests.reporting.study_files import CONTROLS, LEVEL, REFERENCES, Question, Study


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is decided of a question."""

    verdict: str
    p_holm: float | None = None
    p_composes: float | None = None
    unresolved: tuple[str, ...] = ()


def find_obstacle(study: Study, question: Question) -> str | None:
    cells = [cell for group in study.cells(question.contrast["id"]).values() for cell in group]
    whole = {name for cell in cells for name in study.plan["sets"][study.proof(cell)["whole_in"]]}
    if not question.contrast["fully_covered"] or whole:
        return "nothing to recombine"
    if any(cell["eval_job"] not in study.found for cell in cells):
        return "missing"
    if not question.has(*REFERENCES, "ceiling"):
        return "not planned"
    ceiling = [Term(answers=question.answers[question.key(arm)], seeds=None, weight=w) for arm, w in LIFT]
    if add_up(*ceiling).limits()[0] <= 0:
        return "not learned"
    return "few seeds" if len(question.answers[question.key("related")].seeds) < 3 else None


LIFT = (("ceiling", 1.0), ("zero_shot", -1.0))


def list_comparisons(question: Question) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Give the comparisons of the first claim, and the further ones of the second."""
    return {arm: question.over(arm) for arm in REFERENCES if question.has(arm)}, question.over_alone()


def find_p_values(question: Question) -> tuple[float, float, float]:
    """Give the p-values of `transfers`, `composes` and `harms`."""
    first, alone = list_comparisons(question)
    transfers = max(gain.one_sided(1) for gain in first.values())
    harms = max(first[arm].one_sided(-1) for arm in CONTROLS)
    return transfers, max([transfers, *(gain.one_sided(1) for gain in alone.values())]), harms


def adjust(study: Study, p_TC: Sequence[tuple[float, float]], size: int) -> list[tuple[float, float]]:
    if study.plan["rule"]["family"] == "graphical":
        return reject_graphically(p_TC, size)
    padded = np.vstack([np.array(p_TC), np.ones((size - len(p_TC), 2))])
    found = [multipletests(padded[:, claim], method="fdr_bh")[1][: len(p_TC)] for claim in (0, 1)]
    return list(zip(*found, strict=True))


def decide(study: Study) -> dict[str, Claim]:
    """Judge all questions, look by look where there are looks."""
    looks = study.plan["rule"]["looks"] or [1000]
    shares = [k * (k + 2) for k in range(1, len(looks) + 1)]
    left = {contrast["id"] for contrast in study.plan["contrasts"]}
    least: dict[str, list[float]] = {}
    found: dict[str, Claim] = {}
    for num_seeds, share in zip(looks, shares, strict=True):
        questions = study.measure(num_seeds)
        for question in questions:
            before = least.get(question.contrast["id"], [1.0] * 3)
            if question.has(*REFERENCES):
                now = [p * sum(shares) / share for p in find_p_values(question)]
                least[question.contrast["id"]] = [min(1.0, *pair) for pair in zip(before, now, strict=True)]
        found = judge(study, questions, least)
        if len(looks) > 1:
            matters = study.plan["rule"]["matters"] / 100
            left -= {part.contrast["id"] for part in questions if is_over(found[part.contrast["id"]], part, matters)}
        if not left:
            break
    return found


def is_over(claim: Claim, question: Question, matters: float) -> bool:
    """Whether a question gets no more seeds."""
    first, alone = list_comparisons(question)
    needed = {"transfers": alone, "no evidence": first}.get(claim.verdict, {})
    return not needed or any(gain.limits()[1] < matters for gain in needed.values())


def judge(study: Study, questions: Sequence[Question], p_values: Mapping[str, Sequence[float]]) -> dict[str, Claim]:
    obstacles = [find_obstacle(study, question) for question in questions]
    tested = [question for question, obstacle in zip(questions, obstacles, strict=True) if obstacle is None]
    size = len(tested) + obstacles.count("missing")
    found = {question.contrast["id"]: Claim(verdict="cannot say") for question in questions}
    if not tested:
        return found
    own = [p_values[question.contrast["id"]] for question in tested]
    harms = [harm < transfers for transfers, _, harm in own]
    pairs = [(p[2], p[2]) if is_harm else (p[0], p[1]) for p, is_harm in zip(own, harms, strict=True)]
    for question, is_harm, (first, last) in zip(tested, harms, adjust(study, pairs, size), strict=True):
        found[question.contrast["id"]] = find_word(question, first, last, is_harm=is_harm, size=size)
    return found


def find_word(question: Question, first: float, last: float, *, is_harm: bool, size: int) -> Claim:
    comparisons, alone = list_comparisons(question)
    p_composes = None if is_harm or not alone else last
    if first > LEVEL:
        verdict, needed = "no evidence", comparisons
    elif is_harm:
        verdict, needed = "harms", {}
    elif alone and last <= LEVEL:
        verdict, needed = "composes", {}
    else:
        verdict, needed = "transfers", alone
    unresolved = tuple(name for name, gain in needed.items() if gain.one_sided(1) * size > LEVEL) or tuple(needed)
    return Claim(verdict=verdict, p_holm=first, p_composes=p_composes, unresolved=unresolved)
