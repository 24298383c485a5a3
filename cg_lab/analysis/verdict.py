"""From evidence to a verdict; the rule is written out in `cg_lab.planning.criterion` and printed with every verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cg_lab.analysis.bootstrap import Interval, adjust_holm


class Verdict(StrEnum):
    """What one held-out question showed."""

    COMPOSES = "composes"
    NO_EVIDENCE = "no evidence"
    HARMS = "harms"
    CANNOT_SAY = "cannot say"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the rule looks at."""

    fully_covered: bool
    sees_target: bool
    """The main arm was trained on target data by intent."""
    whole_sources: tuple[str, ...] = ()
    """That alone show every element that is asked for."""
    complete: bool
    num_seeds: int
    """Of the main arm."""
    over_zero_shot: Interval | None
    over_unrelated: Interval | None
    over_blind: Interval | None
    ceiling_over_zero_shot: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict with the reason that the rule gives."""

    verdict: Verdict
    reason: str
    p_holm: float | None


def decide(evidence: list[Evidence], confidence: float) -> list[Decision]:
    """Apply the rule to all held-out questions of a study together, since p-values are adjusted over them."""
    testable = [index for index, part in enumerate(evidence) if _find_obstacle(part) is None]
    adjusted = adjust_holm(tuple(_worst_p(evidence[index]) for index in testable))
    p_holm = dict(zip(testable, adjusted, strict=True))
    return [_decide_one(part, p_holm.get(index), 1 - confidence) for index, part in enumerate(evidence)]


def _find_obstacle(part: Evidence) -> str | None:
    ceiling = part.ceiling_over_zero_shot
    obstacles = (
        (not part.complete, "cells are missing"),
        (part.sees_target, "the target's own data are part of training or prompt, so that nothing is held out"),
        (
            None in {part.over_zero_shot, part.over_unrelated, part.over_blind},
            "the design has no unrelated or no blind arm here",
        ),
        (
            not part.fully_covered,
            "an element of the target is covered by no related subset, so a gain is transfer, not recombination",
        ),
        (
            bool(part.whole_sources),
            f"each of {', '.join(part.whole_sources)} alone shows the whole combination, so a gain is transfer, not "
            "recombination",
        ),
        (
            ceiling is None or ceiling.low <= 0,
            "even training on the target itself does not lift the model above the untouched backbone",
        ),
        (
            part.num_seeds == 2,
            "two seeds tell too little about how trainings differ; a third makes a verdict possible",
        ),
    )
    return next((reason for holds, reason in obstacles if holds), None)


def _signs(part: Evidence) -> tuple[float, ...]:
    assert part.over_zero_shot is not None
    assert part.over_unrelated is not None
    assert part.over_blind is not None
    return part.over_zero_shot.estimate, part.over_unrelated.estimate, part.over_blind.estimate


def _worst_p(part: Evidence) -> float:
    """Give the p-value of the claim as a whole: all its parts must hold (intersection-union test, Berger 1982)."""
    assert part.over_zero_shot is not None
    assert part.over_unrelated is not None
    assert part.over_blind is not None
    pair = max(part.over_zero_shot.p_value, part.over_unrelated.p_value)
    zero_shot, unrelated, blind = _signs(part)
    if zero_shot < 0 and unrelated < 0:
        return pair
    return max(pair, part.over_blind.p_value) if min(zero_shot, unrelated, blind) > 0 else 1.0


def _decide_one(part: Evidence, p_holm: float | None, level: float) -> Decision:
    obstacle = _find_obstacle(part)
    if obstacle is not None or p_holm is None:
        return Decision(verdict=Verdict.CANNOT_SAY, reason=obstacle or "not tested", p_holm=None)
    zero_shot, unrelated, blind = _signs(part)
    shown = f"Holm-adjusted p = {p_holm:.2g}"
    if p_holm <= level + 1e-12 and min(zero_shot, unrelated, blind) > 0:
        return Decision(
            verdict=Verdict.COMPOSES, reason=f"above zero-shot, unrelated and blind, {shown}", p_holm=p_holm
        )
    if p_holm <= level + 1e-12 and max(zero_shot, unrelated) < 0:
        return Decision(verdict=Verdict.HARMS, reason=f"below zero-shot and unrelated, {shown}", p_holm=p_holm)
    return Decision(
        verdict=Verdict.NO_EVIDENCE, reason=f"the gains are not all resolved from zero, {shown}", p_holm=p_holm
    )
