"""From evidence to a word; the rule is written out in `cg_lab.planning.criterion` and printed with every verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from cg_lab.analysis.adjusted_p_values import Family, adjust_sequences
from cg_lab.analysis.bootstrap import FloatArray, Interval
from cg_lab.analysis.looks import combine_looks
from cg_lab.percentages import tell_p
from cg_lab.planning.study_power import share_level
from cg_lab.study import FEWEST_SEEDS

ROUNDING = 1e-12
MISSING = "cells are missing"


class Verdict(StrEnum):
    """What one held-out question showed."""

    COMPOSES = "composes"
    TRANSFERS = "transfers"
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
    """Whether no cell of the first look is missing."""
    is_counted: bool = True
    """Whether no cell of this look is missing; otherwise the question stands as at the look before."""
    num_seeds: int
    """Of the main arm."""
    over_zero_shot: Interval | None
    over_unrelated: Interval | None
    over_blind: Interval | None
    ceiling_over_zero_shot: Interval | None
    sources: tuple[str, ...] = ()
    """That the main arm combines, where they are few enough to be taken alone."""
    over_alone: Mapping[str, Interval] = field(default_factory=dict[str, Interval])
    """Gain over each source alone, as far as there are such arms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """At which level, and among how many, claims are tested."""

    level: float
    """Share of studies that may claim anything falsely, any word and direction."""
    family: Family = "graphical"
    further: int = 0
    """Questions that share the level beside those that are judged here."""
    looks: tuple[int, ...] = ()
    """Seeds of the main arm at each planned look; none for a number of seeds that was fixed before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """A comparison that keeps a question from its next word."""

    over: str
    gain: Interval
    is_resolved_alone: bool
    """Before adjustment over questions and looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict with the reason that the rule gives."""

    verdict: Verdict
    reason: str
    p_holm: float | None
    """Adjusted p-value of the first claim, that related training transfers or harms."""
    p_composes: float | None = None
    """Of the second claim; None where it can't be made."""
    p_composes_alone: float | None = None
    """The same before adjustment over questions."""
    unresolved: tuple[Unresolved, ...] = ()


def decide(looks: Sequence[Sequence[Evidence]], rules: Rules) -> list[Decision]:
    """Apply the rule to all held-out questions of a study together, since they share one level.

    Parameters
    ----------
    looks
        At each look so far, the evidence of every question; without looks one.
    rules
        At which level.

    """
    now = [next((part for part in reversed(parts) if part.is_counted), parts[0]) for parts in zip(*looks, strict=True)]
    obstacles = [_find_obstacle(part) for part in now]
    testable = [place for place, obstacle in enumerate(obstacles) if obstacle is None]
    size = rules.further + len(testable) + sum(obstacle == MISSING for obstacle in obstacles)
    if not testable:
        return [_say_nothing(obstacle) for obstacle in obstacles if obstacle is not None]
    shares = share_level(max(1, len(rules.looks)))
    p_values = [_combine([look[place] for look in looks], shares) for place in testable]
    adjusted_TC = adjust_sequences(np.array([part[:2] for part in p_values]), rules.family, size)
    judged = {
        place: _decide_one(now[place], adjusted_C, part, rules, size)
        for place, adjusted_C, part in zip(testable, adjusted_TC, p_values, strict=True)
    }
    return [judged[place] if obstacle is None else _say_nothing(obstacle) for place, obstacle in enumerate(obstacles)]


def _find_obstacle(part: Evidence) -> str | None:
    ceiling = part.ceiling_over_zero_shot
    obstacles = (
        (part.sees_target, "the target's own data are part of training or prompt, so that nothing is held out"),
        (
            not part.fully_covered,
            "an element of the target is covered by no related subset, so a gain is transfer, not recombination",
        ),
        (
            bool(part.whole_sources),
            f"each of {', '.join(part.whole_sources)} alone shows the whole combination, so a gain is transfer, not "
            "recombination",
        ),
        (not part.complete, MISSING),
        (
            None in {part.over_zero_shot, part.over_unrelated, part.over_blind},
            "the design has no unrelated or no blind arm here",
        ),
        (
            ceiling is None,
            "no model was trained on the target itself (the arm ceiling), so it is not known whether that lifts any",
        ),
        (
            ceiling is not None and ceiling.low <= 0,
            "even training on the target itself does not lift the model above the untouched backbone",
        ),
        (part.num_seeds == 1, f"one seed: numbers are about that very model; a verdict takes {FEWEST_SEEDS} seeds"),
        (
            part.num_seeds < FEWEST_SEEDS,
            "two seeds tell too little about how trainings differ; a third makes a verdict possible",
        ),
    )
    return next((reason for holds, reason in obstacles if holds), None)


def _say_nothing(obstacle: str) -> Decision:
    return Decision(verdict=Verdict.CANNOT_SAY, reason=obstacle, p_holm=None)


def list_first(part: Evidence) -> dict[str, Interval]:
    """Give the comparisons of `transfers`."""
    found = {"zero-shot": part.over_zero_shot, "unrelated": part.over_unrelated, "blind": part.over_blind}
    return {name: gain for name, gain in found.items() if gain is not None}


def list_alone(part: Evidence) -> dict[str, Interval]:
    """Give the further comparisons of `composes`; none unless there is one for each source."""
    if not part.sources or set(part.sources) - set(part.over_alone):
        return {}
    return {f"{source} alone": part.over_alone[source] for source in part.sources}


def _test_all(gains: Mapping[str, Interval], sign: int) -> float:
    """Give the p-value of all gains having a sign: the largest (intersection-union test, Berger 1982)."""
    return max((gain.p_value if gain.estimate * sign > 0 else 1.0) for gain in gains.values())


def _combine(looks: Sequence[Evidence], shares: Sequence[float]) -> tuple[float, float, bool]:
    """Give a question's p-values over its looks, of both claims, and whether the first is harm."""
    above: list[FloatArray] = []
    below: list[FloatArray] = []
    beyond: list[FloatArray] = []
    for part in looks:
        first, alone = list_first(part), list_alone(part)
        transfers = _test_all(first, 1) if len(first) == 3 else 1.0
        harms = _test_all({name: gain for name, gain in first.items() if name != "blind"}, -1) if first else 1.0
        composes = max(transfers, _test_all(alone, 1)) if alone else transfers
        for found, p_value in ((above, transfers), (below, harms), (beyond, composes)):
            found.append(np.asarray(p_value if part.is_counted else 1.0))
    transfers, harms, composes = (float(combine_looks(p_values, shares)) for p_values in (above, below, beyond))
    return (harms, harms, True) if harms < transfers else (transfers, composes, False)


def _decide_one(
    part: Evidence, adjusted_C: FloatArray, raw: tuple[float, float, bool], rules: Rules, size: int
) -> Decision:
    first, last = (float(p_value) for p_value in adjusted_C)
    level, shown, is_harm = rules.level + ROUNDING, f"adjusted {tell_p(first)}", raw[2]
    comparisons, alone = list_first(part), list_alone(part)
    p_composes, p_alone = (last, raw[1]) if alone and not is_harm else (None, None)
    left: tuple[Unresolved, ...] = ()
    if first > level:
        left = _find_unresolved(comparisons, rules.level, size)
        verdict, reason = Verdict.NO_EVIDENCE, f"{_tell_unresolved(left, size)}; {shown}"
    elif is_harm:
        verdict, reason = Verdict.HARMS, f"below zero-shot and unrelated, {shown}"
    elif alone and last <= level:
        verdict = Verdict.COMPOSES
        reason = f"above zero-shot, unrelated, blind and each source alone, adjusted {tell_p(last)}"
    else:
        left = _find_unresolved(alone, rules.level, size)
        why = _tell_unresolved(left, size) if alone else _explain_no_sources(part)
        verdict, reason = Verdict.TRANSFERS, f"above zero-shot, unrelated and blind, {shown}; {why}"
    return Decision(
        verdict=verdict, reason=reason, p_holm=first, p_composes=p_composes, p_composes_alone=p_alone, unresolved=left
    )


def _find_unresolved(gains: Mapping[str, Interval], level: float, size: int) -> tuple[Unresolved, ...]:
    """Give the comparisons that keep a claim from being made; if none does by itself, all of them."""
    found = [
        Unresolved(over=name, gain=gain, is_resolved_alone=gain.estimate > 0 and gain.p_value <= level)
        for name, gain in gains.items()
    ]
    left = [part for part in found if not part.is_resolved_alone or part.gain.p_value * size > level]
    return tuple(left or found)


def _tell_unresolved(left: Sequence[Unresolved], size: int) -> str:
    """Name what is not resolved, and whether it would be alone.

    >>> _tell_unresolved(
    ...     [
    ...         Unresolved(
    ...             over="blind",
    ...             gain=Interval(estimate=0.03, low=-0.01, high=0.07, p_value=0.12),
    ...             is_resolved_alone=False,
    ...         )
    ...     ],
    ...     4,
    ... )
    'not resolved: over blind (+3 points, p = 0.12)'
    """
    never = [_tell_gain(part) for part in left if not part.is_resolved_alone]
    alone = [_tell_gain(part) for part in left if part.is_resolved_alone]
    said = [f"not resolved: {', '.join(never)}"] if never else []
    if alone:
        among = f"among {size} questions" if size > 1 else "at this look"
        said.append(f"resolved by itself, but not {among}: {', '.join(alone)}")
    return "; ".join(said)


def _tell_gain(part: Unresolved) -> str:
    return f"over {part.over} ({part.gain.estimate * 100:+.0f} points, {tell_p(part.gain.p_value)})"


def _explain_no_sources(part: Evidence) -> str:
    if not part.sources:
        return "with so many sources none can be taken alone, so that no more can be said"
    missing = ", ".join(source for source in part.sources if source not in part.over_alone)
    return f"whether one source is enough is not measured: no arm of {missing} alone"
