"""Sweeps on this machine: they survive kills, run nothing twice and end with the same numbers."""

from __future__ import annotations

import csv
import os
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from cg_lab.errors import UserError
from cg_lab.execution.bench import Bench, Conduct, Job, Surface
from cg_lab.execution.local import count_slots, list_gpus
from cg_lab.execution.run import run_plan
from cg_lab.locks import find_holder
from cg_lab.results import Layout, read_failure, read_plan
from cg_lab.study import LocalSettings

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers can't import tests

TINY_STUDY = (
    "targets=[ct-brain-side]",
    "seeds=[0]",
    "data.train_per_subset=64",
    "data.test_per_subset=24",
    "design.max_samples=64",
    "finetune.batch_size=16",
    "rule.resamples=200",
    "tracking=none",
    "arms=[zero_shot,unrelated,related]",
    "study=tiny",
)


def start(results: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cg_lab", "sweep", *TINY_STUDY, f"results_dir={results}", *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def sweep(results: Path, *overrides: str) -> str:
    process = start(results, *overrides)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def take_processor_s() -> float:
    """Give the seconds of processors that ended processes took: other work on the machine hardly changes them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def list_done(results: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in results.glob("jobs/*/result.json")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("undisturbed")
    sweep(results)
    return results


@pytest.mark.slow
def test_a_finished_sweep_returns_at_once_and_runs_nothing(undisturbed: Path) -> None:
    before = list_done(undisturbed)
    began = take_processor_s()
    output = sweep(undisturbed)
    assert take_processor_s() - began < 4
    assert "are done and reported" in output
    assert list_done(undisturbed) == before


@pytest.mark.slow
def test_one_more_seed_runs_only_its_own_jobs(undisturbed: Path) -> None:
    before = list_done(undisturbed)
    sweep(undisturbed, "seeds=[0,1]", "study=more")
    after = list_done(undisturbed)
    assert {job: after[job] for job in before} == before
    plan = read_plan(Layout(undisturbed).plan("more"))
    assert {job.seed for job in plan.finetunes if job.id not in before} == {1}


def kill_worker(results: Path) -> bool:
    """Kill a worker that is in the middle of a job; false while none is."""
    for pack in (results / "studies/tiny/packs").glob("*.lock"):
        holder = find_holder(pack)
        if holder and any(find_holder(path) == holder for path in results.glob("jobs/*/lock")):
            os.kill(holder.pid, signal.SIGKILL)
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["driver", "worker"])
def test_kills_at_random_moments_leave_no_trace(victim: str, undisturbed: Path, tmp_path: Path) -> None:
    moments = random.Random(victim)
    kills = 0
    for _ in range(3):
        process = start(tmp_path)
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("jobs/*/journal.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(moments.uniform(0, 1.5))
        if victim == "driver":
            process.kill()
            kills += 1
        else:
            kills += kill_worker(tmp_path)
        process.communicate(timeout=300)
    sweep(tmp_path)
    assert kills >= 1
    effects = [results / "studies/tiny/effects.csv" for results in (undisturbed, tmp_path)]
    assert effects[0].read_bytes() == effects[1].read_bytes()


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = start(tmp_path)
    while not list(tmp_path.glob("jobs/*/journal.jsonl")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "the same command goes on from here" in output
    assert "Traceback" not in output
    assert not any(find_holder(lock) for lock in (tmp_path / "studies/tiny/packs").glob("*.lock"))


@pytest.mark.slow
def test_a_job_that_fails_is_one_missing_cell_and_the_others_run(tmp_path: Path) -> None:
    process = start(tmp_path, "finetune.learning_rate=1e30", "finetune.epochs=3")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert "not_finite" in (tmp_path / "studies/tiny/report.md").read_text()
    zero_shot = [row for row in (tmp_path / "studies/tiny/cells.csv").read_text().splitlines() if "zero_shot" in row]
    assert ",done," in zero_shot[0]


@pytest.mark.slow
def test_a_multirun_is_one_study_that_shares_what_is_equal(undisturbed: Path) -> None:
    """Two learning rates beside the finished one: zero-shot is not scored again, and every setting has its numbers."""
    before = list_done(undisturbed)
    output = sweep(undisturbed, "-m", "finetune.learning_rate=1e-3,2e-3", "study=many")
    plan = read_plan(Layout(undisturbed).plan("many"))
    assert [setting.name for setting in plan.settings] == [
        "finetune.learning_rate=0.001", "finetune.learning_rate=0.002",
    ]  # fmt: skip
    new = set(list_done(undisturbed)) - set(before)
    assert {job.recipe.learning_rate for job in plan.finetunes if job.id in new} == {2e-3}
    assert not any(job.checkpoint_of is None for job in plan.evals if job.id in new)
    effects = (undisturbed / "studies" / "many" / "effects.csv").read_text()
    assert all(f",finetune.learning_rate={rate}," in effects for rate in ("0.001", "0.002"))
    assert "0 failed" in output


@pytest.mark.slow
def test_a_model_learns_to_name_pairs_when_elements_are_asked_for(tmp_path: Path) -> None:
    output = sweep(
        tmp_path, "design=attribute_split", "design.max_samples=256", "data.areas=[Lung,Brain]", "data.tasks=[Mass]",
        "targets=null", "data.targets=null", "arms=[zero_shot,related]", "finetune.epochs=4",
    )  # fmt: skip
    assert "0 failed" in output
    text = (tmp_path / "studies" / "tiny" / "effects.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    seen = [row for row in rows if row["direction"] == "seen, closed world" and row["arm"] == "related"]
    assert np.mean([float(row["accuracy"]) for row in seen]) > 2 / 8


def tell_gpu(surface: Surface) -> Bench:
    """Open a bench that fails with the GPU that it sees."""

    class Teller:
        def run(self, job: Job, conduct: Conduct) -> None:
            raise UserError(f"GPU {os.environ['CUDA_VISIBLE_DEVICES']}, {os.environ['OMP_NUM_THREADS']} threads")

    return Teller()


def test_packs_are_spread_over_gpus_and_never_take_more_threads_than_cores(lab: Any) -> None:
    cluster = LocalSettings(name="local", slots=2, gpus=(4, 7), save_every_s=1)
    order = replace(lab.order, cluster=cluster)
    run_plan(lab.plan, order, lab.layout, lambda _: None, open_bench=tell_gpu)
    said = [read_failure(lab.layout, job.id).message for job in lab.plan.finetunes]  # type: ignore[union-attr]
    assert {message.split(",")[0] for message in said} == {"GPU 4", "GPU 7"}
    cores = len(os.sched_getaffinity(0))
    assert all(f", {max(1, cores // 2)} threads" in message for message in said)


def test_slots_follow_gpus_or_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    assert count_slots(None, 0) == (16, 1)
    assert count_slots(None, 4) == (4, 4)
    assert count_slots(8, 4) == (8, 2)
    assert count_slots(99, 0) == (16, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert list_gpus() == (2, 3)
