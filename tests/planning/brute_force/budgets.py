"""Which held-out questions a budget leaves, chosen one after the other as docs/designs.md says."""

from __future__ import annotations

from cg_lab.errors import UserError
from cg_lab.planning.plan import Contrast, Plan
from tests.planning.brute_force.cell_proofs import require
from tests.planning.brute_force.random_studies import Case, plan_cases


def check_budget(case: Case, whole: Plan) -> None:
    """Hold the plan within a budget against the plan without one.

    Raises
    ------
    BrokenRuleError
        If others were chosen than the rule says, or what was left out is not told.

    """
    expected = _choose(case, whole)
    try:
        plan = plan_cases(case)
    except UserError as error:
        require(not expected, "refused:", error, "though the budget allows", expected)
        return
    found = [contrast.id for contrast in plan.contrasts]
    require(found == [part.id for part in whole.contrasts if part.id in expected], found, "are chosen, not", expected)
    left_out = {part.question for part in plan.skipped if part.reason == "left out for the budget"}
    require(left_out == {part.id for part in whole.contrasts} - expected, "others are told as left out:", left_out)
    require(plan.cells == tuple(cell for cell in whole.cells if cell.contrast in expected), "cells change in a budget")


def _choose(case: Case, whole: Plan) -> set[str]:
    """Take the question that shows most that is new, then adds fewest samples, then shows the smallest gain."""
    needed: dict[str, set[str]] = {contrast.id: set() for contrast in whole.contrasts}
    asked: dict[str, int] = dict.fromkeys(needed, 0)
    """Test questions: the more there are, the smaller a gain they show."""
    for cell in whole.cells:
        needed[cell.contrast] |= {*cell.merged_jobs, *([cell.finetune_job] if cell.finetune_job else [])}
        if cell.arm != "sources":
            asked[cell.contrast] = cell.proof.num_test
    sizes = {job.id: job.mixture.num_samples * case.study.finetune.epochs for job in whole.finetunes}
    limits, chosen = case.study.budget, list[Contrast]()
    while True:
        trained = {job for contrast in chosen for job in needed[contrast.id]}
        shown = {part for contrast in chosen for part in _list_shown(contrast)}
        ranked = [
            (
                -len(_list_shown(part) - shown),
                sum(sizes[job] for job in needed[part.id] - trained),
                -asked[part.id],
                part.id,
            )
            for part in whole.contrasts
            if part not in chosen
            and len(needed[part.id] | trained) <= (limits.finetunes or len(sizes))
            and sum(sizes[job] for job in needed[part.id] | trained) <= (limits.samples or sum(sizes.values()))
        ]
        if not ranked:
            return {contrast.id for contrast in chosen}
        chosen.append(next(part for part in whole.contrasts if part.id == min(ranked)[-1]))


def _list_shown(contrast: Contrast) -> set[object]:
    return {*enumerate(contrast.view), *([contrast.direction] if contrast.direction else [])}
