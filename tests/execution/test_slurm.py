"""Sweeps on a real Slurm (`make slurm` starts one): whatever happens, the numbers are those of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cg_lab.execution.slurm import find_tasks, name_tasks
from cg_lab.results import Layout

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        find_tasks("none") is None, reason="no Slurm answers here; `make slurm` installs and starts one"
    ),
]
STUDY = (
    "targets=[ct-brain-side]", "seeds=[0]", "data.train_per_subset=64", "data.test_per_subset=24",
    "design.max_samples=64", "finetune.batch_size=16", "finetune.epochs=20", "rule.resamples=200", "tracking=none",
    "arms=[zero_shot,related,unrelated,ceiling]",
)  # fmt: skip
CLUSTER = (
    "cluster=slurm", "cluster.slots=2", "cluster.cpus=1", "cluster.gpus=0", "cluster.timeout_min=10",
    "cluster.warn_s=30", "cluster.save_every_s=0.5",
)  # fmt: skip


def start(results: Path, study: str, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cg_lab", "sweep", *STUDY, f"study={study}", f"results_dir={results}", *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def read_effects(results: Path, study: str) -> str:
    text = (results / "studies" / study / "effects.csv").read_text(encoding="utf-8")
    return text.replace(f"\n{study},", "\nstudy,")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def has_checkpoint(results: Path) -> bool:
    return any(results.glob("jobs/*/checkpoints/checkpoint-*"))


def list_arrays(results: Path, study: str) -> set[str]:
    """List the arrays that were submitted for a study, by their logs."""
    return {path.name.split("_")[0] for path in (results / "studies" / study / "packs" / "logs").glob("*_*_log.out")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    results = tmp_path_factory.mktemp("local")
    finish(start(results, "alone"))
    return read_effects(results, "alone")


def test_slurm_gives_the_same_numbers_as_this_machine(undisturbed: str, tmp_path: Path) -> None:
    finish(start(tmp_path, "plain", *CLUSTER))
    assert read_effects(tmp_path, "plain") == undisturbed
    assert len(list_arrays(tmp_path, "plain")) == 1


def test_a_driver_that_was_killed_attaches_again_and_submits_nothing_twice(undisturbed: str, tmp_path: Path) -> None:
    driver = start(tmp_path, "killed", *CLUSTER)
    wait_for(lambda: has_checkpoint(tmp_path))
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert find_tasks(name_tasks(Layout(tmp_path), "killed"))
    finish(start(tmp_path, "killed", *CLUSTER))
    assert read_effects(tmp_path, "killed") == undisturbed
    assert len(list_arrays(tmp_path, "killed")) == 1


@pytest.mark.parametrize("how", ["scancel", "requeue", "kill"])
def test_tasks_that_are_cancelled_requeued_or_killed_go_on_from_their_checkpoints(
    how: str, undisturbed: str, tmp_path: Path
) -> None:
    driver = start(tmp_path, how, *CLUSTER)
    wait_for(lambda: has_checkpoint(tmp_path))
    name = name_tasks(Layout(tmp_path), how)
    tasks = find_tasks(name)
    assert tasks
    if how == "kill":
        for lock in (tmp_path / "studies" / how / "packs").glob("*.lock"):
            os.kill(int(lock.read_text().split()[0]), signal.SIGKILL)
    else:
        command = ["scontrol", "requeue", tasks[0]] if how == "requeue" else ["scancel", f"--name={name}"]
        subprocess.run(command, check=True)
    finish(driver)
    assert read_effects(tmp_path, how) == undisturbed
    resumed = sum('"resumed"' in path.read_text() for path in tmp_path.glob("jobs/*/journal.jsonl"))
    assert resumed > 0


def test_what_sbatch_refuses_is_told_in_its_own_words(tmp_path: Path) -> None:
    process = start(tmp_path, "refused", *CLUSTER, "cluster.partition=nowhere")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "cluster=slurm: sbatch refused" in output
    assert "invalid partition" in output.lower()
