"""Effects of a study: accuracy of every arm, paired gains, and a verdict for each held-out question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cg_lab.analysis.bootstrap import FloatArray, Interval, Resampling, Scores, resample_mean, subtract
from cg_lab.analysis.components import estimate_accuracy, estimate_mean
from cg_lab.analysis.proportions import compare_mcnemar, is_binary, share_recovered
from cg_lab.analysis.summary import Asked, Gains, Summary, pool_gains, summarize_study
from cg_lab.analysis.verdict import Evidence, Verdict, decide
from cg_lab.arms import Arm
from cg_lab.mat import Subset
from cg_lab.planning.plan import Cell, Contrast, Plan, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCell:
    """A planned number that does not exist, and why."""

    cell: str
    contrast: str
    reason: str


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
    over_zero_shot: Interval | None
    """Paired gain on identical questions; None for the arm itself and where one side is missing."""
    over_unrelated: Interval | None
    over_related: Interval | None
    over_ceiling: Interval | None
    """In the multi-task design: over training on the target alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastEffect:
    """What one held-out question showed."""

    contrast: Contrast
    target: Subset
    arms: tuple[ArmEffect, ...]
    over_blind: Interval | None
    """The main arm with the image against itself without."""
    recovered: Interval | None
    """Share of the ceiling's gain over the untouched backbone that the main arm has; None unless there is a gain."""
    mcnemar: Mapping[Arm, float]
    """Exact p-values of the main arm against others, where answers are right or wrong."""
    losses: Mapping[str, Interval]
    """Gain of the main arm over training without the element of a factor."""
    p_holm: float | None
    """Adjusted p-value behind the verdict; None where nothing could be tested."""
    verdict: Verdict
    reason: str
    check_mark: bool | None
    """The papers' own mark: related above zero-shot and unrelated, without intervals."""

    def arm(self, arm: Arm) -> ArmEffect | None:
        """Give one arm; None if it was not planned (the `sources` arm has several, the first is given)."""
        return next((effect for effect in self.arms if effect.arm is arm), None)

    @property
    def main(self) -> ArmEffect | None:
        """Give the arm that the question is about."""
        return self.arm(self.contrast.main.arm) if self.contrast.main else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledEffect:
    """The mean gain of the main arm over all held-out questions that have it."""

    over: Arm
    num_contrasts: int
    gain: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEffects:
    """All that a report says in numbers."""

    plan: Plan
    contrasts: tuple[ContrastEffect, ...]
    pooled: tuple[PooledEffect, ...]
    summaries: tuple[Summary, ...]
    """Over held-out questions whose main arm does not see the target."""
    missing: tuple[MissingCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    contrast: Contrast
    target: Subset
    arms: tuple[ArmEffect, ...]
    over_blind: Interval | None
    gains: Mapping[Arm, Gains]
    """Of the main arm over another arm, with bootstrap replicates."""
    losses: Mapping[str, Gains]
    """Of the main arm over training without an element, by factor."""
    without: Mapping[str, Interval]
    """The same, as intervals."""
    means: Mapping[Arm, FloatArray]
    """Accuracy of each seed."""
    recovered: Interval | None
    mcnemar: Mapping[Arm, float]


def compute_effects(plan: Plan, scores: Mapping[str, Scores], reasons: Mapping[str, str]) -> StudyEffects:
    """Compute every effect of a plan from what has been scored so far.

    Parameters
    ----------
    plan
        Its `rule` decides the intervals and the verdicts.
    scores
        For each evaluation's id, one row of right and wrong answers; missing evaluations are left out.
    reasons
        For evaluations without scores, why; `not run yet` is said of the others.

    """
    resampling = Resampling(num_resamples=plan.rule.resamples, seed=plan.rule.seed, confidence=plan.rule.confidence)
    cells: dict[str, list[Cell]] = {contrast.id: [] for contrast in plan.contrasts}
    for cell in plan.cells:
        cells[cell.contrast].append(cell)
    measured = [_measure(plan, contrast, cells[contrast.id], scores, resampling) for contrast in plan.contrasts]
    missing = tuple(
        MissingCell(cell=cell.key, contrast=cell.contrast, reason=reasons.get(cell.eval_job, "not run yet"))
        for cell in plan.cells
        if cell.eval_job not in scores
    )
    asked = [
        Asked(
            groups=_name_groups(plan, part.contrast),
            gains=part.gains,
            losses=part.losses,
            means=part.means,
            main=part.contrast.main.arm if part.contrast.main else None,
        )
        for part in measured
        if not part.contrast.sees_target
    ]
    return StudyEffects(
        plan=plan,
        contrasts=_judge(measured, missing, plan.rule),
        pooled=_pool(measured, resampling),
        summaries=summarize_study(asked, resampling),
        missing=missing,
    )


def _name_groups(plan: Plan, contrast: Contrast) -> tuple[str, ...]:
    """Name what a question is pooled with: others of its direction, and others with an element in common."""
    factors = plan.find_catalog(contrast).factors
    elements = [f"{factor}={value}" for factor, value in zip(factors, contrast.view, strict=True)]
    return (*([f"direction={contrast.direction}"] if contrast.direction else []), *elements)


def _measure(
    plan: Plan, contrast: Contrast, cells: list[Cell], scores: Mapping[str, Scores], resampling: Resampling
) -> _Measured:
    by_arm: dict[tuple[Arm, str, str], list[Cell]] = {}
    for cell in cells:
        by_arm.setdefault((cell.arm, cell.variant, cell.subset), []).append(cell)
    stacked = {key: _stack(group, scores) for key, group in by_arm.items()}
    target = contrast.target
    main = contrast.main.arm if contrast.main else None

    def pair(key: tuple[Arm, str, str], over: Arm) -> Scores | None:
        other = (over, "", target)
        if key[2] != target or key == other:
            return None
        return _pair(stacked.get(key), stacked.get(other))

    def gain(key: tuple[Arm, str, str], over: Arm) -> Interval | None:
        difference = pair(key, over)
        return estimate_mean(difference, resampling.confidence) if difference else None

    arms = tuple(
        ArmEffect(
            arm=key[0],
            variant=key[1],
            subset=key[2],
            seeds=part[0] if part else (),
            num_questions=plan.find_subset(contrast, key[2]).num_test if part is None else len(part[1].questions),
            chance=by_arm[key][0].proof.chance,
            accuracy=estimate_accuracy(part[1], resampling.confidence) if part else None,
            over_zero_shot=gain(key, Arm.ZERO_SHOT),
            over_unrelated=gain(key, Arm.UNRELATED),
            over_related=gain(key, Arm.RELATED),
            over_ceiling=gain(key, Arm.CEILING) if main is Arm.MULTI_TASK else None,
        )
        for key, part in stacked.items()
    )
    own = stacked.get((main, "", target)) if main else None
    others = {over: stacked.get((over, "", target)) for over in (Arm.ZERO_SHOT, Arm.UNRELATED, Arm.CEILING)}
    against = {
        over: difference
        for over in (Arm.ZERO_SHOT, Arm.UNRELATED, Arm.BLIND)
        if main and (difference := pair((main, "", target), over)) is not None
    }
    without = {
        key[1]: difference
        for key, part in stacked.items()
        if key[0] is Arm.WITHOUT and (difference := _pair(own, part)) is not None
    }
    ceiling = pair((Arm.CEILING, "", target), Arm.ZERO_SHOT)
    return _Measured(
        contrast=contrast,
        target=plan.find_subset(contrast, target),
        arms=arms,
        over_blind=gain((main, "", target), Arm.BLIND) if main else None,
        gains={over: _draw(difference, resampling) for over, difference in against.items()},
        losses={factor: _draw(difference, resampling) for factor, difference in without.items()},
        without={factor: estimate_mean(difference, resampling.confidence) for factor, difference in without.items()},
        means={
            arm: part[1].correct_SQ.mean(axis=1)
            for arm, part in {**others, **({main: own} if main else {})}.items()
            if part is not None
        },
        recovered=_recover(against.get(Arm.ZERO_SHOT), ceiling, resampling),
        mcnemar={
            over: compare_mcnemar(own[1], part[1])
            for over, part in others.items()
            if own and part and is_binary(own[1]) and is_binary(part[1])
        },
    )


def _recover(related: Scores | None, ceiling: Scores | None, resampling: Resampling) -> Interval | None:
    if related is None or ceiling is None or estimate_mean(ceiling, resampling.confidence).low <= 0:
        return None
    return share_recovered(_draw(related, resampling), _draw(ceiling, resampling), resampling.confidence)


def _draw(difference: Scores, resampling: Resampling) -> Gains:
    return float(difference.correct_SQ.mean()), resample_mean(difference, resampling)


def _stack(cells: list[Cell], scores: Mapping[str, Scores]) -> tuple[tuple[int, ...], Scores] | None:
    """Put an arm's seeds on top of each other; None if none has been scored."""
    scored = sorted((cell for cell in cells if cell.eval_job in scores), key=lambda cell: cell.seed or 0)
    if not scored:
        return None
    parts = [scores[cell.eval_job] for cell in scored]
    assert all(part.questions == parts[0].questions for part in parts)
    together = Scores(
        questions=parts[0].questions,
        groups=parts[0].groups,
        correct_SQ=np.concatenate([part.correct_SQ for part in parts]),
    )
    return tuple(cell.seed for cell in scored if cell.seed is not None), together


def _pair(first: tuple[tuple[int, ...], Scores] | None, second: tuple[tuple[int, ...], Scores] | None) -> Scores | None:
    """Subtract an arm from another on the seeds that both have; an arm without seeds meets them all."""
    if first is None or second is None:
        return None
    (seeds_1, scores_1), (seeds_2, scores_2) = first, second
    if seeds_1 and seeds_2:
        common = [seed for seed in seeds_1 if seed in seeds_2]
        if not common:
            return None
        scores_1 = _take_seeds(scores_1, [seeds_1.index(seed) for seed in common])
        scores_2 = _take_seeds(scores_2, [seeds_2.index(seed) for seed in common])
    return subtract(scores_1, scores_2)


def _take_seeds(scores: Scores, rows: list[int]) -> Scores:
    return Scores(questions=scores.questions, groups=scores.groups, correct_SQ=scores.correct_SQ[rows])


def _judge(measured: list[_Measured], missing: tuple[MissingCell, ...], rule: Rule) -> tuple[ContrastEffect, ...]:
    incomplete = {cell.contrast for cell in missing}
    evidence = [
        Evidence(
            fully_covered=part.contrast.fully_covered,
            sees_target=part.contrast.sees_target,
            complete=part.contrast.id not in incomplete,
            over_zero_shot=_gain_of_main(part, "over_zero_shot"),
            over_unrelated=_gain_of_main(part, "over_unrelated"),
            over_blind=part.over_blind,
            ceiling_over_zero_shot=_gain_of_arm(part, Arm.CEILING, "over_zero_shot"),
        )
        for part in measured
    ]
    return tuple(
        ContrastEffect(
            contrast=part.contrast,
            target=part.target,
            arms=part.arms,
            over_blind=part.over_blind,
            recovered=part.recovered,
            mcnemar=part.mcnemar,
            losses=part.without,
            p_holm=decision.p_holm,
            verdict=decision.verdict,
            reason=decision.reason,
            check_mark=_check_mark(part),
        )
        for part, decision in zip(measured, decide(evidence, rule.confidence), strict=True)
    )


def _gain_of_main(part: _Measured, gain: str) -> Interval | None:
    return _gain_of_arm(part, part.contrast.main.arm, gain) if part.contrast.main else None


def _gain_of_arm(part: _Measured, arm: Arm, gain: str) -> Interval | None:
    effect = next((effect for effect in part.arms if effect.arm is arm), None)
    if effect is None:
        return None
    return effect.over_zero_shot if gain == "over_zero_shot" else effect.over_unrelated


def _check_mark(part: _Measured) -> bool | None:
    """Apply the papers' criterion, Trained > max(Baseline, Baseline+) (Med-MAT, Table 3)."""
    accuracies = {effect.arm: effect.accuracy for effect in part.arms if effect.arm is not Arm.SOURCES}
    related, zero_shot, unrelated = (accuracies.get(arm) for arm in (Arm.RELATED, Arm.ZERO_SHOT, Arm.UNRELATED))
    if related is None or zero_shot is None or unrelated is None:
        return None
    return related.estimate > max(zero_shot.estimate, unrelated.estimate)


def _pool(measured: list[_Measured], resampling: Resampling) -> tuple[PooledEffect, ...]:
    """Average the main arm's gains over held-out questions; these are resampled too (two-level bootstrap).

    Questions whose main arm sees the target are left out.
    """
    pooled: list[PooledEffect] = []
    for over in (Arm.ZERO_SHOT, Arm.UNRELATED, Arm.BLIND):
        parts = [part.gains[over] for part in measured if over in part.gains and not part.contrast.sees_target]
        if parts:
            pooled.append(PooledEffect(over=over, num_contrasts=len(parts), gain=pool_gains(parts, resampling)))
    return tuple(pooled)
