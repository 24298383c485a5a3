"""Finished jobs survive a change of what an id means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cg_lab.errors import UserError
from cg_lab.planning import work as planning
from cg_lab.planning.plan import Plan
from cg_lab.rekeying import rekey_jobs
from cg_lab.results import EvalResult, FinetuneResult, Layout, open_results, read_eval_result, write_result
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


def test_a_current_pool_is_left_alone(pool: tuple[Layout, Plan]) -> None:
    before = sorted(path.name for path in pool[0].jobs.iterdir())
    assert rekey_jobs(pool[0]) == 0
    assert sorted(path.name for path in pool[0].jobs.iterdir()) == before


def test_every_job_gets_its_new_id_and_evaluations_find_their_fine_tunes(
    pool: tuple[Layout, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, plan = pool
    monkeypatch.setattr(planning, "JOB_SCHEMA", 2)
    assert rekey_jobs(layout, {1: double}) == len(plan.finetunes) + len(plan.evals)
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
    assert rekey_jobs(layout, {1: double}) == 0


def test_an_interrupted_migration_goes_on(pool: tuple[Layout, Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    layout, plan = pool
    monkeypatch.setattr(planning, "JOB_SCHEMA", 2)
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
        rekey_jobs(layout, {1: double})
    assert rekey_jobs(layout, {1: double}) == len(plan.finetunes) + len(plan.evals)
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
    with pytest.raises(UserError, match="job ids of version 1, this version of cg_lab has 2"):
        rekey_jobs(pool[0])
