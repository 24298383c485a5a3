"""Packs: fine-tunes before their evaluations, nothing done again, loads balanced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.errors import UserError
from cg_lab.execution.packs import (
    Group,
    Order,
    Submission,
    Work,
    balance,
    find_order,
    find_pending,
    group_jobs,
    lock_of,
    path_of,
    read_order,
    read_submissions,
    tabulate,
    write_order,
    write_submission,
)
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


def test_an_order_is_read_as_it_was_written_and_is_none_before(study: Study, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    order = Order(study="s", cluster=study.cluster, tracking=study.tracking, eval_batch_size=8, keep="adapter")
    assert find_order(layout, "s") is None
    write_order(layout, order)
    assert read_order(layout, "s") == find_order(layout, "s") == order
    assert find_order(layout, "other") is None


def test_an_order_is_written_without_the_password_of_its_tracking_and_with_all_else(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    monkeypatch.setenv("SITE_TOKEN", "host:5000")
    tracking = replace(study.tracking, uri="http://me:secret@host:5000")
    write_order(layout, Order(study="s", cluster=study.cluster, tracking=tracking, eval_batch_size=8))
    assert read_order(layout, "s").tracking == replace(tracking, uri="http://me:***@host:5000")


def test_a_damaged_file_is_told_by_its_name(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for name, read in (("order", read_order), ("00001", read_submissions)):
        path = layout.packs("s") / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}", encoding="utf-8")
        with pytest.raises(UserError, match=str(path)):
            read(layout, "s")


def test_submissions_are_read_in_order_from_among_other_files(study: Study, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    first = Submission(
        id="00001", study="s", stage="finetune", results_dir="r", packs=(("a", "b"), ("c",)), threads=1, after=None,
        task="17", is_over=True, created="t",
    )  # fmt: skip
    second = replace(first, id="00002", after="00001", task=None, is_over=False)
    for submission in (second, first):
        write_submission(layout, submission)
    write_order(layout, Order(study="s", cluster=study.cluster, tracking=study.tracking, eval_batch_size=8))
    assert read_submissions(layout, "s") == (first, second)
    assert read_submissions(layout, "other") == ()
    assert lock_of(path_of(layout, first), 1) == layout.packs("s") / "00001.1.lock"


def test_pending_jobs_are_fine_tunes_and_evaluations(plan: Plan, tmp_path: Path) -> None:
    assert find_pending(plan, Layout(tmp_path)).num_jobs == len(plan.finetunes) + len(plan.evals)


def test_a_job_takes_as_long_as_its_samples_at_the_declared_rates(plan: Plan) -> None:
    (setting,) = plan.settings
    rates = replace(setting.rates, train_samples_per_s=2.0, eval_samples_per_s=4.0, rate_gpus=8)  # as of a slot
    tune = plan.finetunes[0]
    thrice = replace(tune, recipe=replace(tune.recipe, epochs=3.0, batch_size=7))
    asked = plan.evals[0]
    work = tabulate(replace(plan, settings=(replace(setting, rates=rates),), finetunes=(thrice,)))
    num_test = next(part.num_test for part in plan.catalogs[0].subsets if part.name == asked.target)
    assert work.seconds[thrice.id] == tune.mixture.num_samples * 3 / 2
    assert work.seconds[asked.id] == num_test / 4
    assert work.batches == {thrice.id: 7}
    assert work.is_finetune(thrice.id)
    assert not work.is_finetune(asked.id)


def test_a_group_is_of_its_first_jobs_kind() -> None:
    seconds = {"tune": 5.0, "eval": 1.0, "untouched": 2.0}
    work = Work(
        seconds=seconds, needs={"eval": ("tune",)}, kinds={"tune": 1, "eval": 1, "untouched": 0}, batches={"tune": 4}
    )
    assert group_jobs(work, seconds) == (
        Group(job_ids=("tune", "eval"), seconds=6.0, kind=1), Group(job_ids=("untouched",), seconds=2.0, kind=0),
    )  # fmt: skip
