"""The mirror: every run once, however often and from wherever it is made."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.journal import append_event
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import build_plan
from cg_lab.planning.plan import Plan
from cg_lab.results import EvalResult, Failure, FinetuneResult, Layout, write_failure, write_plan, write_result
from cg_lab.tracking import is_synced, sync_study

STUDY = "phantom_compositional_two_source"


def make_plan() -> Plan:
    study = read_study(["targets=[ct-brain-mass]", "seeds=[0,1]"])
    return build_plan(study, read_catalog(study.data), identify_backbone(study.model))


def finish(layout: Layout, plan: Plan, *, leave_out: int = 0) -> None:
    """Give every job a result but the last few evaluations."""
    for job in plan.finetunes:
        for step in (5, 10, 10):
            append_event(layout.journal(job.id), "log", step=step, loss=1 / step, learning_rate=0.1, samples_per_s=9.0)
        write_result(
            layout,
            FinetuneResult(
                job=job,
                steps=10,
                samples=320,
                loss_first=0.2,
                loss_last=0.1,
                seconds=3.0,
                host="h",
                started="2026-01-01",
            ),
        )
    for number, job in enumerate(plan.evals[: len(plan.evals) - leave_out]):
        append_event(layout.journal(job.id), "done")
        write_result(
            layout,
            EvalResult(job=job, num_questions=10, accuracy=number / 20, seconds=1.0, host="h", started="2026-01-01"),
        )


@pytest.fixture
def study(tmp_path: Path) -> tuple[Layout, Plan]:
    layout, plan = Layout(tmp_path), make_plan()
    write_plan(layout, plan)
    return layout, plan


def read_runs(layout: Layout) -> dict[str, Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{layout.database}")
    experiment = client.get_experiment_by_name(STUDY)
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    keys = [run.data.tags["cg_lab.key"] for run in runs]
    assert len(keys) == len(set(keys))
    return dict(zip(keys, runs, strict=True))


@pytest.mark.slow
def test_a_study_is_mirrored_once_and_brought_up_to_date(study: tuple[Layout, Plan]) -> None:
    layout, plan = study
    finish(layout, plan, leave_out=1)
    lost = plan.evals[-1]
    write_failure(
        layout, Failure(job_id=lost.id, kind="crash", message="it died", attempts=1, host="h", when="2026-01-01")
    )
    first = sync_study(layout, STUDY)
    assert first.new == first.total == 1 + len(plan.finetunes) + len(plan.cells)
    runs = read_runs(layout)
    again = sync_study(layout, STUDY)
    assert (again.new, again.updated) == (0, 0)
    assert is_synced(layout, STUDY)

    related = next(cell for cell in plan.cells if cell.arm == "related" and cell.eval_job != lost.id)
    run = runs[f"cell:{related.key}"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["arm"] == "related"
    assert (run.data.tags["modality"], run.data.tags["area"], run.data.tags["task"]) == ("CT", "Brain", "Mass")
    assert run.data.params["seed"] == str(related.seed)
    assert {"accuracy", "chance", "chance_corrected", "gain_over_zero_shot"} <= set(run.data.metrics)
    assert {run.info.status for key, run in runs.items() if key.startswith("finetune:")} == {"FINISHED"}
    failed = [run for run in runs.values() if run.data.tags.get("failure") == "crash"]
    assert {run.info.status for run in failed} == {"FAILED"}

    finish(layout, plan)
    changed = sync_study(layout, STUDY)
    assert changed.new == 0
    assert changed.updated >= 1
    assert "FAILED" not in {run.info.status for run in read_runs(layout).values()}


@pytest.mark.slow
def test_curves_are_there_once_and_filters_find_cells(study: tuple[Layout, Plan]) -> None:
    from mlflow.tracking import MlflowClient

    layout, plan = study
    finish(layout, plan)
    sync_study(layout, STUDY)
    job = plan.finetunes[0]
    append_event(layout.journal(job.id), "log", step=15, loss=0.01, learning_rate=0.1, samples_per_s=9.0)
    sync_study(layout, STUDY)
    client = MlflowClient(f"sqlite:///{layout.database}")
    run = read_runs(layout)[f"finetune:{job.id}"]
    curve = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in curve] == [(5, 0.2), (10, 0.1), (15, 0.01)]
    found = client.search_runs([run.info.experiment_id], "tags.arm = 'related' and tags.modality = 'CT'")
    assert len(found) == 2


@pytest.mark.slow
def test_a_deleted_database_is_made_again_the_same(study: tuple[Layout, Plan]) -> None:
    layout, plan = study
    finish(layout, plan)
    sync_study(layout, STUDY)
    before = {key: (run.data.params, run.data.metrics) for key, run in read_runs(layout).items()}
    layout.database.unlink()
    assert not is_synced(layout, STUDY)
    sync_study(layout, STUDY)
    assert {key: (run.data.params, run.data.metrics) for key, run in read_runs(layout).items()} == before


@pytest.mark.slow
def test_two_writers_at_once_make_every_run_once(study: tuple[Layout, Plan]) -> None:
    layout, plan = study
    finish(layout, plan)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=sync_study, args=(layout, STUDY)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(read_runs(layout)) == 1 + len(plan.finetunes) + len(plan.cells)
