"""Sweeps on a real Slurm (`make slurm` starts one): whatever happens, the numbers are those of this machine.

Each test lets one thing go wrong, gives the same command again, and asks for three things: the effects.csv of an
undisturbed run byte for byte, no fine-tune that ran twice to its end, and the journals' word on what happened.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cg_lab.arms import Arm
from cg_lab.execution.packs import read_submissions
from cg_lab.execution.slurm import name_tasks
from cg_lab.execution.slurm_commands import ask, list_tasks
from cg_lab.journal import read_events
from cg_lab.locks import find_holder
from cg_lab.results import Layout, read_failure, read_plan

pytestmark = pytest.mark.slurm
STUDY = (
    "targets=[ct-brain-side]", "seeds=[0]", "data.train_per_subset=64", "data.test_per_subset=24",
    "design.max_samples=64", "finetune.batch_size=16", "finetune.epochs=15", "rule.resamples=200", "tracking=none",
    "arms=[zero_shot,related,unrelated,ceiling]",
)  # fmt: skip
CLUSTER = ("cluster=slurm", "cluster.slots=2", "cluster.save_every_s=0.5")
START = Path(__file__).parents[1] / "slurm" / "start.sh"
IS_OURS = Path("/etc/slurm/slurm.conf").exists() and "tests/slurm/start.sh" in Path("/etc/slurm/slurm.conf").read_text()
needs_own_slurm = pytest.mark.skipif(
    not IS_OURS or os.getuid() != 0,
    reason="stops daemons of Slurm: only as root, and of the one that `make slurm` made",
)


def start(
    results: Path, *overrides: str, path: Path | None = None, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cg_lab", "sweep", *STUDY, *CLUSTER, "study=s", f"results_dir={results}"]
    environment = {**os.environ, **(variables or {})}
    if path:
        environment["PATH"] = f"{path}:{os.environ['PATH']}"
    return subprocess.Popen(
        [*command, *overrides], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def finish(process: subprocess.Popen[str], *, status: int = 0) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == status, output
    return output


def read_effects(results: Path) -> str:
    return (results / "studies" / "s" / "effects.csv").read_text(encoding="utf-8")


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def list_events(results: Path, name: str) -> list[str]:
    """List the jobs with an event, once for each time."""
    return [
        path.parent.name
        for path in results.glob("jobs/*/journal.jsonl")
        for event in read_events(path)
        if event["event"] == name
    ]


def has_checkpoint(results: Path) -> bool:
    return bool(list_events(results, "saved"))


def list_running(results: Path) -> list[tuple[str, int]]:
    """List the packs' processes that are at a job."""
    return [
        (holder.host, holder.pid)
        for lock in (results / "studies" / "s" / "packs").glob("*.lock")
        if (holder := find_holder(lock)) and holder.pid
    ]


def list_names(results: Path) -> list[str]:
    tasks = list_tasks(name_tasks(Layout(results), "s"))
    assert tasks is not None
    return [f"{task.array}_{task.number}" for task in tasks]


def check(results: Path, undisturbed: str) -> None:
    """Ask for equal numbers, and for no fine-tune that ran twice to its end."""
    assert read_effects(results) == undisturbed
    done = list_events(results, "done")
    assert len(done) == len(set(done))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    results = tmp_path_factory.mktemp("local")
    finish(start(results, "cluster=local"))
    return read_effects(results)


def write_sbatch(folder: Path, body: str) -> Path:
    """Put a script in front of the real sbatch."""
    folder.mkdir()
    real = shutil.which("sbatch")
    script = folder / "sbatch"
    script.write_text(
        f'#!/bin/bash\nreal={real}\ncount="{folder}/count"\necho x >> "$count"\nn=$(wc -l < "$count")\n{body}\n'
    )
    script.chmod(0o755)
    return folder


HOSTILE = {
    "SQUEUE_STATES": "PENDING", "SQUEUE_PARTITION": "high", "SQUEUE_NAMES": "others", "SBATCH_JOB_NAME": "mine",
    "SBATCH_TIMELIMIT": "1", "SBATCH_HOLD": "1", "SACCT_FORMAT": "User", "SCANCEL_STATE": "PENDING",
    "SLURM_JOB_ID": "1", "SLURM_NTASKS": "7",
}  # fmt: skip


@pytest.mark.faults
def test_a_users_own_options_of_slurm_change_nothing(undisturbed: str, tmp_path: Path) -> None:
    """They would hide tasks that run, hold those that are submitted, and give them other names and limits."""
    said = finish(start(tmp_path, "cluster.timeout_min=30", variables=HOSTILE))
    check(tmp_path, undisturbed)
    assert "SBATCH_HOLD=1 is set aside" in said
    assert len(read_submissions(Layout(tmp_path), "s")) == 1


# The driver ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "body", "arrays"),
    [
        pytest.param("before", "kill -9 $PPID; exit 1", 1, marks=pytest.mark.faults, id="before"),
        pytest.param("unnoted", '"$real" "$@" > /dev/null; kill -9 $PPID', 1, id="unnoted"),
        pytest.param(
            "between", '[ "$n" = 2 ] && kill -9 $PPID; exec "$real" "$@"', 2, marks=pytest.mark.faults, id="between"
        ),
    ],
)  # fmt: skip
def test_a_driver_that_is_killed_while_it_submits_submits_nothing_twice(
    moment: str, body: str, arrays: int, undisturbed: str, tmp_path: Path
) -> None:
    """Before sbatch, after sbatch but before its answer was noted, and between two arrays."""
    results = tmp_path / "results"
    split = ["cluster.max_array_size=1"] if moment == "between" else []
    driver = start(results, *split, path=write_sbatch(tmp_path / "bin", body))
    driver.communicate(timeout=120)
    assert driver.returncode == -signal.SIGKILL
    finish(start(results, *split))
    check(results, undisturbed)
    submitted = {sent.task for sent in read_submissions(Layout(results), "s") if sent.task}
    assert len(submitted) == arrays


@pytest.mark.faults
def test_a_driver_that_was_killed_attaches_again(undisturbed: str, tmp_path: Path) -> None:
    driver = start(tmp_path)
    wait_for(lambda: has_checkpoint(tmp_path))
    driver.kill()
    driver.communicate()
    assert list_names(tmp_path)
    finish(start(tmp_path))
    check(tmp_path, undisturbed)
    assert len(read_submissions(Layout(tmp_path), "s")) == 1


@pytest.mark.faults
def test_a_second_sweep_of_the_study_says_who_drives_it_and_waits(undisturbed: str, tmp_path: Path) -> None:
    first = start(tmp_path)
    wait_for(lambda: find_holder(Layout(tmp_path).driver_lock("s")))
    second = start(tmp_path)
    finish(first)
    assert f"process {first.pid} on" in finish(second)
    check(tmp_path, undisturbed)


@pytest.mark.faults
def test_a_detached_sweep_ends_with_a_report_by_itself(undisturbed: str, tmp_path: Path) -> None:
    """A task is cancelled meanwhile, so that the last task has to have its jobs submitted again."""
    assert "you may leave" in finish(start(tmp_path, "--detach"))
    wait_for(lambda: has_checkpoint(tmp_path))
    subprocess.run(["scancel", list_names(tmp_path)[0]], check=True)
    wait_for((tmp_path / "studies/s/.reported.json").exists, 240)
    check(tmp_path, undisturbed)


@pytest.mark.faults
def test_a_detached_sweep_goes_from_look_to_look_by_itself(tmp_path: Path) -> None:
    """The question stays open at the first look, so that the last task has to submit the seeds of the second."""
    looks = ("looks=[3,4]", "rule.matters=1", "finetune.epochs=2", "arms=[zero_shot,related,unrelated,ceiling,blind]")
    finish(start(tmp_path / "local", *looks, "cluster=local"))
    assert "you may leave" in finish(start(tmp_path / "slurm", *looks, "--detach"))
    wait_for((tmp_path / "slurm/studies/s/.reported.json").exists, 240)
    check(tmp_path / "slurm", read_effects(tmp_path / "local"))
    layout = Layout(tmp_path / "slurm")
    done, cells = layout.list_done(), read_plan(layout.plan("s")).cells
    assert {cell.seed for cell in cells if cell.arm is Arm.RELATED and cell.eval_job in done} == {0, 1, 2, 3}
    assert len(list_events(tmp_path / "slurm", "done")) == len(list_events(tmp_path / "local", "done"))


# Tasks ---------------------------------------------------------------------------------------------------------------


def kill_workers(results: Path) -> None:
    for _, process in list_running(results):
        os.kill(process, signal.SIGKILL)


def cancel_array(results: Path) -> None:
    subprocess.run(["scancel", list_names(results)[0].split("_")[0]], check=True)


def requeue_task(results: Path) -> None:
    subprocess.run(["scontrol", "requeue", list_names(results)[0]], check=True)


def preempt_tasks(results: Path) -> None:
    cores = str(os.cpu_count())
    command = ["sbatch", "--partition=high", f"--ntasks={cores}", "--output=/dev/null", "--wrap=sleep 3"]
    subprocess.run(command, check=True, cwd=results)


@pytest.mark.parametrize(
    "happen",
    [
        kill_workers,
        preempt_tasks,
        pytest.param(cancel_array, marks=pytest.mark.faults),
        pytest.param(requeue_task, marks=pytest.mark.faults),
    ],
)
def test_tasks_that_are_killed_cancelled_requeued_or_preempted_go_on_from_their_checkpoints(
    happen: Callable[[Path], None], undisturbed: str, tmp_path: Path
) -> None:
    driver = start(tmp_path)
    wait_for(lambda: has_checkpoint(tmp_path))
    happen(tmp_path)
    finish(driver)
    check(tmp_path, undisturbed)
    assert list_events(tmp_path, "resumed")


@pytest.mark.faults
def test_a_task_that_falls_silent_is_taken_away_and_its_jobs_are_dealt_again(undisturbed: str, tmp_path: Path) -> None:
    driver = start(tmp_path, "cluster.silence_min=0.1")
    wait_for(lambda: has_checkpoint(tmp_path) and list_running(tmp_path))
    (_, process), *_ = list_running(tmp_path)
    os.kill(process, signal.SIGSTOP)
    finish(driver)
    check(tmp_path, undisturbed)
    ends = [event for path in tmp_path.glob("jobs/*/journal.jsonl") for event in read_events(path)]
    assert any("gave no sign" in str(event) and "taken away" in str(event) for event in ends)
    assert list_events(tmp_path, "resumed")


@pytest.mark.faults
def test_a_task_that_nears_its_time_limit_saves_and_queues_again(tmp_path: Path) -> None:
    """Slurm's shortest limit is a minute, which three long fine-tunes in one task outlast."""
    finish(start(tmp_path / "local", "cluster=local", "finetune.epochs=50"))
    limits = ("cluster.timeout_min=1", "cluster.warn_s=40", "cluster.slots=1", "cluster.save_every_s=1000")
    results = tmp_path / "slurm"
    finish(start(results, "finetune.epochs=50", *limits))
    check(results, read_effects(tmp_path / "local"))
    assert list_events(results, "interrupted")
    assert list_events(results, "resumed")
    assert len(read_submissions(Layout(results), "s")) == 1


@pytest.mark.faults
def test_a_job_that_takes_its_process_down_is_given_up_and_the_others_run(undisturbed: str, tmp_path: Path) -> None:
    driver = start(tmp_path)
    wait_for(lambda: Layout(tmp_path).plan("s").exists())
    plan = read_plan(Layout(tmp_path).plan("s"))
    (poisoned,) = (cell.finetune_job for cell in plan.cells if cell.arm is Arm.CEILING)
    assert poisoned
    while driver.poll() is None:
        holder = find_holder(Layout(tmp_path).lock(poisoned))
        if holder and holder.pid:
            os.kill(holder.pid, signal.SIGKILL)
        time.sleep(0.1)
    finish(driver, status=1)
    failure = read_failure(Layout(tmp_path), poisoned)
    assert failure
    assert (failure.kind, failure.attempts) == ("died", 3)
    rows = [list(csv.DictReader(text.splitlines())) for text in (undisturbed, read_effects(tmp_path))]
    same = ("arm", "accuracy", "gain_over_unrelated", "gain_over_zero_shot")
    expected, found = ([{key: row[key] for key in same} for row in part if row["arm"] != "ceiling"] for part in rows)
    assert found == expected
    (missing,) = (row for row in rows[1] if row["arm"] == "ceiling")
    assert "died" in missing["missing_reasons"]


# Slurm itself --------------------------------------------------------------------------------------------------------


def stop(daemon: str) -> None:
    subprocess.run(["pkill", "-x", daemon], check=True)
    wait_for(lambda: subprocess.call(["pgrep", "-x", daemon], stdout=subprocess.DEVNULL))


@contextmanager
def without(*daemons: str) -> Iterator[None]:
    """Stop daemons; start them again at the end."""
    for name in daemons:
        stop(name)
    try:
        yield
    finally:
        subprocess.run(["bash", START], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.faults
@needs_own_slurm
def test_a_controller_that_is_down_for_a_minute_costs_a_minute(undisturbed: str, tmp_path: Path) -> None:
    driver = start(tmp_path, "finetune.epochs=15")
    wait_for(lambda: has_checkpoint(tmp_path))
    with without("slurmctld"):
        assert list_tasks("none") is None
        time.sleep(60)
    finish(driver)
    check(tmp_path, undisturbed)
    assert len(read_submissions(Layout(tmp_path), "s")) == 1


@pytest.mark.faults
@needs_own_slurm
def test_a_controller_that_is_down_at_submission_is_waited_for(undisturbed: str, tmp_path: Path) -> None:
    with without("slurmctld"):
        driver = start(tmp_path)
        wait_for(lambda: read_submissions(Layout(tmp_path), "s"))
        time.sleep(5)
    finish(driver)
    check(tmp_path, undisturbed)


@pytest.mark.faults
@needs_own_slurm
def test_nothing_rests_on_accounting(undisturbed: str, tmp_path: Path) -> None:
    with without("slurmdbd", "mariadbd"):
        driver = start(tmp_path)
        wait_for(lambda: has_checkpoint(tmp_path))
        assert ask("sacct", "--noheader") is None
        kill_workers(tmp_path)
        finish(driver)
    check(tmp_path, undisturbed)


@pytest.mark.faults
@needs_own_slurm
def test_arrays_stay_below_the_size_that_the_cluster_allows(tmp_path: Path) -> None:
    """With MaxArraySize=20 and more packs than that; the untouched model alone, so that it takes a minute."""
    areas = [f"{area}-{task}" for area in ("brain", "lung", "kidney") for task in ("side", "mass")]
    targets = [f"{modality}-{area}" for modality in ("ct", "mri", "us", "xray") for area in areas][:22]
    with without("slurmctld"):
        environment = {**os.environ, "MAX_ARRAY_SIZE": "20"}
        subprocess.run(["bash", START], check=True, stdout=subprocess.DEVNULL, env=environment)
        finish(start(tmp_path, "arms=[zero_shot]", f"targets=[{','.join(targets)}]", "cluster.slots=22"))
        sizes = [len(sent.packs) for sent in read_submissions(Layout(tmp_path), "s")]
        assert sizes == [20, 2]
        assert len(list_events(tmp_path, "done")) == 22
        stop("slurmctld")


def test_evaluations_depend_on_their_fine_tunes_and_one_that_can_never_run_is_dealt_anew(
    undisturbed: str, tmp_path: Path
) -> None:
    driver = start(tmp_path, "cluster.eval=separate")
    wait_for(lambda: has_checkpoint(tmp_path))
    kill_workers(tmp_path)
    finish(driver)
    check(tmp_path, undisturbed)
    assert list_events(tmp_path, "released")


@pytest.mark.faults
@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_costs_nothing_that_is_done(undisturbed: str, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", tmp_path], check=True)
    try:
        driver = start(tmp_path)
        wait_for(lambda: has_checkpoint(tmp_path))
        subprocess.run(
            ["dd", "if=/dev/zero", f"of={tmp_path}/ballast", "bs=64k"], check=False, stderr=subprocess.DEVNULL
        )
        output, _ = driver.communicate(timeout=300)
        assert driver.returncode == 1, output
        assert "No space left" in output
        (tmp_path / "ballast").unlink()
        finish(start(tmp_path))
        check(tmp_path, undisturbed)
    finally:
        wait_for(lambda: not list_names(tmp_path))
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_what_sbatch_refuses_is_told_in_its_own_words(tmp_path: Path) -> None:
    output = finish(start(tmp_path, "cluster.partition=nowhere"), status=2)
    assert "cluster=slurm: sbatch refused" in output
    assert "invalid partition" in output.lower()


@pytest.mark.faults
def test_images_are_prepared_by_tasks_of_an_array(tmp_path: Path) -> None:
    """The files are those that this machine writes."""
    lines = ["image,label,modality,area,task"]
    for place, elements in enumerate(("CT,Lung,Mass", "CT,Brain,Bleed", "MRI,Brain,Mass", "US,Breast,Level")):
        for number in range(16):
            pixels = np.random.default_rng([place, number]).integers(0, 255, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{place}-{number}.png")
            lines.append(f"{place}-{number}.png,{('no', 'yes')[number % 2]},{elements}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    common = ["data=manifest", f"data.path={tmp_path}/manifest.csv", "design=all_related", "seeds=[0]", "study=s"]
    for name, cluster in (("here", ()), ("there", CLUSTER)):
        command = [sys.executable, "-m", "cg_lab", "data", "prepare", *common, *cluster]
        subprocess.run([*command, f"results_dir={tmp_path / name}"], check=True, timeout=240)
    here, there = (
        {file.name: file.read_bytes() for file in (tmp_path / name / "prepared").glob("*.safetensors")}
        for name in ("here", "there")
    )
    assert here
    assert here == there
