"""What the rule of the verdicts looks at, gathered from the arms' estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cg_lab.analysis.arm_estimates import ArmEstimates, ArmStacks, estimate_arms
from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.gain_estimates import Part, estimate_gain
from cg_lab.analysis.synergy import MOST_SOURCES, find_alone
from cg_lab.analysis.verdict import Evidence
from cg_lab.arms import Arm
from cg_lab.planning.plan import Contrast, Plan


def gather_evidence(
    plan: Plan, stacked: Sequence[ArmStacks], *, complete: Sequence[bool], counted: Sequence[bool]
) -> list[Evidence]:
    """Gather the evidence of every question at one look.

    Parameters
    ----------
    plan
        Whose questions.
    stacked
        The answers that were there at the look, in the order of the plan's questions.
    complete, counted
        For each question, whether it has all cells of the first look, and of this one.

    """
    return [
        replace(_gather(plan, contrast, part, arms, is_complete=is_complete), is_counted=is_counted)
        for contrast, part, arms, is_complete, is_counted in zip(
            plan.contrasts, stacked, estimate_arms(stacked, plan.deviation_by_setting), complete, counted, strict=True
        )
    ]


def list_seeds(part: ArmStacks) -> tuple[int, ...]:
    """List the seeds of a question's main arm that have answers."""
    own = part.stacks.get(part.main) if part.main else None
    return own.seeds if own else ()


def _gather(plan: Plan, contrast: Contrast, part: ArmStacks, arms: ArmEstimates, *, is_complete: bool) -> Evidence:
    confidence, target = plan.rule.confidence, contrast.target

    def gain(over: Arm) -> Interval | None:
        found = arms.gain(arms.main, (over, "", target))
        return found.to_interval(confidence) if found is not None else None

    over_alone = {source: arms.gain(arms.main, key) for source, key in find_alone(arms.stacks).items()}
    return Evidence(
        fully_covered=contrast.fully_covered,
        sees_target=contrast.sees_target,
        whole_sources=plan.whole_sources.get(contrast.id, ()),
        complete=is_complete,
        num_seeds=len(list_seeds(part)),
        over_zero_shot=gain(Arm.ZERO_SHOT),
        over_unrelated=gain(Arm.UNRELATED),
        over_blind=gain(Arm.BLIND),
        ceiling_over_zero_shot=_lift(arms, target, confidence),
        sources=contrast.related if 1 < len(contrast.related) <= MOST_SOURCES else (),
        over_alone={source: found.to_interval(confidence) for source, found in over_alone.items() if found},
    )


def _lift(arms: ArmEstimates, target: str, confidence: float) -> Interval | None:
    """Give what training on the target itself lifts these very models by: that one can learn it is enough to know."""
    keys = ((Arm.CEILING, "", target), (Arm.ZERO_SHOT, "", target))
    if not all(key in arms.parts for key in keys):
        return None
    parts = [
        Part(scores=arms.parts[key].scores, seeds=None, weight=sign)
        for key, sign in zip(keys, (1.0, -1.0), strict=True)
    ]
    return estimate_gain(parts).to_interval(confidence)
