"""Effects of a study: accuracy of every arm, paired gains, and a verdict for each held-out question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cg_lab.analysis.arm_estimates import estimate_arms
from cg_lab.analysis.bootstrap import Interval, Resampling, Scores, summarize
from cg_lab.analysis.curves import Curve, fit_slopes, trace_curves
from cg_lab.analysis.family import RegisteredFamily, count_absent, find_departures
from cg_lab.analysis.further_seeds import FurtherSeeds, find_further
from cg_lab.analysis.look_history import Look, take_looks
from cg_lab.analysis.measuring import ArmEffect, Measured, measure_contrasts, stack_contrasts
from cg_lab.analysis.merged_gains import MergedGain
from cg_lab.analysis.partial_conjunction import count_at_least
from cg_lab.analysis.pooled_gains import TargetGain, pool_gains
from cg_lab.analysis.summary import Asked, Summary, summarize_study
from cg_lab.analysis.synergy import Combination
from cg_lab.analysis.transfer import Transfer, measure_transfer
from cg_lab.analysis.verdict import Decision, Rules, Verdict
from cg_lab.arms import REFERENCES, Arm
from cg_lab.due_seeds import place_cells, take_due
from cg_lab.mat import Subset
from cg_lab.planning.plan import Cell, Contrast, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCell:
    """A planned number that does not exist, and why."""

    cell: str
    contrast: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastEffect:
    """What one held-out question showed."""

    contrast: Contrast
    target: Subset
    arms: tuple[ArmEffect, ...]
    recovered: Interval | None
    """Share of the ceiling's gain over the untouched backbone that the main arm has; None unless there is a gain."""
    bootstrap: Mapping[Arm, Interval]
    """The same gains of the main arm by a paired bootstrap of questions (whole groups) and seeds."""
    mcnemar: Mapping[Arm, float]
    """Exact p-values of the main arm against others, where answers are right or wrong."""
    losses: Mapping[str, Interval]
    """Gain of the main arm over training without the element of a factor."""
    lost: Mapping[str, Interval]
    """Share of the main arm's gain over unrelated training that is lost without an element, by factor; what goes with
    the combination is no more than the least."""
    combination: Combination
    """What the sources do together beyond each alone."""
    merges: tuple[MergedGain, ...]
    """What merging adapters of the sources keeps of what they do together."""
    detectable: float | None
    """Smallest true gain over unrelated training that would have been shown among all questions with 80 % power."""
    departure: str
    """What of the question was not registered before results were there; empty if all was, or if it is not known."""
    decision: Decision
    standing: str
    """How the question stands between its looks; empty for a study without looks."""
    further: FurtherSeeds | None
    """What would decide it; None if nothing is left to decide."""
    check_mark: bool | None
    """The papers' own mark: related above zero-shot and unrelated, without intervals."""

    @property
    def is_exploratory(self) -> bool:
        """Whether the question, seeds or rule came when results of the study were there."""
        return bool(self.departure)

    @property
    def verdict(self) -> Verdict:
        """The word, without saying whether it is exploratory."""
        return self.decision.verdict

    @property
    def word(self) -> str:
        """The verdict as it is to be told."""
        is_claim = self.verdict not in {Verdict.CANNOT_SAY, Verdict.NO_EVIDENCE}
        return f"{self.verdict} (exploratory)" if self.is_exploratory and is_claim else str(self.verdict)

    @property
    def reason(self) -> str:
        """Why."""
        told = f"; exploratory, since {self.departure} came when results were there" if self.departure else ""
        resolving = self.further.tell() if self.further else ""
        return "; ".join(filter(None, (self.decision.reason, self.standing, resolving))) + told

    @property
    def p_holm(self) -> float | None:
        """Adjusted p-value of the first claim; None where nothing could be tested."""
        return self.decision.p_holm

    def arm(self, arm: Arm) -> ArmEffect | None:
        """Give one arm; None if it was not planned (the `sources` arm has several, the first is given)."""
        return next((effect for effect in self.arms if effect.arm is arm), None)

    @property
    def chance(self) -> float:
        """Accuracy of a guess at the target's questions."""
        return next((effect.chance for effect in self.arms if effect.subset == self.target.name), self.target.chance)

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
    """Over targets like these."""
    over_these: Interval
    """Over these very targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEffects:
    """All that a report says in numbers."""

    plan: Plan
    contrasts: tuple[ContrastEffect, ...]
    pooled: tuple[PooledEffect, ...]
    summaries: tuple[Summary, ...]
    """Over held-out questions whose main arm does not see the target."""
    curves: tuple[Curve, ...]
    transfers: tuple[Transfer, ...]
    missing: tuple[MissingCell, ...]
    """Of what is due by now."""
    looks: tuple[Look, ...]
    """That were taken; empty for a study without looks."""
    due: Mapping[str, int]
    """By id of the question, seeds that it is to have by now; empty for a study without looks."""
    num_compose: int
    """Held-out questions that compose at the least, whichever they are (partial conjunction)."""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Arms that any held-out question has, in order."""
        planned = {effect.arm for contrast in self.contrasts for effect in contrast.arms}
        return tuple(arm for arm in Arm if arm in planned)


def compute_effects(
    plan: Plan,
    scores: Mapping[str, Scores],
    reasons: Mapping[str, str],
    registered: RegisteredFamily | None = None,
) -> StudyEffects:
    """Compute every effect of a plan from what has been scored so far.

    Parameters
    ----------
    plan
        Its `rule` decides the intervals and the verdicts.
    scores
        For each evaluation's id, one row of right and wrong answers; missing evaluations are left out.
    reasons
        For evaluations without scores, why; `not run yet` is said of the others.
    registered
        What was planned before any result; None if that is not known.

    """
    resampling = Resampling(num_resamples=plan.rule.resamples, seed=plan.rule.seed, confidence=plan.rule.confidence)
    cells: dict[str, list[Cell]] = {contrast.id: [] for contrast in plan.contrasts}
    for cell in plan.cells:
        cells[cell.contrast].append(cell)
    stacked = stack_contrasts(plan, cells, scores)
    estimates = estimate_arms(stacked, plan.rule.confidence, plan.deviation_by_setting)
    measured = measure_contrasts(plan, cells, estimates, resampling)
    asked = [
        Asked(
            target=part.contrast.target,
            groups=_name_groups(plan, part.contrast),
            gains=part.gains,
            losses=part.losses,
            means=part.means,
            main=part.contrast.main.arm if part.contrast.main else None,
        )
        for part in measured
        if not part.contrast.sees_target
    ]
    level, further = 1 - plan.rule.confidence, count_absent(registered, plan)
    rules = Rules(level=level, family=plan.rule.family, further=further, looks=plan.rule.looks)
    history = take_looks(plan, stacked, estimates, _count_complete_seeds(plan, scores), rules)
    return StudyEffects(
        plan=plan,
        contrasts=tuple(
            _put_together(plan, part, decision, history.tell(part.contrast.id), registered)
            for part, decision in zip(measured, history.decisions, strict=True)
        ),
        pooled=_pool(measured, resampling.confidence),
        summaries=(*summarize_study(asked, resampling), *fit_slopes(measured, resampling.confidence)),
        curves=trace_curves(measured, resampling.confidence),
        transfers=measure_transfer(plan, scores, resampling.confidence),
        missing=tuple(
            MissingCell(cell=cell.key, contrast=cell.contrast, reason=reasons.get(cell.eval_job, "not run yet"))
            for cell in take_due(plan, history.due).cells
            if cell.eval_job not in scores
        ),
        looks=history.looks,
        due=history.due,
        num_compose=_count_composing(history.decisions, level),
    )


def _count_complete_seeds(plan: Plan, scores: Mapping[str, Scores]) -> dict[str, int]:
    """Count how many seeds of a look each question has whole, if cells are missing."""
    found: dict[str, int] = {}
    places = place_cells(plan)
    for cell in plan.cells:
        if cell.eval_job not in scores:
            whole = max(0, places[cell.key] - 1)
            found[cell.contrast] = min(whole, found.get(cell.contrast, whole))
    return found


def _count_composing(decisions: Sequence[Decision], level: float) -> int:
    p_values = [decision.p_composes_alone for decision in decisions if decision.p_composes_alone is not None]
    return count_at_least(np.array(p_values), level)


def _name_groups(plan: Plan, contrast: Contrast) -> tuple[str, ...]:
    """Name what a question is pooled with: others of its direction, and others with an element in common."""
    factors = plan.find_catalog(contrast).factors
    elements = [f"{factor}={value}" for factor, value in zip(factors, contrast.view, strict=True)]
    return (*([f"direction={contrast.direction}"] if contrast.direction else []), *elements)


def _put_together(
    plan: Plan, part: Measured, decision: Decision, standing: str, registered: RegisteredFamily | None
) -> ContrastEffect:
    seeds = next((effect.seeds for effect in part.arms if effect.arm.traits.is_main), ())
    earlier = registered.decided.get(part.contrast.id) if registered else None
    return ContrastEffect(
        contrast=part.contrast,
        target=part.target,
        arms=part.arms,
        recovered=part.recovered,
        bootstrap={
            over: summarize(gain.interval.estimate, gain.replicates_R, plan.rule.confidence)
            for over, gain in part.gains.items()
        },
        mcnemar=part.mcnemar,
        losses={factor: loss.interval for factor, loss in part.losses.items()},
        lost=part.lost,
        combination=part.combination,
        merges=part.merges,
        detectable=part.detectable,
        departure=find_departures(registered, plan, part.contrast, seeds),
        decision=earlier or decision,
        standing=standing,
        further=find_further(plan, part.contrast, decision, part.splits, len(seeds)),
        check_mark=_check_mark(part),
    )


def _check_mark(part: Measured) -> bool | None:
    """Apply the papers' criterion, Trained > max(Baseline, Baseline+) (Med-MAT, Table 3)."""
    accuracies = {effect.arm: effect.accuracy for effect in part.arms}
    related, zero_shot, unrelated = (accuracies.get(arm) for arm in (Arm.RELATED, Arm.ZERO_SHOT, Arm.UNRELATED))
    if related is None or zero_shot is None or unrelated is None:
        return None
    return related.estimate > max(zero_shot.estimate, unrelated.estimate)


def _pool(measured: Sequence[Measured], confidence: float) -> tuple[PooledEffect, ...]:
    """Average the main arm's gains over at least three targets, leaving out those that the main arm sees."""
    held = [part for part in measured if not part.contrast.sees_target]
    pooled: list[PooledEffect] = []
    for over in REFERENCES:
        gains = [(part.contrast.target, part.gains[over]) for part in held if over in part.gains]
        if not gains:
            continue
        found = pool_gains(
            [TargetGain(target=target, gain=gain.estimate, models=gain.models) for target, gain in gains]
        )
        if found.over_targets is not None:
            pooled.append(
                PooledEffect(
                    over=over,
                    num_contrasts=len(gains),
                    gain=found.over_targets.to_interval(confidence),
                    over_these=found.over_these.to_interval(confidence),
                )
            )
    return tuple(pooled)
