"""Arms and the gains between them, with seed variances that are moderated over a study's held-out questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from typing import TypeVar

import numpy as np

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.gain_estimates import GainEstimate, Part, estimate_gains
from cg_lab.analysis.seed_variance import (
    ModeratedVariance,
    SeedPrior,
    SeedScores,
    borrow_variance,
    moderate_variance,
    reduce_scores,
)
from cg_lab.analysis.stacking import Stack, pair_stacks
from cg_lab.arms import REFERENCES, Arm
from cg_lab.planning.plan import SeedDeviation
from cg_lab.study import FEWEST_SEEDS

K = TypeVar("K")
Key = tuple[Arm, str, str]
"""Arm, variant, subset whose questions are asked."""
GAINS_OVER = tuple(arm for arm in Arm if arm in {*REFERENCES, Arm.RELATED, Arm.CEILING})
"""Arms over which other arms' gains are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmStacks:
    """The answers of one held-out question's arms, as far as they are there."""

    setting: str
    """Questions of one setting lend each other their seeds' variance: one backbone, recipe and data."""
    main: Key | None
    stacks: Mapping[Key, Stack]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmEstimates:
    """What a held-out question's arms reached, and the gains between them that are told."""

    stacks: Mapping[Key, Stack]
    parts: Mapping[Key, Part]
    differences: Mapping[Key, Part]
    """The main arm's model less itself in another guise, by that arm."""
    main: Key | None
    accuracies: Mapping[Key, Interval]
    gains: Mapping[tuple[Key | None, Key], tuple[GainEstimate, Interval]]
    """Of the main arm over all others that were asked the same, and of each over those of `GAINS_OVER`."""

    def models(self, first: Key, second: Key) -> tuple[tuple[str, ...], ...]:
        """Name the fine-tunes behind each of a gain's seed variances."""
        if first == self.main and second in self.differences:
            return (self.stacks[first].models,) if self.differences[second].seeds else ()
        return tuple(self.stacks[key].models for key in (first, second) if self.parts[key].seeds is not None)


def weigh(part: Part, weight: float) -> Part:
    """Give a part another weight in a sum of arms."""
    return Part(scores=part.scores, seeds=part.seeds, weight=weight)


def estimate_arms(
    asked: Sequence[ArmStacks], confidence: float, known: Mapping[str, SeedDeviation] | None = None
) -> list[ArmEstimates]:
    """Reduce every arm of every question, moderate the variance over seeds by arm, and compare the arms.

    An arm of one seed has the other questions' variance, and where none has a second seed the main arm's. The main arm
    never does: one seed of it gives numbers about that very model.

    Parameters
    ----------
    asked
        Held-out questions.
    confidence
        Of all intervals.
    known
        By setting, what earlier studies say of the main arm's seeds; it stands in where there are too few questions.

    """
    known = known or {}
    reduced = [{key: _reduce(stack) for key, stack in part.stacks.items()} for part in asked]
    guises = [_find_guises(part) for part in asked]
    places: dict[tuple[str, str], list[tuple[int, Key, bool]]] = {}
    for place, part in enumerate(asked):
        for key in part.stacks:
            places.setdefault((part.setting, str(key[0])), []).append((place, key, False))
        for key in guises[place]:
            places.setdefault((part.setting, f"main less {key[0]}"), []).append((place, key, True))
    mains = {part.setting: str(part.main[0]) for part in asked if part.main}
    found: list[dict[tuple[Key, bool], Part]] = [{} for _ in asked]
    lent: dict[str, SeedPrior] = {}
    for setting, arm in sorted(places, key=lambda name: name[1] != mains.get(name[0])):
        members = places[setting, arm]
        is_main = arm == mains.get(setting) or arm.startswith("main less")
        scores = [(guises if apart else reduced)[place][key] for place, key, apart in members]
        prior = None
        if setting in known and (is_main or Arm(arm).traits.carries_claim):
            prior = _take_prior(known[setting], scores)
        elif not is_main and all(own.num_seeds < FEWEST_SEEDS for own in scores):
            prior = lent.get(setting)
        seeds = _moderate(scores, prior, is_main=is_main)
        if arm == mains.get(setting) and (told := [one for one in seeds if one is not None]):
            lent[setting] = borrow_variance(np.array([float(one.variance) for one in told]))
        for (place, key, apart), own, variance in zip(members, scores, seeds, strict=True):
            found[place][key, apart] = Part(scores=own, seeds=variance)
    parts = [{key: found[place][key, False] for key in part.stacks} for place, part in enumerate(asked)]
    differences = [{key: found[place][key, True] for key in keys} for place, keys in enumerate(guises)]
    accuracies = _estimate_all([{key: [own] for key, own in one.items()} for one in parts], confidence, (0.0, 1.0))
    sums = [_list_sums(*one) for one in zip(asked, parts, differences, strict=True)]
    gains = _estimate_all(sums, confidence, (-1.0, 1.0))
    return [
        ArmEstimates(
            stacks=one.stacks,
            parts=parts[place],
            differences=differences[place],
            main=one.main,
            accuracies={key: interval for key, (_, interval) in accuracies[place].items()},
            gains=gains[place],
        )
        for place, one in enumerate(asked)
    ]


def _take_prior(known: SeedDeviation, scores: Sequence[SeedScores]) -> SeedPrior:
    """Give the prior of earlier studies, with what single answers add to it here."""
    floor_T = np.array([float(part.floor) for part in scores])
    return SeedPrior(variance=known.deviation**2 + floor_T, freedom=float(known.freedom))


def _list_sums(
    asked: ArmStacks, parts: Mapping[Key, Part], differences: Mapping[Key, Part]
) -> dict[tuple[Key | None, Key], list[Part]]:
    """List the gains of a held-out question that are told, as sums of arms."""
    less = {key: weigh(part, -1.0) for key, part in parts.items()}
    own = [key for key in parts if key[0].traits.asks_target]
    sums: dict[tuple[Key | None, Key], list[Part]] = {}
    for first, second in permutations(own, 2):
        is_told = second[0] in GAINS_OVER and not second[1]
        if first == asked.main and second in differences:
            sums[first, second] = [differences[second]]
        elif second == asked.main and first in differences:
            sums[first, second] = [weigh(differences[first], -1.0)]
        elif first == asked.main or (is_told and (first[0].traits.is_main or second[0].traits.model != "main")):
            sums[first, second] = [parts[first], less[second]]
    return sums


def _estimate_all(
    asked: Sequence[Mapping[K, Sequence[Part]]], confidence: float, within: tuple[float, float]
) -> list[dict[K, tuple[GainEstimate, Interval]]]:
    """Estimate the sums of all questions at once."""
    found = iter(estimate_gains([parts for sums in asked for parts in sums.values()], confidence, within))
    return [dict(zip(sums, islice(found, len(sums)), strict=True)) for sums in asked]


def _reduce(stack: Stack) -> SeedScores:
    return reduce_scores(stack.scores, is_trained=bool(stack.seeds))


def _find_guises(asked: ArmStacks) -> dict[Key, SeedScores]:
    """Subtract what the main arm's own model answers in another guise, seed by seed."""
    own = asked.main and asked.stacks.get(asked.main)
    if not asked.main or not own:
        return {}
    pairs = {
        key: pair_stacks(own, stack)
        for key, stack in asked.stacks.items()
        if key != asked.main and key[2] == asked.main[2] and stack.models and set(stack.models) & set(own.models)
    }
    return {key: _reduce(pair) for key, pair in pairs.items() if pair is not None}


def _moderate(
    scores: Sequence[SeedScores], prior: SeedPrior | None, *, is_main: bool
) -> list[ModeratedVariance | None]:
    """Moderate one arm's variances over questions; None where seeds are left out."""
    freedom_T = np.array([float(part.freedom) for part in scores])
    variance_T, floor_T = (np.array([float(getattr(part, name)) for part in scores]) for name in ("variance", "floor"))
    moderated = moderate_variance(variance_T, floor_T, freedom_T, prior)
    return [
        None
        if part.num_seeds == 0 or (is_main and part.num_seeds == 1) or moderated.freedom[place] == 0
        else ModeratedVariance(variance=moderated.variance[place], freedom=moderated.freedom[place])
        for place, part in enumerate(scores)
    ]
