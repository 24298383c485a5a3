"""What the rule of the verdicts looks at, gathered from the arms' estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cg_lab.analysis.arm_estimates import ArmEstimates, Key
from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.gain_estimates import Part, estimate_gain
from cg_lab.analysis.synergy import MOST_SOURCES, find_alone
from cg_lab.analysis.verdict import Evidence
from cg_lab.arms import Arm
from cg_lab.planning.plan import Contrast, Plan


def gather_evidence(
    plan: Plan, estimates: Sequence[ArmEstimates], *, complete: Sequence[bool], counted: Sequence[bool]
) -> list[Evidence]:
    """Gather the evidence of every question at one look.

    Parameters
    ----------
    plan
        Whose questions.
    estimates
        The arms as they were at the look, in the order of the plan's questions.
    complete, counted
        For each question, whether it has all cells of the first look, and of this one.

    """
    return [
        replace(_gather(plan, contrast, arms, is_complete=is_complete), is_counted=is_counted)
        for contrast, arms, is_complete, is_counted in zip(plan.contrasts, estimates, complete, counted, strict=True)
    ]


def _list_seeds(part: ArmEstimates) -> tuple[int, ...]:
    own = part.main and part.stacks.get(part.main)
    return own.seeds if own else ()


def _gather(plan: Plan, contrast: Contrast, arms: ArmEstimates, *, is_complete: bool) -> Evidence:
    target = contrast.target

    def gain(key: Key) -> Interval | None:
        found = arms.gains.get((arms.main, key))
        return found[1] if found else None

    over_alone = {source: gain(key) for source, key in find_alone(arms.stacks).items()}
    return Evidence(
        fully_covered=contrast.fully_covered,
        sees_target=contrast.sees_target,
        whole_sources=plan.whole_sources.get(contrast.id, ()),
        complete=is_complete,
        num_seeds=len(_list_seeds(arms)),
        over_zero_shot=gain((Arm.ZERO_SHOT, "", target)),
        over_unrelated=gain((Arm.UNRELATED, "", target)),
        over_blind=gain((Arm.BLIND, "", target)),
        ceiling_over_zero_shot=_lift(arms, target, plan.rule.confidence),
        sources=contrast.related if 1 < len(contrast.related) <= MOST_SOURCES else (),
        over_alone={source: found for source, found in over_alone.items() if found},
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
