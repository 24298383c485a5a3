"""What the arms of one held-out question reached, and the main arm's gains over the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cg_lab.analysis.bootstrap import FloatArray, Interval, Resampling, Scores, resample_mean
from cg_lab.analysis.components import estimate_accuracy, estimate_mean, find_detectable
from cg_lab.analysis.proportions import compare_mcnemar, is_binary
from cg_lab.analysis.recovering import share_recovered
from cg_lab.analysis.stacking import Stack, pair_stacks, stack_seeds
from cg_lab.analysis.summary import Gain, measure_gain
from cg_lab.arms import CONTROLS, REFERENCES, Arm
from cg_lab.mat import Subset
from cg_lab.planning.plan import Cell, Contrast, Plan

Key = tuple[Arm, str, str]
"""Arm, variant, subset whose questions are asked."""
GAINS_OVER = tuple(arm for arm in Arm if arm in {*REFERENCES, Arm.RELATED, Arm.CEILING})
"""Arms over which other arms' gains are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmEffect:
    """One arm of one contrast, seeds taken together."""

    arm: Arm
    variant: str
    """Tells arms of one kind apart: the factor of `without`."""
    subset: str
    """Whose test questions were asked."""
    seeds: tuple[int, ...]
    """Seeds with a result; empty for the untouched backbone."""
    num_questions: int
    """Questions of one seed."""
    chance: float
    accuracy: Interval | None
    """None if no cell of the arm has a result."""
    gains: Mapping[Arm, Interval]
    """Over other arms, paired on identical questions; none over what is missing, and over the main arm's own model in
    another guise only that of the main arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All numbers of one held-out question, before it is judged together with the others."""

    contrast: Contrast
    target: Subset
    arms: tuple[ArmEffect, ...]
    gains: Mapping[Arm, Gain]
    """Of the main arm over another arm."""
    losses: Mapping[str, Gain]
    """Of the main arm over training without an element, by factor."""
    means: Mapping[Arm, FloatArray]
    """Accuracy of each seed, by arm."""
    draws: Mapping[Arm, FloatArray]
    """Bootstrap draws of each arm's accuracy, of the same questions and seeds; only for questions on a curve."""
    recovered: Interval | None
    mcnemar: Mapping[Arm, float]
    detectable: float | None
    """Gain over unrelated training that the question would have shown."""


def measure_contrast(
    plan: Plan, contrast: Contrast, cells: Sequence[Cell], scores: Mapping[str, Scores], resampling: Resampling
) -> Measured:
    """Measure one held-out question from the scores there are.

    Parameters
    ----------
    plan, contrast, cells
        The question, and its cells.
    scores
        By id of the evaluation.
    resampling
        Of the bootstrap; its confidence is that of all intervals.

    """
    by_arm: dict[Key, list[Cell]] = {}
    for cell in cells:
        by_arm.setdefault((cell.arm, cell.variant, cell.subset), []).append(cell)
    stacks = {key: stack_seeds(group, scores) for key, group in by_arm.items()}
    target = contrast.target
    main = contrast.main.arm if contrast.main else None
    own = stacks.get((main, "", target)) if main else None
    whole = {arm: stacks.get((arm, "", target)) for arm in Arm if arm.traits.asks_target}
    pairs = {over: pair_stacks(own, whole[over]) for over in REFERENCES}
    without = {key[1]: pair_stacks(own, part) for key, part in stacks.items() if key[0] is Arm.WITHOUT}
    gains = {over: measure_gain(pair, resampling) for over, pair in pairs.items() if pair}
    unrelated = pairs.get(Arm.UNRELATED)
    return Measured(
        contrast=contrast,
        target=plan.find_subset(contrast, target),
        arms=tuple(
            _measure_arm(plan, contrast, key, by_arm[key], stacks, resampling.confidence) for key in stacks
        ),
        gains=gains,
        losses={factor: measure_gain(pair, resampling) for factor, pair in without.items() if pair},
        means={arm: part.means_S for arm, part in whole.items() if part},
        draws={arm: resample_mean(part.scores, resampling) for arm, part in whole.items() if part}
        if contrast.level is not None
        else {},
        recovered=_recover(pairs.get(Arm.ZERO_SHOT), whole, resampling.confidence),
        mcnemar={
            over: compare_mcnemar(own.scores, part.scores)
            for over in CONTROLS
            if own and (part := whole[over]) and is_binary(own.scores) and is_binary(part.scores)
        },
        detectable=find_detectable(unrelated.scores, resampling.confidence) if unrelated else None,
    )  # fmt: skip


def _measure_arm(
    plan: Plan,
    contrast: Contrast,
    key: Key,
    cells: Sequence[Cell],
    stacks: Mapping[Key, Stack | None],
    confidence: float,
) -> ArmEffect:
    part, arm = stacks[key], key[0]
    pairs = {
        over: pair_stacks(part, stacks.get((over, "", contrast.target)))
        for over in GAINS_OVER
        if key[2] == contrast.target and key[:2] != (over, "") and (arm.traits.is_main or over.traits.model != "main")
    }
    return ArmEffect(
        arm=arm,
        variant=key[1],
        subset=key[2],
        seeds=part.seeds if part else (),
        num_questions=len(part.scores.questions) if part else plan.find_subset(contrast, key[2]).num_test,
        chance=cells[0].proof.chance,
        accuracy=estimate_accuracy(part.scores, confidence) if part else None,
        gains={over: estimate_mean(pair.scores, confidence) for over, pair in pairs.items() if pair},
    )


def _recover(gain: Stack | None, whole: Mapping[Arm, Stack | None], confidence: float) -> Interval | None:
    """Give the share of the ceiling's gain, if the ceiling gains at all."""
    pair = pair_stacks(whole[Arm.CEILING], whole[Arm.ZERO_SHOT])
    if gain is None or pair is None or estimate_mean(pair.scores, confidence).low <= 0:
        return None
    return share_recovered(gain, pair, confidence)
