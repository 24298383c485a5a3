"""What the arms of one held-out question reached, and the main arm's gains over the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cg_lab.analysis.arm_estimates import GAINS_OVER, ArmEstimates, ArmStacks, Key
from cg_lab.analysis.bootstrap import FloatArray, Interval, Resampling, Scores, resample_means
from cg_lab.analysis.further_seeds import SeedSplit, split_gains
from cg_lab.analysis.merged_gains import MergedGain, measure_merges
from cg_lab.analysis.proportions import compare_mcnemar, is_binary
from cg_lab.analysis.recovering import share_lost, share_recovered
from cg_lab.analysis.stacking import Stack, keep_seeds, stack_seeds
from cg_lab.analysis.summary import Gain
from cg_lab.analysis.synergy import Combination, combine_sources, find_alone
from cg_lab.arms import CONTROLS, REFERENCES, Arm
from cg_lab.mat import Subset
from cg_lab.planning.plan import Cell, Contrast, Plan
from cg_lab.planning.study_power import find_detectable
from cg_lab.wilson import wilson_interval

DRAWN_AT_ONCE = 32
"""Questions about one target whose arms are drawn together: what is drawn for an arm takes 80 kB."""


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
    means: tuple[float, ...]
    """Accuracy of each of them; one of the untouched backbone."""
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
    lost: Mapping[str, Interval]
    """Share of the main arm's gain over unrelated training that is lost without an element, by factor."""
    combination: Combination
    means: Mapping[Arm, FloatArray]
    """Accuracy of each seed, by arm."""
    draws: Mapping[Arm, FloatArray]
    """Bootstrap draws of each arm's accuracy, of the same questions; none of a question that is on no curve."""
    merges: tuple[MergedGain, ...]
    recovered: Interval | None
    mcnemar: Mapping[Arm, float]
    splits: Mapping[str, SeedSplit]
    """The gains that the verdict looks at, taken apart."""
    detectable: float | None
    """Gain over unrelated training that the question would have shown among all."""


def stack_contrasts(plan: Plan, cells: Mapping[str, Sequence[Cell]], scores: Mapping[str, Scores]) -> list[ArmStacks]:
    """Put the answers of every held-out question's arms together, as far as they are there."""
    found: list[ArmStacks] = []
    for contrast in plan.contrasts:
        by_arm: dict[Key, list[Cell]] = {}
        for cell in cells[contrast.id]:
            by_arm.setdefault((cell.arm, cell.variant, cell.subset), []).append(cell)
        stacks = {key: stack_seeds(group, scores) for key, group in by_arm.items()}
        main = (contrast.main.arm, "", contrast.target) if contrast.main else None
        kept = {key: stack for key, stack in stacks.items() if stack is not None}
        found.append(ArmStacks(setting=contrast.setting, main=main, stacks=kept))
    return found


def limit_seeds(stacked: Sequence[ArmStacks], num_seeds: int) -> list[ArmStacks]:
    """Give what was there at a look, when the arms that carry the claim had so many seeds."""
    return [
        ArmStacks(
            setting=part.setting,
            main=part.main,
            stacks={
                key: keep_seeds(stack, num_seeds) if key[0].traits.carries_claim else stack
                for key, stack in part.stacks.items()
            },
        )
        for part in stacked
    ]


def measure_contrasts(
    plan: Plan,
    cells: Mapping[str, Sequence[Cell]],
    estimates: Sequence[ArmEstimates],
    resampling: Resampling,
) -> list[Measured]:
    """Measure the held-out questions of a plan from the answers there are.

    Parameters
    ----------
    plan
        Its questions are measured.
    cells
        By id of the question.
    estimates
        Of what the arms reached, in the order of the plan's questions.
    resampling
        Of the bootstrap; its confidence is that of all intervals.

    """
    by_target: dict[str, list[int]] = {}
    for place, contrast in enumerate(plan.contrasts):
        by_target.setdefault(contrast.target, []).append(place)
    found: dict[int, Measured] = {}
    for places in (part for same in by_target.values() for part in _cut(same, DRAWN_AT_ONCE)):
        contrasts = [plan.contrasts[place] for place in places]
        draws = _draw_arms(contrasts, [estimates[place] for place in places], resampling)
        for place, contrast, drawn in zip(places, contrasts, draws, strict=True):
            found[place] = _measure(plan, contrast, cells[contrast.id], estimates[place], drawn)
    return [found[place] for place in range(len(estimates))]


def _cut(places: list[int], most: int) -> Iterator[list[int]]:
    return (places[start : start + most] for start in range(0, len(places), most))


def _draw_arms(
    contrasts: Sequence[Contrast], stacked: Sequence[ArmEstimates], resampling: Resampling
) -> list[dict[Key, FloatArray]]:
    """Draw replicates of the arms whose gains are told, on a curve of all: one model's guises share their draws."""
    places: list[tuple[int, Key]] = []
    streams: list[int] = []
    for place, (contrast, part) in enumerate(zip(contrasts, stacked, strict=True)):
        models: dict[tuple[str, ...], int] = {}
        for key, stack in part.stacks.items():
            if not key[0].traits.asks_target:
                continue
            stream = models.setdefault(stack.models, len(models))
            if key == part.main or key[0] in REFERENCES or key[0] is Arm.WITHOUT or contrast.level is not None:
                places.append((place, key))
                streams.append(stream)
    drawn = resample_means([stacked[place].stacks[key].scores for place, key in places], resampling, streams)
    found: list[dict[Key, FloatArray]] = [{} for _ in stacked]
    for (place, key), replicates_R in zip(places, drawn, strict=True):
        found[place][key] = replicates_R
    return found


def _measure(
    plan: Plan, contrast: Contrast, cells: Sequence[Cell], arms: ArmEstimates, draws: Mapping[Key, FloatArray]
) -> Measured:
    target, confidence = contrast.target, plan.rule.confidence
    main, own = arms.main, arms.stacks.get(arms.main) if arms.main else None
    whole = {arm: arms.stacks[arm, "", target] for arm in Arm if (arm, "", target) in arms.stacks}

    def measure_gain(key: Key) -> Gain | None:
        if main is None or (main, key) not in arms.gains:
            return None
        estimate, interval = arms.gains[main, key]
        apart_R = draws[main] - draws[key]
        return Gain(interval=interval, estimate=estimate, models=arms.models(main, key), replicates_R=apart_R)

    gains = {over: gain for over in REFERENCES if (gain := measure_gain((over, "", target)))}
    without = [key for key in arms.stacks if key[0] is Arm.WITHOUT]
    return Measured(
        contrast=contrast,
        target=plan.find_subset(contrast, target),
        arms=tuple(_measure_arm(plan, contrast, group, arms) for group in _group_cells(cells)),
        gains=gains,
        losses={key[1]: gain for key in without if (gain := measure_gain(key))},
        lost={key[1]: share for key in without if (share := _lose(arms, key, target, confidence))},
        combination=combine_sources(arms, find_alone(arms.stacks), confidence),
        means={arm: stack.means_S for arm, stack in whole.items() if arm.traits.asks_target},
        draws={
            key[0]: replicates_R
            for key, replicates_R in draws.items()
            if key[1:] == ("", target) and contrast.level is not None
        },
        merges=measure_merges(arms, target, confidence),
        recovered=_recover(arms, target, confidence),
        mcnemar={
            over: compare_mcnemar(own.scores, other.scores)
            for over in CONTROLS
            if own and (other := whole.get(over)) and is_binary(own.scores) and is_binary(other.scores)
        },
        splits=split_gains(arms, target),
        detectable=_detect(gains.get(Arm.UNRELATED), plan),
    )


def _group_cells(cells: Sequence[Cell]) -> list[Sequence[Cell]]:
    by_arm: dict[Key, list[Cell]] = {}
    for cell in cells:
        by_arm.setdefault((cell.arm, cell.variant, cell.subset), []).append(cell)
    return list(by_arm.values())


def _measure_arm(plan: Plan, contrast: Contrast, cells: Sequence[Cell], arms: ArmEstimates) -> ArmEffect:
    key: Key = (cells[0].arm, cells[0].variant, cells[0].subset)
    arm, stack = key[0], arms.stacks.get(key)
    gains = {
        over: gain
        for over in GAINS_OVER
        if (arm.traits.is_main or over.traits.model != "main")
        and (gain := arms.gains.get((key, (over, "", contrast.target))))
    }
    return ArmEffect(
        arm=arm,
        variant=key[1],
        subset=key[2],
        seeds=stack.seeds if stack else (),
        means=tuple(float(mean) for mean in stack.means_S) if stack else (),
        num_questions=len(stack.scores.questions) if stack else plan.find_subset(contrast, key[2]).num_test,
        chance=cells[0].proof.chance,
        accuracy=refine_accuracy(arms.accuracies[key], stack, plan.rule.confidence) if stack else None,
        gains={over: interval for over, (_, interval) in gains.items()},
    )


def refine_accuracy(found: Interval, stack: Stack, confidence: float) -> Interval:
    """Give an arm's accuracy: of one seed's right and wrong answers without groups by Wilson's interval (1927)."""
    scores = stack.scores
    if len(scores.correct_SQ) > 1 or scores.groups != scores.questions or not is_binary(scores):
        return found
    low, high = wilson_interval(int(scores.correct_SQ.sum()), scores.correct_SQ.size, confidence)
    return Interval(estimate=found.estimate, low=low, high=high, p_value=found.p_value)


def _detect(gain: Gain | None, plan: Plan) -> float | None:
    """Give the gain over unrelated training that is shown among all questions of the study with 80 % power."""
    if gain is None or not np.isfinite(gain.estimate.error) or not gain.estimate.error:
        return None
    level, asked = 1 - plan.rule.confidence, max(1, plan.num_held_out)
    return find_detectable(float(gain.estimate.error), float(gain.estimate.freedom), level, asked)


def _lose(arms: ArmEstimates, without: Key, target: str, confidence: float) -> Interval | None:
    """Give the share of the main arm's gain over unrelated training that is lost without an element."""
    own = arms.parts.get(arms.main) if arms.main else None
    unrelated = arms.parts.get((Arm.UNRELATED, "", target))
    if own is None or unrelated is None:
        return None
    return share_lost(arms.parts[without], own, unrelated, confidence)


def _recover(arms: ArmEstimates, target: str, confidence: float) -> Interval | None:
    """Give the share of the ceiling's gain, if the ceiling gains at all."""
    ceiling, untouched = (arms.parts.get((arm, "", target)) for arm in (Arm.CEILING, Arm.ZERO_SHOT))
    own = arms.parts.get(arms.main) if arms.main else None
    if own is None or ceiling is None or untouched is None:
        return None
    return share_recovered(own, ceiling, untouched, confidence)
