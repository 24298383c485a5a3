"""Finished jobs survive a change of what an id means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cg_lab.catalog import ListedData, name_listing
from cg_lab.errors import UserError
from cg_lab.planning import work as planning
from cg_lab.planning.plan import Plan
from cg_lab.rekeying import Migration, rekey_jobs
from cg_lab.results import (
    EvalResult,
    FinetuneResult,
    Layout,
    open_results,
    read_eval_result,
    read_plan,
    write_plan,
    write_result,
)  # fmt: skip
from cg_lab.serialize import content_id, omit_defaults, write_json
from tests.planning.cases import cube, plan_one, with_design


def finish(layout: Layout, plan: Plan) -> None:
    """Leave a result and a file of weights for every job."""
    for job in plan.finetunes:
        write_result(
            layout,
            FinetuneResult(job=job, steps=1, samples=1, loss_first=1, loss_last=1, seconds=1, host="h", started="t"),
        )
        (layout.job(job.id) / "weights").write_text(job.id)
    for job in plan.evals:
        write_result(layout, EvalResult(job=job, num_questions=1, accuracy=1, seconds=1, host="h", started="t"))


@pytest.fixture
def pool(tmp_path: Path) -> tuple[Layout, Plan]:
    layout = open_results(tmp_path / "results")
    plan = plan_one(with_design("all_related"), cube())
    finish(layout, plan)
    return layout, plan


def double(job: dict[str, Any]) -> dict[str, Any]:
    """An upgrade as a change might need it: seeds are counted anew."""
    return {**job, "seed": job["seed"] + 100} if "seed" in job else job


DOUBLED = {2: lambda _: Migration(job=double)}


def test_a_current_pool_is_left_alone(pool: tuple[Layout, Plan]) -> None:
    before = sorted(path.name for path in pool[0].jobs.iterdir())
    assert rekey_jobs(pool[0]) == 0
    assert sorted(path.name for path in pool[0].jobs.iterdir()) == before


def test_every_job_gets_its_new_id_and_evaluations_find_their_fine_tunes(
    pool: tuple[Layout, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, plan = pool
    monkeypatch.setattr(planning, "JOB_SCHEMA", 2)
    monkeypatch.setattr(planning, "POOL_VERSION", 3)
    assert rekey_jobs(layout, DOUBLED) == len(plan.finetunes) + len(plan.evals)
    folders = {path.name for path in layout.jobs.iterdir()}
    assert len(folders) == len(plan.finetunes) + len(plan.evals)
    assert not folders & {job.id for job in (*plan.finetunes, *plan.evals)}
    for name in folders:
        if (layout.job(name) / "weights").exists():
            continue
        result = read_eval_result(layout, name)
        assert result is not None
        assert result.job.id == name
        assert result.job.checkpoint_of is None or (layout.job(result.job.checkpoint_of) / "weights").exists()
    assert rekey_jobs(layout, DOUBLED) == 0


def test_an_interrupted_migration_goes_on(pool: tuple[Layout, Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    layout, plan = pool
    monkeypatch.setattr(planning, "JOB_SCHEMA", 2)
    monkeypatch.setattr(planning, "POOL_VERSION", 3)
    calls = 0
    rename = Path.rename

    def fail_once(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError("stopped")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(OSError, match="stopped"):
        rekey_jobs(layout, DOUBLED)
    assert rekey_jobs(layout, DOUBLED) == len(plan.finetunes) + len(plan.evals)
    names = sorted(path.name for path in layout.jobs.iterdir())
    assert all(read_json_id(layout, name) == name for name in names)


def read_json_id(layout: Layout, name: str) -> str:
    if (layout.job(name) / "weights").exists():
        from cg_lab.results import read_finetune_result

        tuned = read_finetune_result(layout, name)
        assert tuned is not None
        return tuned.job.id
    scored = read_eval_result(layout, name)
    assert scored is not None
    return scored.job.id


def test_a_pool_without_a_way_to_this_version_is_refused(
    pool: tuple[Layout, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "JOB_SCHEMA", 2)
    monkeypatch.setattr(planning, "POOL_VERSION", 3)
    with pytest.raises(UserError, match="job ids of version 2, this version of cg_lab has 3"):
        rekey_jobs(pool[0])


def test_a_catalogue_that_was_named_in_the_order_of_its_lines_keeps_its_results(tmp_path: Path) -> None:
    lines = [part for part in cube().subsets if part.name.startswith("a")]
    listed = [*lines[1:], lines[0], *[part for part in cube().subsets if part not in lines]]
    old = ListedData(content=content_id("listing", 1, [cube().factors, listed]))
    layout = open_results(tmp_path / "results")
    write_json(layout.stamp, {"schema": 1, "jobs": 1})
    before = plan_one(with_design("all_related"), replace(cube(), data=old))
    finish(layout, before)
    write_plan(layout, before)

    assert rekey_jobs(layout) == len(before.finetunes) + len(before.evals)

    after = plan_one(with_design("all_related"), replace(cube(), data=name_listing(cube().factors, listed)))
    assert after.catalogs[0].data == name_listing(cube().factors, reversed(listed)) != old
    assert read_plan(layout.plan(before.study)) == after
    assert layout.list_done() == {job.id for job in (*after.finetunes, *after.evals)}
    assert rekey_jobs(layout) == 0


def test_a_fine_tune_whose_epochs_were_cut_off_is_not_taken_for_one_of_todays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fields are those of today's job, its work is not."""
    layout = open_results(tmp_path / "results")
    plan = plan_one(with_design("all_related"), cube())
    (job, *_) = plan.finetunes
    cut = replace(job, recipe=replace(job.recipe, epochs=2.5, batch_size=job.mixture.num_samples - 1))
    before = content_id("finetune", planning.JOB_SCHEMA, omit_defaults(cut))
    assert before != cut.id
    result = FinetuneResult(job=cut, steps=1, samples=1, loss_first=1, loss_last=1, seconds=1, host="h", started="t")
    write_json(layout.result(before), result)
    for version in (2, 3):
        monkeypatch.setattr(planning, "POOL_VERSION", version + 1)
        rekey_jobs(layout, {version: lambda _: Migration(job=lambda plain: plain)})
        assert layout.result(before).exists()
        assert not layout.job(cut.id).exists()
