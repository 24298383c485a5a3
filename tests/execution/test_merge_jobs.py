"""Evaluations of merged adapters wait for all their fine-tunes, keep their weights, and go with the first failure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.execution.dealing import part_stages
from cg_lab.execution.keeping import Keeper, find_lost
from cg_lab.execution.packs import Order, find_pending, group_jobs, tabulate
from cg_lab.execution.run import freeze
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob
from cg_lab.results import Layout, read_failure, write_plan
from cg_lab.studies.plan_outline import read_outline
from cg_lab.studies.results_union import _find_needed
from tests.planning.cases import plan_one
from tests.pretend import Lab, PretendBench, fail_with


@pytest.fixture(scope="module")
def merged_plan() -> Plan:
    study = read_study(["targets=[ct-brain-side]", "seeds=[0]", "arms=[zero_shot,related,composed]", "finetune=lora"])
    return plan_one(study, read_catalog(study.data))


@pytest.fixture
def lab(merged_plan: Plan, tmp_path: Path) -> Lab:
    study, layout = read_study(["cluster=local"]), Layout(tmp_path)
    order = Order(study=merged_plan.study, cluster=study.cluster, tracking=study.tracking, eval_batch_size=8)
    write_plan(layout, merged_plan)
    freeze(merged_plan, order, layout)
    return Lab(plan=merged_plan, layout=layout, order=order, bench=PretendBench(layout))


@pytest.fixture
def merged(merged_plan: Plan) -> EvalJob:
    (job,) = (job for job in merged_plan.evals if job.merge)
    return job


def test_a_merge_is_asked_after_all_of_its_fine_tunes(lab: Lab, cluster: Any, merged: EvalJob) -> None:
    cluster.slots = 1
    outcome = cluster.drive().run()
    assert outcome.num_failed == 0
    assert len(merged.needs) == 2
    begun = lab.bench.begun
    assert all(begun.index(needed) < begun.index(merged.id) for needed in merged.needs)
    assert begun.count(merged.id) == 1


def test_it_is_so_where_evaluations_have_tasks_of_their_own(lab: Lab, cluster: Any, merged: EvalJob) -> None:
    cluster.is_separate = True
    assert cluster.drive().run().num_failed == 0
    begun = lab.bench.begun
    assert all(begun.index(needed) < begun.index(merged.id) for needed in merged.needs)
    (sent,) = (sent for sent in cluster.sent if any(merged.id in pack for pack in sent.packs))
    assert (sent.stage, sent.after) == ("evaluation", None)


def test_adapters_stay_until_the_merge_was_asked(lab: Lab, cluster: Any, merged: EvalJob) -> None:
    there: list[bool] = []
    folders = [lab.layout.weights(needed) for needed in merged.needs]
    lab.bench.behaviours[merged.id] = [lambda _: there.extend(folder.is_dir() for folder in folders)]
    lab.order = replace(lab.order, keep="nothing")
    cluster.drive().run()
    assert there == [True, True]
    assert not any(folder.exists() for folder in folders)


def test_a_merge_is_given_up_with_one_of_its_fine_tunes(lab: Lab, cluster: Any, merged: EvalJob) -> None:
    lost = merged.needs[1]
    lab.bench.behaviours[lost] = [fail_with(ValueError("no")) for _ in range(9)]
    cluster.drive().run()
    assert merged.id not in lab.bench.begun
    failure = read_failure(lab.layout, merged.id)
    assert failure is not None
    assert (failure.kind, lost in failure.message) == ("no_weights", True)


def test_a_keeper_waits_for_the_last_of_several() -> None:
    kept: list[str] = []

    class Noting(Keeper):
        def _remove(self, job_id: str) -> None:
            kept.append(job_id)

    needs = {"alone": ("a",), "merged": ("a", "b")}
    keeper = Noting(Layout(Path("nowhere")), "nothing", needs, done={"a", "b"})
    keeper.note("alone")
    assert kept == []
    keeper.note("merged")
    assert kept == ["a", "b"]


def test_fine_tunes_whose_adapters_are_gone_are_trained_again_for_a_merge(lab: Lab, cluster: Any) -> None:
    cluster.drive().run()
    (merged,) = (job for job in lab.plan.evals if job.merge)
    lab.layout.result(merged.id).unlink()
    gone = merged.needs[0]
    lab.layout.weights(gone).rename(lab.layout.root / "gone")
    assert find_lost(lab.layout, tabulate(lab.plan).needs, lab.layout.list_done()) == {gone}
    assert [job.id for job in find_pending(lab.plan, lab.layout).finetunes] == [gone]


def test_a_merge_follows_the_fine_tune_that_is_left(merged_plan: Plan, merged: EvalJob) -> None:
    work = tabulate(merged_plan)
    left = merged.needs[1]
    assert [group.job_ids for group in group_jobs(work, (left, merged.id))] == [(left, merged.id)]
    assert [group.job_ids for group in group_jobs(work, (merged.id,))] == [(merged.id,)]
    assert part_stages(work, (left, merged.id)) == ([left], [], {left: [merged.id]})


def test_a_plan_and_a_result_name_all_that_a_merge_needs(lab: Lab, cluster: Any, merged: EvalJob) -> None:
    outline = read_outline(lab.layout.plan(lab.plan.study))
    assert outline.needs[merged.id] == merged.needs
    assert set(merged.needs) <= outline.jobs
    cluster.drive().run()
    assert _find_needed(lab.layout, merged.id) == merged.needs
