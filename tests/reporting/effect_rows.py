"""The numbers of effects.csv, worked out anew; nothing of the analysis is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from tests.reporting.claims import Claim, decide, list_comparisons
from tests.reporting.formulas import (
    Estimate,
    Term,
    add_up,
    share_recovered,
)
from tests.reporting.study_files import CONTROLS, FEW_SEEDS, LEVEL, REFERENCES, Key, Question, Study

Values = dict[str, Any]


def spread_out(name: str, value: float, limits: Sequence[float], p_value: float | None = None) -> Values:
    found: Values = {name: value, f"{name}_low": limits[0], f"{name}_high": limits[1]}
    return found if p_value is None else found | {f"{name}_p": p_value}


def tell(name: str, gain: Estimate) -> Values:
    return spread_out(name, gain.value, gain.limits(), gain.p_value)


def recompute_effects(study: Study) -> Iterator[tuple[tuple[str, Key], Values]]:
    """Give the numbers of each row of effects.csv, by held-out question and arm."""
    questions, claims = study.measure(), decide(study)
    for question in questions:
        name = question.contrast["id"]
        for key, cells in study.cells(name).items():
            row: Values = {"missing": sum(cell["eval_job"] not in study.found for cell in cells)}
            if key in question.answers:
                row |= recompute_arm(study, question, key, cells)
            if key == question.key("related"):
                row |= recompute_main(study, question, claims[name])
            if key[0] == "without":
                row |= recompute_lost(question, key)
            if key[0] in {"composed", "composed_alone"}:
                row |= recompute_kept(question, key)
            yield (name, key), row


def recompute_arm(study: Study, question: Question, key: Key, cells: Sequence[Mapping[str, Any]]) -> Values:
    answers, table = (
        question.answers[key],
        study.found[next(c["eval_job"] for c in cells if c["eval_job"] in study.found)],
    )
    mean = question.mean(key)
    low, high = mean.limits(least=0.0)
    if len(answers.right_SQ) == 1 and not answers.is_grouped:
        from statsmodels.stats.proportion import proportion_confint

        low, high = proportion_confint(int(answers.right_SQ.sum()), answers.right_SQ.size, method="wilson")
    row: Values = {
        "seeds": ";".join(map(str, answers.seeds)),
        "num_questions": len(table),
        "chance": float((1 / table["options"].map(len)).mean()),
    }
    row |= spread_out("accuracy", mean.value, (low, high))
    for over in (*REFERENCES, "related", "ceiling"):
        is_guise = over == "blind" and key[0] != "related"
        if key[2] == question.target and key != question.key(over) and question.has(over) and not is_guise:
            row |= tell(f"gain_over_{over}", question.gain(key, question.key(over)))
    return row


def recompute_main(study: Study, question: Question, claim: Claim) -> Values:
    row: Values = {"verdict": claim.verdict, "p_holm": claim.p_holm, "p_composes": claim.p_composes}
    if question.has(*CONTROLS):
        row["check_mark"] = str(all(question.over(arm).value > 0 for arm in CONTROLS)).lower()
        detect = stats.t.ppf(1 - LEVEL / (2 * study.num_asked), (gain := question.over("unrelated")).freedom)
        row["detectable_gain_over_unrelated"] = (detect + stats.t.ppf(0.8, gain.freedom)) * np.sqrt(gain.variance)
    for arm in CONTROLS:
        if question.has(arm):
            row[f"mcnemar_p_over_{arm}"] = compare_majorities(question, question.key(arm))
    if question.has("ceiling", "zero_shot"):
        row |= recompute_share("recovered_share", question, *map(question.key, ("related", "ceiling", "zero_shot")))
    return row | recompute_further(study, question, claim) | recompute_combination(question)


def compare_majorities(question: Question, other: Key) -> float:
    from statsmodels.stats.contingency_tables import mcnemar

    shares = [question.answers[key].right_SQ.mean(axis=0) for key in (question.key("related"), other)]
    kept = (shares[0] != 0.5) & (shares[1] != 0.5)
    table = pd.crosstab(*(pd.Categorical(share[kept] > 0.5, [False, True]) for share in shares), dropna=False)
    return float(mcnemar(table.to_numpy(), exact=True).pvalue)


def recompute_share(name: str, question: Question, own: Key, most: Key, none: Key) -> Values:
    gain, whole = question.gain(own, none), question.gain(most, none)
    if whole.limits()[0] <= 0:
        return {}
    share = gain.value / whole.value
    terms = [question.term(own), question.term(most, -share), question.term(none, share - 1)]
    found = share_recovered(gain, whole, question.gain(own, most), add_up(*terms).freedom)
    return spread_out(name, found[0], found[1:]) if found else {}


def recompute_kept(question: Question, key: Key) -> Values:
    if not question.has("unrelated", "related") or key not in question.answers:
        return {}
    return recompute_share("share_of_gain_kept", question, key, question.key("related"), question.key("unrelated"))


def recompute_lost(question: Question, key: Key) -> Values:
    if not question.has("unrelated", "related") or key not in question.answers:
        return {}
    found = recompute_share("share", question, key, question.key("related"), question.key("unrelated"))
    if not found:
        return {}
    return spread_out("share_of_gain_lost", 1 - found["share"], (1 - found["share_high"], 1 - found["share_low"]))


def recompute_further(study: Study, question: Question, claim: Claim) -> Values:
    """Give the seeds that would resolve the gains that were seen."""
    first, alone = list_comparisons(question)
    present = len(question.answers[question.key("related")].seeds)
    unrelated = len(question.answers[question.key("unrelated")].seeds) if question.has("unrelated") else 0

    def find_seeds(name: str, *, of_unrelated: bool) -> int | None:
        gain = (first | alone)[name]
        factor = sum(stats.t.ppf([1 - LEVEL / (2 * study.num_asked), 0.8], gain.freedom))
        own, *others = [variance for _, variance in gain.of_seeds] or [0.0]
        fixed = gain.variance - own - sum(others)
        for seeds in range(present + (not of_unrelated), 65):
            left = own * present / seeds
            if name in alone:
                left += sum(others) * present / seeds
            else:
                left += sum(others) * (min(1.0, unrelated / seeds) if of_unrelated else 1)
            if factor * np.sqrt(max(0.0, fixed) + left) <= gain.value:
                return seeds
        return None

    for of_unrelated in (False, True):
        needed = [find_seeds(name, of_unrelated=of_unrelated) for name in claim.unresolved]
        if needed and None not in needed:
            most = max(seeds for seeds in needed if seeds is not None)
            grown = [part for part in question.contrast["trainings"] if part["arm"] not in FEW_SEEDS]
            num_each = {"composed": lambda part: len(part["subsets"]), "composed_alone": lambda _: 0}
            further = (most - present) * sum(num_each.get(part["arm"], lambda _: 1)(part) for part in grown)
            if of_unrelated:
                further += max(0, most - unrelated)
            return {"seeds_to_resolve": most, "finetunes_to_resolve": further}
    return {}


def recompute_combination(question: Question) -> Values:
    alone = question.over_alone()
    if not alone:
        return {}
    least = min(alone.values(), key=lambda gain: gain.value)
    high = max(least.value, min(gain.limits(1 - LEVEL / len(alone))[1] for gain in alone.values()))
    low, p_value = (min(gain.limits()[0] for gain in alone.values()), max(gain.p_value for gain in alone.values()))
    row = spread_out("synergy", least.value, (low, high), p_value if least.value > 0 else 1.0)
    told = [(gain, *gain.limits()) for gain in alone.values()]
    row["over_each_alone"] = [(gain.value, low, high, gain.p_value) for gain, low, high in told]
    enough = {
        source: alone[source].value
        for source, key in zip(alone, question.sources, strict=True)
        if alone[source].limits()[0] <= 0
        and all(question.gain(key, question.key(arm)).limits()[0] > 0 for arm in CONTROLS)
    }
    row["sufficient_source"] = min(enough, key=lambda source: enough[source], default="")
    if len(alone) == 2:
        row |= recompute_interaction(question)
    return row


def recompute_interaction(question: Question) -> Values:
    keys = [question.key("related"), *question.sources, question.key("unrelated")]
    terms, value = list[Term](), 0.0
    for key, sign in zip(keys, (1, -1, -1, 1), strict=True):
        count = question.answers[key].values_SG.shape[1]
        share = (question.answers[key].right_SQ.mean() * count + 0.5) / (count + 1)
        value += sign * float(np.log(share / (1 - share)))
        terms.append(question.term(key, sign / (share * (1 - share))))
    found = add_up(*terms)
    shifted = Estimate(value=value, variance=found.variance, freedom=found.freedom)
    return spread_out("interaction", value, shifted.limits(least=-np.inf, most=np.inf), shifted.p_value)
