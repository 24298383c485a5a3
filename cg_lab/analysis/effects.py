"""Effects of a study: accuracy of every arm, paired gains, and a verdict for each held-out question."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cg_lab.analysis.bootstrap import Interval, Resampling, Scores, summarize
from cg_lab.analysis.curves import Curve, fit_slopes, trace_curves
from cg_lab.analysis.measuring import ArmEffect, Measured, measure_contrasts
from cg_lab.analysis.summary import Asked, Summary, pool_gains, summarize_study
from cg_lab.analysis.transfer import Transfer, measure_transfer
from cg_lab.analysis.verdict import Evidence, Verdict, decide
from cg_lab.arms import REFERENCES, Arm
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
    detectable: float | None
    """Smallest true gain over unrelated training that would have been resolved from zero with 80 % power."""
    is_exploratory: bool
    """Added to the study when results of it were there."""
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

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Arms that any held-out question has, in order."""
        planned = {effect.arm for contrast in self.contrasts for effect in contrast.arms}
        return tuple(arm for arm in Arm if arm in planned)


def compute_effects(
    plan: Plan, scores: Mapping[str, Scores], reasons: Mapping[str, str], registered: Collection[str] | None = None
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
        Ids of the held-out questions that were planned before any result; None if that is not known.

    """
    resampling = Resampling(num_resamples=plan.rule.resamples, seed=plan.rule.seed, confidence=plan.rule.confidence)
    cells: dict[str, list[Cell]] = {contrast.id: [] for contrast in plan.contrasts}
    for cell in plan.cells:
        cells[cell.contrast].append(cell)
    measured = measure_contrasts(plan, cells, scores, resampling)
    missing = tuple(
        MissingCell(cell=cell.key, contrast=cell.contrast, reason=reasons.get(cell.eval_job, "not run yet"))
        for cell in plan.cells
        if cell.eval_job not in scores
    )
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
    return StudyEffects(
        plan=plan,
        contrasts=_judge(plan, measured, missing, registered),
        pooled=_pool(measured, resampling.confidence),
        summaries=(*summarize_study(asked, resampling), *fit_slopes(measured, resampling.confidence)),
        curves=trace_curves(measured, resampling.confidence),
        transfers=measure_transfer(plan, scores, resampling.confidence),
        missing=missing,
    )


def _name_groups(plan: Plan, contrast: Contrast) -> tuple[str, ...]:
    """Name what a question is pooled with: others of its direction, and others with an element in common."""
    factors = plan.find_catalog(contrast).factors
    elements = [f"{factor}={value}" for factor, value in zip(factors, contrast.view, strict=True)]
    return (*([f"direction={contrast.direction}"] if contrast.direction else []), *elements)


def _judge(
    plan: Plan, measured: list[Measured], missing: tuple[MissingCell, ...], registered: Collection[str] | None
) -> tuple[ContrastEffect, ...]:
    confidence = plan.rule.confidence
    incomplete = {cell.contrast for cell in missing}
    known = None if registered is None else frozenset(registered)
    evidence = [
        Evidence(
            fully_covered=part.contrast.fully_covered,
            sees_target=part.contrast.sees_target,
            whole_sources=plan.whole_sources.get(part.contrast.id, ()),
            complete=part.contrast.id not in incomplete,
            num_seeds=_count_seeds(part),
            over_zero_shot=_gain_of_main(part, Arm.ZERO_SHOT),
            over_unrelated=_gain_of_main(part, Arm.UNRELATED),
            over_blind=_gain_of_main(part, Arm.BLIND),
            ceiling_over_zero_shot=_gain_of_ceiling(part),
        )
        for part in measured
    ]
    return tuple(
        ContrastEffect(
            contrast=part.contrast,
            target=part.target,
            arms=part.arms,
            recovered=part.recovered,
            bootstrap={
                over: summarize(gain.interval.estimate, gain.replicates_R, confidence)
                for over, gain in part.gains.items()
            },
            mcnemar=part.mcnemar,
            losses={factor: loss.interval for factor, loss in part.losses.items()},
            detectable=part.detectable,
            is_exploratory=known is not None and part.contrast.id not in known,
            p_holm=decision.p_holm,
            verdict=decision.verdict,
            reason=decision.reason,
            check_mark=_check_mark(part),
        )
        for part, decision in zip(measured, decide(evidence, confidence), strict=True)
    )


def _count_seeds(part: Measured) -> int:
    main = part.contrast.main
    return max((len(effect.seeds) for effect in part.arms if main and effect.arm is main.arm), default=0)


def _gain_of_main(part: Measured, over: Arm) -> Interval | None:
    return part.gains[over].interval if over in part.gains else None


def _gain_of_ceiling(part: Measured) -> Interval | None:
    return next((effect.gains.get(Arm.ZERO_SHOT) for effect in part.arms if effect.arm is Arm.CEILING), None)


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
        parts = [part for part in held if over in part.gains]
        targets = [part.contrast.target for part in parts]
        gain = pool_gains([part.gains[over] for part in parts], targets, confidence)
        if gain is not None:
            pooled.append(PooledEffect(over=over, num_contrasts=len(parts), gain=gain))
    return tuple(pooled)
