"""What the rule of the verdicts looks at, gathered from the arms' estimates at every look."""

from __future__ import annotations

from collections.abc import Sequence

from cg_lab.analysis.arm_estimates import ArmEstimates, ArmStacks, Key, estimate_arms
from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.gain_estimates import Part, estimate_gain
from cg_lab.analysis.measuring import limit_seeds
from cg_lab.analysis.synergy import MOST_SOURCES, find_alone
from cg_lab.analysis.verdict import Evidence
from cg_lab.arms import Arm
from cg_lab.planning.plan import Contrast, Plan


def gather_looks(
    plan: Plan, stacked: Sequence[ArmStacks], estimates: Sequence[ArmEstimates], missing: frozenset[str]
) -> list[list[Evidence]]:
    """Gather the evidence of every question at every look so far; the last is that of all seeds there are.

    Parameters
    ----------
    plan
        Its rule says which looks were planned.
    stacked
        The answers, in the order of the plan's questions.
    estimates
        Of all of them together.
    missing
        Ids of the questions with cells that have no result.

    """
    most = max((len(_list_seeds(part)) for part in stacked), default=0)
    taken = [num_seeds for num_seeds in plan.rule.looks if num_seeds <= most]
    looks = [estimate_arms(limit_seeds(stacked, num_seeds), plan.rule.confidence) for num_seeds in taken]
    return [
        [
            _gather(plan, contrast, arms, is_complete=contrast.id not in missing)
            for contrast, arms in zip(plan.contrasts, look, strict=True)
        ]
        for look in looks or [estimates]
    ]


def _list_seeds(part: ArmStacks | ArmEstimates) -> tuple[int, ...]:
    own = part.stacks.get(part.main) if part.main else None
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
