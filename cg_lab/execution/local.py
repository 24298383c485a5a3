"""Packs on this machine, through submitit's local executor; and in the command's own process, for a debugger."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cg_lab.execution.bench import ModelBench, OpenBench
from cg_lab.execution.clusters import End, Key, Look, Task
from cg_lab.execution.packs import Submission, lock_of, path_of
from cg_lab.execution.worker import PackRun
from cg_lab.locks import Holder, find_holder
from cg_lab.results import Layout
from cg_lab.study import LocalSettings

STOP_GRACE_S = 60.0
"""Time for a worker to save a checkpoint before it is killed."""
YEAR_MIN = 60 * 24 * 365


class LocalCluster:
    """The machine that the command is given on."""

    poll_s = 0.25
    patience_s = float("inf")
    is_separate = False

    def __init__(self, settings: LocalSettings, layout: Layout, study: str, open_bench: OpenBench = ModelBench) -> None:
        self.gpus = list_gpus() if settings.gpus is None else settings.gpus
        self.slots, self.threads = count_slots(settings.slots, len(self.gpus))
        self._folder = layout.packs(study)
        self._layout = layout
        self._open_bench = open_bench
        self._running: dict[Key, Any] = {}
        self._placed: dict[Key, int] = {}

    def split(self, seconds: float, num_free: int, num_live: int) -> tuple[int, int]:
        """Give every free slot one pack."""
        return num_free, num_free

    def submit(self, submission: Submission, after: Submission | None, parallel: int) -> str:
        """Start a process for each pack, each on the GPU that has fewest."""
        import submitit

        names: list[str] = []
        for number in range(len(submission.packs)):
            executor = submitit.LocalExecutor(folder=self._folder / "logs")
            executor.update_parameters(timeout_min=YEAR_MIN, **self._place((submission.id, number)))
            with _environment(OMP_NUM_THREADS=str(self.threads), TOKENIZERS_PARALLELISM="false"):
                job = executor.submit(PackRun(path_of(self._layout, submission), number, self._open_bench))
            self._running[submission.id, number] = job
            names.append(job.job_id)
        return ",".join(names)

    def _place(self, key: Key) -> dict[str, Any]:
        if not self.gpus:
            return {}
        taken = Counter(gpu for other, gpu in self._placed.items() if other in self._running)
        self._placed[key] = min(self.gpus, key=lambda gpu: taken[gpu])
        return {"gpus_per_node": 1, "visible_gpus": (self._placed[key],)}

    def look(self, submissions: Sequence[Submission]) -> Look:
        """See which processes have not ended."""
        for key in [key for key, job in self._running.items() if job.done()]:
            del self._running[key]
        return Look(
            tasks={key: Task(name=job.job_id, state="running", reason="") for key, job in self._running.items()},
            adopted={},
        )

    def adopt(self, submission: Submission) -> None:
        """Nothing outlives its driver unnoticed here."""

    def drop(self, names: Sequence[str]) -> None:
        """Nothing waits here."""

    def take_away(self, submission: Submission, number: int) -> None:
        """Kill the pack's process: one that hangs, or is stopped, does nothing that it is asked for."""
        holder = find_holder(lock_of(path_of(self._layout, submission), number))
        if holder is not None and holder.is_here:
            _signal(holder.pid, signal.SIGKILL)

    def find_ends(self, packs: Sequence[tuple[Submission, int]]) -> dict[Key, End]:
        """Nothing more is known here."""
        return {}

    def stop(self, submissions: Sequence[Submission]) -> None:
        """Ask all running packs of the study to save and end; kill those that do not within the grace."""
        stop_workers(self._folder)


class DebugCluster:
    """The command's own process."""

    slots = 1
    poll_s = 0.0
    patience_s = float("inf")
    is_separate = False

    def __init__(self, layout: Layout, study: str, open_bench: OpenBench = ModelBench) -> None:
        self.threads = count_slots(1, 0)[1]
        self._layout = layout
        self._folder = layout.packs(study)
        self._open_bench = open_bench

    def split(self, seconds: float, num_free: int, num_live: int) -> tuple[int, int]:
        """Make one pack of everything."""
        return 1, 1

    def submit(self, submission: Submission, after: Submission | None, parallel: int) -> str:
        """Run the pack here and now; an exception opens pdb."""
        import submitit

        executor = submitit.DebugExecutor(folder=self._folder / "logs")
        executor.submit(PackRun(path_of(self._layout, submission), 0, self._open_bench)).results()
        return "here"

    def look(self, submissions: Sequence[Submission]) -> Look:
        """Whatever was submitted has ended."""
        return Look(tasks={}, adopted={})

    def adopt(self, submission: Submission) -> None:
        """Nothing outlives its driver unnoticed here."""

    def drop(self, names: Sequence[str]) -> None:
        """Nothing waits here."""

    def take_away(self, submission: Submission, number: int) -> None:
        """Nothing runs beside this process."""

    def find_ends(self, packs: Sequence[tuple[Submission, int]]) -> dict[Key, End]:
        """Nothing more is known here."""
        return {}

    def stop(self, submissions: Sequence[Submission]) -> None:
        """Nothing runs beside this process."""


def list_gpus() -> tuple[int, ...]:
    """List the numbers of the GPUs that may be used."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(int(part) for part in visible.split(",") if part.strip().isdigit())
    if shutil.which("nvidia-smi") is None:
        return ()
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return tuple(int(line) for line in done.stdout.split() if line.isdigit()) if done.returncode == 0 else ()


def count_slots(asked: int | None, num_gpus: int) -> tuple[int, int]:
    """Give processes at one time and threads of each: together never more than the cores."""
    cores = len(os.sched_getaffinity(0))
    slots = min(asked or num_gpus or cores, cores)
    return slots, max(1, cores // slots)


def stop_workers(folder: Path) -> None:
    """Ask the packs that run on this machine to save and end; kill those that do not within the grace."""
    deadline = time.monotonic() + STOP_GRACE_S
    asked: set[int] = set()
    while (running := _find_workers(folder)) and time.monotonic() < deadline:
        for process in set(running) - asked:
            _signal(process, signal.SIGTERM)
        asked |= set(running)
        time.sleep(0.1)
    for process in running:
        _signal(process, signal.SIGKILL)


def list_workers(folder: Path) -> list[Holder]:
    """List the processes that hold the lock of a pack."""
    holders = [find_holder(lock) for lock in sorted(folder.glob("*.lock"))]
    return [holder for holder in holders if holder is not None]


def _find_workers(folder: Path) -> list[int]:
    return [holder.pid for holder in list_workers(folder) if holder.is_here]


def _signal(process: int, number: signal.Signals) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables for the processes that are started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
