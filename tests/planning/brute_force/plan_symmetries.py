"""What must not change a plan: the order of lines, names, its own file, other settings beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cg_lab.planning.plan import Contrast, Plan, parse_plan
from tests.planning.brute_force.cell_proofs import require
from tests.planning.brute_force.random_studies import Case, lift_budget, plan_cases, put_beside, rename, shuffle

NOT_DRAWN = (
    "two_source", "three_source", "all_related", "disrupt", "multi_task", "size_curve", "target_curve", "few_shot",
    "cross_kind", "crossmed", "transfer",
)  # fmt: skip
"""Designs that draw nothing by names where they ask about all combinations."""


def check_invariances(case: Case, plan: Plan) -> None:
    """The order of lines, the names of subsets, other settings beside, and its own file change nothing."""
    case = lift_budget(case)
    match case.seed // 16 % 4:
        case 0:
            require(plan_cases(shuffle(case)).text == plan.text, "another order of lines gives another plan")
            _check_reversed(case, plan)
            _check_sharing(case, plan)
        case 1:
            read = parse_plan(json.loads(plan.text), where="plan")
            require((read, read.id) == (plan, plan.id), "its file gives another plan")
        case 2:
            design = case.study.design
            is_named = getattr(design, "combinations", None) is not None or getattr(design, "mixtures", ())
            if design.name in NOT_DRAWN and not is_named:
                _check_renamed(case, plan)
        case _:
            _check_merged(case, plan)


def _check_renamed(case: Case, plan: Plan) -> None:
    renamed, names = rename(case)
    if getattr(case.study.design, "rows", None) or getattr(case.study.design, "in_distribution", None):
        return
    if case.catalog.overlaps:  # whether they are trained on is drawn by name
        return
    plan_of_renamed = plan_cases(renamed)
    if case.study.arms is not None and not all(map(_trains_on_all, (plan, plan_of_renamed))):
        return  # which sources are trained on is drawn by name, and where an arm asks only them, so is the question
    rewritten = [_rename(_forget_drawn(contrast), names) for contrast in plan.contrasts]
    found = [replace(_forget_drawn(contrast), id="", curve="") for contrast in plan_of_renamed.contrasts]
    require(found == rewritten, "other names give other questions")


def _forget_drawn(contrast: Contrast) -> Contrast:
    """Leave the arms out that are drawn by names."""
    drawn = {"mismatched", "composed_unrelated"}
    return replace(contrast, trainings=tuple(part for part in contrast.trainings if part.arm not in drawn))


def _trains_on_all(plan: Plan) -> bool:
    """Tell whether every main arm has a sample for each of its sources."""
    mains = [contrast.main for contrast in plan.contrasts]
    return all(main is None or main.num_samples >= len(main.subsets) for main in mains)


def _rename(contrast: Contrast, names: dict[str, str]) -> Contrast:
    def put(subsets: Sequence[str]) -> tuple[str, ...]:
        return tuple(names[name] for name in subsets)

    return replace(
        contrast,
        id="",
        curve="",
        target=names[contrast.target],
        unrelated=put(contrast.unrelated),
        trainings=tuple(
            replace(part, variant=names.get(part.variant, part.variant), subsets=put(part.subsets))
            for part in contrast.trainings
        ),
    )


def _check_reversed(case: Case, plan: Plan) -> None:
    """Targets in another order have the same cells."""
    if case.study.targets is not None:
        other = plan_cases(replace(case, study=replace(case.study, targets=case.study.targets[::-1])))
        require({*other.cells} == {*plan.cells}, "another order of targets gives other cells")


def _check_sharing(case: Case, plan: Plan) -> None:
    """To prefer sharing gives no more pairs and sources alone than a draw by names."""
    design: Any = case.study.design
    if getattr(design, "prefer", "hash") == "hash" or plan.skipped or getattr(design, "rows", None):
        return
    drawn = plan_cases(replace(case, study=replace(case.study, design=replace(design, prefer="hash"))))
    if not drawn.skipped:
        require(_count_trained(plan) <= _count_trained(drawn), "sharing takes more than a draw:", plan.contrasts)


def _count_trained(plan: Plan) -> int:
    """Count pairs, and their sources that are no targets themselves: a target alone is the ceiling."""
    pairs = {contrast.related for contrast in plan.contrasts}
    return len(pairs) + len({name for pair in pairs for name in pair} - {part.target for part in plan.contrasts})


def _check_merged(case: Case, plan: Plan) -> None:
    """A cell has the same jobs and proof beside another setting as alone."""
    name, merged = case.study.design.name, plan_cases(case, put_beside(case))
    cells = {cell.key: cell for cell in merged.cells}
    for cell in plan.cells:
        found = cells.get(f"{name}/{cell.key}")
        require(found is not None, cell.key, "is missing beside another setting")
        assert found is not None
        same = (found.finetune_job, found.eval_job, found.proof) == (cell.finetune_job, cell.eval_job, cell.proof)
        require(same, cell.key, "is another beside another setting")
    require({job.id for job in plan.finetunes} <= {job.id for job in merged.finetunes}, "jobs are missing when merged")
