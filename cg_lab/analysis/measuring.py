"""What the arms of one held-out question reached, and the main arm's gains over the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cg_lab.analysis.arm_estimates import ArmEstimates, ArmStacks, Key, estimate_arms
from cg_lab.analysis.bootstrap import FloatArray, Interval, Resampling, Scores, resample_means
from cg_lab.analysis.further_seeds import SeedSplit, split_gains
from cg_lab.analysis.gain_estimates import GainEstimate
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
    """Bootstrap draws of each arm's accuracy, of the same questions."""
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
    stacked: Sequence[ArmStacks],
    resampling: Resampling,
) -> list[Measured]:
    """Measure the held-out questions of a plan from the answers there are.

    Parameters
    ----------
    plan
        Its questions are measured.
    cells
        By id of the question.
    stacked
        The answers, in the order of the plan's questions.
    resampling
        Of the bootstrap; its confidence is that of all intervals.

    """
    estimates = estimate_arms(stacked, plan.deviation_by_setting)
    draws = _draw_arms(stacked, resampling)
    return [
        _measure(plan, contrast, cells[contrast.id], arms, drawn, resampling.confidence)
        for contrast, arms, drawn in zip(plan.contrasts, estimates, draws, strict=True)
    ]


def _draw_arms(stacked: Sequence[ArmStacks], resampling: Resampling) -> list[dict[Key, FloatArray]]:
    """Draw replicates of every arm that is asked about its target: one model's guises share their seeds' draws."""
    places: list[tuple[int, Key]] = []
    streams: list[int] = []
    for place, part in enumerate(stacked):
        models: dict[tuple[str, ...], int] = {}
        for key, stack in part.stacks.items():
            if key[0].traits.asks_target:
                places.append((place, key))
                streams.append(models.setdefault(stack.models, len(models)))
    drawn = resample_means([stacked[place].stacks[key].scores for place, key in places], resampling, streams)
    found: list[dict[Key, FloatArray]] = [{} for _ in stacked]
    for (place, key), replicates_R in zip(places, drawn, strict=True):
        found[place][key] = replicates_R
    return found


def _measure(
    plan: Plan, contrast: Contrast, cells: Sequence[Cell], arms: ArmEstimates, draws: Mapping[Key, FloatArray],
    confidence: float,
) -> Measured:  # fmt: skip
    target = contrast.target
    main, own = arms.main, arms.stacks.get(arms.main) if arms.main else None
    whole = {arm: arms.stacks[arm, "", target] for arm in Arm if (arm, "", target) in arms.stacks}

    def measure_gain(key: Key) -> Gain | None:
        estimate = arms.gain(main, key)
        if estimate is None or main is None:
            return None
        interval = estimate.to_interval(confidence)
        apart_R = draws[main] - draws[key]
        return Gain(interval=interval, estimate=estimate, models=arms.models(main, key), replicates_R=apart_R)

    gains = {over: gain for over in REFERENCES if (gain := measure_gain((over, "", target)))}
    without = [key for key in arms.stacks if key[0] is Arm.WITHOUT]
    return Measured(
        contrast=contrast,
        target=plan.find_subset(contrast, target),
        arms=tuple(_measure_arm(plan, contrast, group, arms, confidence) for group in _group_cells(cells)),
        gains=gains,
        losses={key[1]: gain for key in without if (gain := measure_gain(key))},
        lost={key[1]: share for key in without if (share := _lose(arms, key, target, confidence))},
        combination=combine_sources(arms, find_alone(arms.stacks), confidence),
        means={arm: stack.means_S for arm, stack in whole.items() if arm.traits.asks_target},
        draws={key[0]: replicates_R for key, replicates_R in draws.items() if key[1:] == ("", target)},
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


def _measure_arm(
    plan: Plan, contrast: Contrast, cells: Sequence[Cell], arms: ArmEstimates, confidence: float
) -> ArmEffect:
    key: Key = (cells[0].arm, cells[0].variant, cells[0].subset)
    arm, stack = key[0], arms.stacks.get(key)
    gains = {
        over: gain
        for over in GAINS_OVER
        if key[2] == contrast.target and key[:2] != (over, "") and (arm.traits.is_main or over.traits.model != "main")
        and (gain := arms.gain(key, (over, "", contrast.target))) is not None
    }  # fmt: skip
    return ArmEffect(
        arm=arm,
        variant=key[1],
        subset=key[2],
        seeds=stack.seeds if stack else (),
        means=tuple(float(mean) for mean in stack.means_S) if stack else (),
        num_questions=len(stack.scores.questions) if stack else plan.find_subset(contrast, key[2]).num_test,
        chance=cells[0].proof.chance,
        accuracy=estimate_accuracy(arms.accuracy(key), stack, confidence) if stack else None,
        gains={over: gain.to_interval(confidence) for over, gain in gains.items()},
    )


def estimate_accuracy(estimate: GainEstimate, stack: Stack, confidence: float) -> Interval:
    """Give an arm's accuracy: of one seed's right and wrong answers without groups by Wilson's interval (1927)."""
    found, scores = estimate.to_interval(confidence, within=(0.0, 1.0)), stack.scores
    if len(scores.correct_SQ) > 1 or scores.groups != scores.questions or not is_binary(scores):
        return found
    low, high = wilson_interval(int(scores.correct_SQ.sum()), scores.correct_SQ.size, confidence)
    return Interval(estimate=found.estimate, low=low, high=high, p_value=found.p_value)


def _detect(gain: Gain | None, plan: Plan) -> float | None:
    """Give the gain over unrelated training that is shown among all questions of the study with 80 % power."""
    if gain is None or not np.isfinite(gain.estimate.error) or not gain.estimate.error:
        return None
    asked = sum(not contrast.sees_target for contrast in plan.contrasts)
    level = 1 - plan.rule.confidence
    return find_detectable(float(gain.estimate.error), float(gain.estimate.freedom), level, max(1, asked))


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
