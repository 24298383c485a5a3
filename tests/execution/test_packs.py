"""Packs: fine-tunes before their evaluations, nothing done again, loads balanced."""

from __future__ import annotations

from pathlib import Path

import pytest

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.execution.packs import Group, balance, find_pending, group_jobs, tabulate
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout
from cg_lab.study import Study


@pytest.fixture(scope="module")
def study() -> Study:
    return read_study([])


@pytest.fixture(scope="module")
def plan(study: Study) -> Plan:
    return build_plan(
        [Run(name="", study=study, catalog=read_catalog(study.data), backbone=identify_backbone(study.model))]
    )


def group_pending(plan: Plan, layout: Layout) -> tuple[Group, ...]:
    pending = find_pending(plan, layout)
    return group_jobs(tabulate(plan), [job.id for job in (*pending.finetunes, *pending.evals)])


def test_every_job_is_in_one_pack_and_evaluations_follow_their_fine_tune(plan: Plan, tmp_path: Path) -> None:
    packs = balance(group_pending(plan, Layout(tmp_path)), 2)
    ids = [job_id for pack in packs for job_id in pack]
    assert sorted(ids) == sorted(job.id for job in (*plan.finetunes, *plan.evals))
    for job in plan.evals:
        if job.checkpoint_of:
            pack = next(pack for pack in packs if job.id in pack)
            assert pack.index(job.checkpoint_of) < pack.index(job.id)


def test_what_has_a_result_is_not_run_again(plan: Plan, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    done = plan.finetunes[0]
    layout.weights(done.id).mkdir(parents=True)
    layout.result(done.id).write_text("{}")
    pending = find_pending(plan, layout)
    assert done not in pending.finetunes
    followers = [job.id for job in plan.evals if job.checkpoint_of == done.id]
    groups = {group.job_ids for group in group_pending(plan, layout)}
    assert all((job_id,) in groups for job_id in followers)


def test_no_pack_carries_more_than_a_group_above_the_other(plan: Plan, tmp_path: Path) -> None:
    groups = group_pending(plan, Layout(tmp_path))
    seconds = {job_id: group.seconds / len(group.job_ids) for group in groups for job_id in group.job_ids}
    loads = [sum(seconds[job_id] for job_id in pack) for pack in balance(groups, 2)]
    assert abs(loads[0] - loads[1]) <= max(group.seconds for group in groups)
