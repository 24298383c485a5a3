"""What the arms of one held-out question reached, and the main arm's gains over the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cg_lab.analysis.bootstrap import FloatArray, Interval, Resampling, Scores, resample_means
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stacked:
    """The answers of one held-out question, before anything is drawn."""

    contrast: Contrast
    cells: Mapping[Key, Sequence[Cell]]
    stacks: Mapping[Key, Stack | None]
    own: Stack | None
    """Of the main arm."""
    whole: Mapping[Arm, Stack]
    """Of the arms that are asked about the target."""
    pairs: Mapping[Arm, Stack]
    """The main arm less another one."""
    without: Mapping[str, Stack]
    """The main arm less training without an element, by factor."""

    @property
    def resampled(self) -> tuple[Stack, ...]:
        """What replicates are drawn of: gains, losses, and on a curve the arms themselves."""
        arms = self.whole.values() if self.contrast.level is not None else ()
        return (*self.pairs.values(), *self.without.values(), *arms)


def measure_contrasts(
    plan: Plan, cells: Mapping[str, Sequence[Cell]], scores: Mapping[str, Scores], resampling: Resampling
) -> list[Measured]:
    """Measure the held-out questions of a plan from the scores there are.

    Parameters
    ----------
    plan
        Its questions are measured.
    cells
        By id of the question.
    scores
        By id of the evaluation.
    resampling
        Of the bootstrap; its confidence is that of all intervals.

    """
    stacked = [_stack(contrast, cells[contrast.id], scores) for contrast in plan.contrasts]
    drawn = iter(resample_means([stack.scores for part in stacked for stack in part.resampled], resampling))
    return [_measure(plan, part, drawn, resampling.confidence) for part in stacked]


def _stack(contrast: Contrast, cells: Sequence[Cell], scores: Mapping[str, Scores]) -> _Stacked:
    by_arm: dict[Key, list[Cell]] = {}
    for cell in cells:
        by_arm.setdefault((cell.arm, cell.variant, cell.subset), []).append(cell)
    stacks = {key: stack_seeds(group, scores) for key, group in by_arm.items()}
    main = contrast.main.arm if contrast.main else None
    whole = {arm: part for arm in Arm if arm.traits.asks_target and (part := stacks.get((arm, "", contrast.target)))}
    own = whole.get(main) if main else None
    without = {key[1]: part for key, part in stacks.items() if key[0] is Arm.WITHOUT}
    return _Stacked(
        contrast=contrast,
        cells=by_arm,
        stacks=stacks,
        own=own,
        whole=whole,
        pairs={over: pair for over in REFERENCES if (pair := pair_stacks(own, whole.get(over)))},
        without={factor: pair for factor, part in without.items() if (pair := pair_stacks(own, part))},
    )


def _measure(plan: Plan, part: _Stacked, drawn: Iterator[FloatArray], confidence: float) -> Measured:
    """Measure one held-out question, whose replicates come next among those that were drawn."""
    gains = {over: measure_gain(pair, next(drawn), confidence) for over, pair in part.pairs.items()}
    losses = {factor: measure_gain(pair, next(drawn), confidence) for factor, pair in part.without.items()}
    draws = {arm: next(drawn) for arm in part.whole} if part.contrast.level is not None else {}
    own, whole, unrelated = part.own, part.whole, part.pairs.get(Arm.UNRELATED)
    return Measured(
        contrast=part.contrast,
        target=plan.find_subset(part.contrast, part.contrast.target),
        arms=tuple(_measure_arm(plan, part, key, confidence) for key in part.stacks),
        gains=gains,
        losses=losses,
        means={arm: stack.means_S for arm, stack in whole.items()},
        draws=draws,
        recovered=_recover(part.pairs.get(Arm.ZERO_SHOT), whole, confidence),
        mcnemar={
            over: compare_mcnemar(own.scores, other.scores)
            for over in CONTROLS
            if own and (other := whole.get(over)) and is_binary(own.scores) and is_binary(other.scores)
        },
        detectable=find_detectable(unrelated.scores, confidence) if unrelated else None,
    )


def _measure_arm(plan: Plan, stacked: _Stacked, key: Key, confidence: float) -> ArmEffect:
    contrast, stacks, part, arm = stacked.contrast, stacked.stacks, stacked.stacks[key], key[0]
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
        chance=stacked.cells[key][0].proof.chance,
        accuracy=estimate_accuracy(part.scores, confidence) if part else None,
        gains={over: estimate_mean(pair.scores, confidence) for over, pair in pairs.items() if pair},
    )


def _recover(gain: Stack | None, whole: Mapping[Arm, Stack], confidence: float) -> Interval | None:
    """Give the share of the ceiling's gain, if the ceiling gains at all."""
    pair = pair_stacks(whole.get(Arm.CEILING), whole.get(Arm.ZERO_SHOT))
    if gain is None or pair is None or estimate_mean(pair.scores, confidence).low <= 0:
        return None
    return share_recovered(gain, pair, confidence)
