"""A tracking server with PostgreSQL: writers are killed, the server stops in between, and every run is there once."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from cg_lab.cli import main
from cg_lab.errors import UserError
from cg_lab.journal import append_event, now
from cg_lab.locks import holding
from cg_lab.planning.work import EvalJob, FinetuneJob
from cg_lab.results import EvalResult, Failure, FinetuneResult, Layout, read_plan, write_failure, write_result
from cg_lab.tracking import TrackingError, running_server, sync_study
from cg_lab.tracking.server import find_postgres
from tests.tracking.conftest import build_lab

try:
    find_postgres()
except UserError as error:
    MISSING = str(error)
else:
    MISSING = ""

needs_postgres = pytest.mark.skipif(bool(MISSING), reason=MISSING or "PostgreSQL is there")
NUM_WORKERS = 8
NUM_KILLS = 8
NUM_LOGS = 8
WORK_S = 25.0
"""How long a worker takes for all its jobs, so that writers find new things again and again."""
FAILS, DIES = 0, 1
"""Positions of the fine-tunes that do not end well."""


def work(root: Path, study: str, number: int) -> None:
    """Do every eighth job of a study as a worker does, but for the training; those that end badly come last."""
    layout, dice = Layout(root), random.Random(number)
    plan = read_plan(layout.plan(study))
    mine = [*plan.finetunes, *plan.evals][number::NUM_WORKERS]
    for job in reversed(mine):
        with holding(layout.lock(job.id)):
            append_event(layout.journal(job.id), "started", host=f"node-{number}", pid=os.getpid())
            for step in range(1, NUM_LOGS + 1):
                time.sleep(dice.uniform(0, 2 * WORK_S / NUM_LOGS / len(mine)))
                if isinstance(job, FinetuneJob):
                    append_event(layout.journal(job.id), "log", step=step, loss=1 / step, samples_per_s=9.0)
            if job == plan.finetunes[FAILS]:
                fail(layout, job.id)
                continue
            if job == plan.finetunes[DIES]:
                os.kill(os.getpid(), signal.SIGKILL)
            finish(layout, job)
            append_event(layout.journal(job.id), "done")


def fail(layout: Layout, job_id: str) -> None:
    append_event(layout.journal(job_id), "failed", kind="not_finite", message="nan")
    failure = Failure(job_id=job_id, kind="not_finite", message="nan", attempts=1, host="here", when=now())
    write_failure(layout, failure)


def finish(layout: Layout, job: FinetuneJob | EvalJob) -> None:
    if isinstance(job, EvalJob):
        layout.predictions(job.id).write_bytes(b"PAR1")
        done = EvalResult(job=job, num_questions=40, accuracy=0.5, seconds=1.0, host="here", started=now())
        write_result(layout, done)
        return
    layout.weights(job.id).mkdir()
    write_result(
        layout,
        FinetuneResult(
            job=job, steps=NUM_LOGS, samples=9, loss_first=1.0, loss_last=0.1, seconds=1.0, host="here", started=now()
        ),
    )


def mirror_for_ever(root: Path, study: str, uri: str) -> None:
    while True:
        sync_study(Layout(root), study, tracking_uri=uri)


def start_workers(lab: Any, context: Any) -> list[Any]:
    places = [(lab.layout.root, lab.plan.study, number) for number in range(NUM_WORKERS)]
    workers = [context.Process(target=work, args=place) for place in places]
    for worker in workers:
        worker.start()
    return workers


def wait_for(workers: list[Any]) -> None:
    for worker in workers:
        worker.join(120)
    assert sorted(worker.exitcode for worker in workers) == [-signal.SIGKILL] + [0] * (NUM_WORKERS - 1)


def kill_writers(lab: Any, context: Any, uri: str, dice: random.Random, count: int) -> None:
    for _ in range(count):
        writer = context.Process(target=mirror_for_ever, args=(lab.layout.root, lab.plan.study, uri))
        writer.start()
        time.sleep(dice.uniform(0.1, 2.0))
        assert writer.is_alive(), "the writer ended by itself"
        writer.kill()
        writer.join()


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def read_runs(lab: Any, client: MlflowClient) -> dict[str, Any]:
    experiment = client.get_experiment_by_name(lab.plan.study)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    found = {run.data.tags["cg_lab.key"]: run for run in runs}
    assert len(found) == len(runs)
    return found


def expect_statuses(lab: Any) -> dict[str, str]:
    keys = [*(f"finetune:{job.id}" for job in lab.plan.finetunes), *(f"cell:{cell.key}" for cell in lab.plan.cells)]
    expected = {"study": "KILLED", **dict.fromkeys(keys, "FINISHED")}
    expected[f"finetune:{lab.plan.finetunes[FAILS].id}"] = "FAILED"
    expected[f"finetune:{lab.plan.finetunes[DIES].id}"] = "KILLED"
    return expected


def check_curves(lab: Any, client: MlflowClient, runs: dict[str, Any]) -> None:
    for job in lab.plan.finetunes:
        history = client.get_metric_history(runs[f"finetune:{job.id}"].info.run_id, "loss")
        logged = sorted((point.step, point.value) for point in history)
        assert logged == [(step, 1 / step) for step in range(1, NUM_LOGS + 1)]


def check_models(lab: Any, client: MlflowClient, runs: dict[str, Any]) -> None:
    models = client.search_logged_models([runs["study"].info.experiment_id], max_results=1000)
    done = [job.id for number, job in enumerate(lab.plan.finetunes) if number not in {FAILS, DIES}]
    assert sorted(model.tags["finetune_job"] for model in models) == sorted(done)
    assert {model.status for model in models} == {"READY"}
    for model in models:
        run = runs[f"finetune:{model.tags['finetune_job']}"]
        assert model.source_run_id == run.info.run_id
        assert [output.model_id for output in client.get_run(run.info.run_id).outputs.model_outputs] == [model.model_id]


@needs_postgres
@pytest.mark.slow
def test_workers_run_writers_are_killed_the_server_stops_and_each_run_is_there_once(
    tmp_path: Path, empty_database: Path
) -> None:
    lab = build_lab(tmp_path / "results", targets=("ct-brain-mass", "mri-lung-mass"), seeds=(0, 1, 2))
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow.tracking", "tests.tracking.test_server"])
    dice, port, folder = random.Random(0), find_port(), tmp_path / "server"
    uri = f"http://127.0.0.1:{port}"
    with running_server(folder, "127.0.0.1", port):
        workers = start_workers(lab, context)
        kill_writers(lab, context, uri, dice, NUM_KILLS // 2)
    with pytest.raises(TrackingError, match="refused"):
        sync_study(lab.layout, lab.plan.study, tracking_uri=uri)
    assert any(worker.is_alive() for worker in workers)
    with running_server(folder, "127.0.0.1", port):
        kill_writers(lab, context, uri, dice, NUM_KILLS - NUM_KILLS // 2)
        wait_for(workers)
        sync_study(lab.layout, lab.plan.study, tracking_uri=uri)
        again = sync_study(lab.layout, lab.plan.study, tracking_uri=uri)
        assert (again.new, again.updated, again.removed) == (0, 0, 0)
        client = MlflowClient(tracking_uri=uri)
        runs = read_runs(lab, client)
        assert {key: run.info.status for key, run in runs.items()} == expect_statuses(lab)
        check_curves(lab, client, runs)
        check_models(lab, client, runs)
        with (
            pytest.raises(UserError, match="runs one with .* already"),
            running_server(folder, "127.0.0.1", find_port()),
        ):
            pass


def test_other_hosts_are_refused_unless_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", f"results_dir={tmp_path}", "--host", "0.0.0.0"]) == 2
    assert "--allow-remote" in capsys.readouterr().err


def test_a_machine_without_postgresql_is_told_which_package_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("pathlib.Path.glob", lambda *_: iter(()))
    with pytest.raises(UserError, match="apt-get install postgresql"):
        find_postgres()
