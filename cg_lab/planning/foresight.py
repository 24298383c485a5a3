"""What a plan will be able to show, and what its looks will spend, before anything runs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from cg_lab.arms import Arm
from cg_lab.planning.plan import Plan
from cg_lab.planning.study_power import (
    DEFAULT_DEVIATION,
    GAINS,
    Allocation,
    expect_seeds,
    find_seeds,
    foresee_gain,
    share_level,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookCost:
    """Fine-tunes of a study that looks at its results."""

    first: int
    """Before the first look."""
    most: int
    """If nothing is decided before the last one."""
    expected: float
    """If every question gains as much as `gain`."""
    gain: float


def allocate_seeds(plan: Plan) -> dict[str, Allocation]:
    """Give for each held-out question of a plan how its comparison with unrelated training is going to be made."""
    seeds: defaultdict[tuple[str, bool], set[int]] = defaultdict(set)
    for cell in plan.cells:
        if cell.seed is not None and (cell.arm.traits.is_main or cell.arm is Arm.UNRELATED):
            seeds[cell.contrast, cell.arm.traits.is_main].add(cell.seed)
    held = [contrast for contrast in plan.contrasts if not contrast.sees_target]
    return {
        contrast.id: Allocation(
            num_targets=len(held),
            num_questions=plan.find_subset(contrast, contrast.target).num_test,
            main_seeds=len(seeds[contrast.id, True]),
            control_seeds=len(seeds[contrast.id, False]),
            main_deviation=_find_deviation(plan, contrast.setting),
        )
        for contrast in held
        if seeds[contrast.id, True]
    }


def _find_deviation(plan: Plan, setting: str) -> float:
    known = plan.deviation_by_setting.get(setting)
    return known.deviation if known else DEFAULT_DEVIATION


def find_level(plan: Plan) -> float:
    """Give the level at which a study's last look, or its only one, claims."""
    return (1 - plan.rule.confidence) * share_level(max(1, len(plan.rule.looks)))[-1]


def foresee_gains(plan: Plan) -> dict[str, float]:
    """Give for each held-out question the true gain over unrelated training that it shows with 80 % power."""
    level = find_level(plan)
    return {name: foresee_gain(planned, level) for name, planned in allocate_seeds(plan).items()}


def foresee_seeds(plan: Plan) -> dict[float, int | None]:
    """Give the seeds that gains of 10, 15 and 20 points take in the question that takes most; None if too many."""
    level, found = find_level(plan), allocate_seeds(plan)
    if not found:
        return {}
    hardest = min(found.values(), key=lambda planned: planned.num_questions)
    return {gain: find_seeds(hardest, gain, level) for gain in GAINS}


def foresee_looks(plan: Plan, num_first: int) -> LookCost | None:
    """Give what looks will spend; None for a study without looks.

    Parameters
    ----------
    plan
        With all seeds of its last look.
    num_first
        Fine-tunes that are due before the first look.

    """
    looks, found = plan.rule.looks, allocate_seeds(plan)
    if not looks or not found:
        return None
    gain, level = GAINS[1], 1 - plan.rule.confidence
    shares = share_level(len(looks))
    mean = sum(expect_seeds(planned, looks, shares, gain, level) for planned in found.values()) / len(found)
    most = len(plan.finetunes)
    per_seed = (most - num_first) / max(1, looks[-1] - looks[0])
    return LookCost(first=num_first, most=most, expected=num_first + per_seed * (mean - looks[0]), gain=gain)
