"""A study of 100,000 jobs driven on a simulated cluster of 1,000 GPUs, with failures and preemptions.

The driver is the real one, with its files in a temporary folder; the cluster, its tasks and the clock are simulated.
Prints makespan, work that was lost, what the driver did to the file system and to the queue, and its memory.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import os
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pages import write_into

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.execution.clusters import End, Key, Look, NoAnswerError, Task
from cg_lab.execution.drive import Clock, Driver
from cg_lab.execution.packs import Order, Submission, Work, path_of, tabulate, trace_of
from cg_lab.journal import append_event
from cg_lab.models.identity import identify_model
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout, write_plan

START = 1_000_000.0
"""Virtual seconds at which a simulation starts."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What goes wrong, and how often."""

    slots: int = 1000
    hour_s: float = 3600.0
    """Mean duration of a fine-tune."""
    preemptions_per_gpu_day: float = 0.5
    deaths_per_gpu_day: float = 0.05
    crash_share: float = 0.002
    """Jobs that always fail."""
    silent_share: float = 0.02
    """Looks at the queue, and submissions, that get no answer."""
    save_every_s: float = 300.0
    startup_s: float = 60.0
    queue_s: float = 30.0


@dataclass
class Simulation:
    """A cluster with a clock of its own; tasks write what real ones would."""

    work: Work
    layout: Layout
    rates: Rates
    slots: int = 0
    threads: int = 1
    poll_s: float = 60.0
    patience_s: float = 3600.0
    is_separate: bool = False
    now: float = START
    lost_s: float = 0.0
    useful_s: float = 0.0
    num_interrupted: int = 0
    num_looks: int = 0
    num_submitted: int = 0
    num_writes: int = 0
    longest_queue: int = 0
    _waiting: deque[tuple[Submission, int]] = field(default_factory=deque)
    _alive: dict[Key, bool] = field(default_factory=dict)
    _events: list[tuple[float, int, Iterator[float], Key]] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        """Draw which jobs always fail, and scale declared seconds to the wanted mean."""
        self.slots = self.rates.slots
        self._random = random.Random(0)
        tunes = [self.work.seconds[job_id] for job_id in self.work.batches]
        self.scale = self.rates.hour_s / (sum(tunes) / len(tunes))
        self._poisoned = {job_id for job_id in self.work.batches if self._random.random() < self.rates.crash_share}
        self._saved: dict[str, float] = {}
        self._running = 0

    # What a driver asks for -----------------------------------------------------------------------------------------

    def split(self, seconds: float, num_free: int, num_live: int) -> tuple[int, int]:
        """Packs of six hours at most, arrays of a thousand."""
        turns = max(1, math.ceil(seconds * self.scale / (6 * 3600 * num_free)))
        return min(turns * num_free, 10_000 - num_live), 1000

    def submit(self, submission: Submission, after: Submission | None, parallel: int) -> str:
        """Take an array; now and then without an answer."""
        self.num_submitted += 1
        taken = self._random.random() >= self.rates.silent_share
        if taken or self._random.random() < 0.5:
            for number in range(len(submission.packs)):
                self._waiting.append((submission, number))
                self._alive[submission.id, number] = False
            self.longest_queue = max(self.longest_queue, len(self._alive))
        if not taken:
            raise NoAnswerError("Socket timed out")
        return submission.id

    def look(self, submissions: Sequence[Submission]) -> Look | None:
        """Say what waits and runs; now and then nothing."""
        self.num_looks += 1
        if self._random.random() < self.rates.silent_share:
            return None
        tasks = {
            key: Task(name=f"{key[0]}_{key[1]}", state="running" if runs else "waiting", reason="")
            for key, runs in self._alive.items()
        }
        known = {key[0] for key in self._alive}
        return Look(
            tasks=tasks, adopted={sent.id: sent.id for sent in submissions if not sent.task and sent.id in known}
        )

    def take_away(self, submission: Submission, number: int) -> None:
        """Never asked for: nothing falls silent."""

    def find_ends(self, packs: Sequence[tuple[Submission, int]]) -> dict[Key, End]:
        """There is no accounting."""
        return {}

    def adopt(self, submission: Submission) -> None:
        """Tasks have all that they need."""

    def drop(self, names: Sequence[str]) -> None:
        """Nothing has dependencies."""

    def stop(self, submissions: Sequence[Submission]) -> None:
        """Never asked for."""

    # What happens meanwhile -----------------------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        """Let time pass, and all that happens in it."""
        until = self.now + seconds
        self._begin()
        while self._events and self._events[0][0] <= until:
            self.now, _, pack, key = heapq.heappop(self._events)
            self._go_on(pack, key)
            self._begin()
        self.now = until

    def _begin(self) -> None:
        while self._waiting and self._running < self.slots:
            submission, number = self._waiting.popleft()
            key = (submission.id, number)
            self._alive[key] = True
            self._running += 1
            self._schedule(self._random.expovariate(1 / self.rates.queue_s), self._run(submission, number), key)

    def _schedule(self, delay: float, pack: Iterator[float], key: Key) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + delay, self._count, pack, key))

    def _go_on(self, pack: Iterator[float], key: Key) -> None:
        delay = next(pack, None)
        if delay is None:
            self._running -= 1
            del self._alive[key]
        else:
            self._schedule(delay, pack, key)

    def _run(self, submission: Submission, number: int) -> Iterator[float]:
        """Be a task: give the seconds until the next thing that it does."""
        trace = trace_of(path_of(self.layout, submission), number)
        while True:
            self._write(trace, "begun", pid=1)
            yield self.rates.startup_s
            ended_by = "end"
            for job_id in submission.packs[number]:
                if self.layout.result(job_id).exists() or self.layout.failure(job_id).exists():
                    continue
                if not all(self.layout.result(needed).exists() for needed in self.work.needs.get(job_id, ())):
                    self._write(trace, "left", job=job_id)
                    continue
                ended_by = yield from self._work(trace, job_id)
                if ended_by != "end":
                    break
            if ended_by == "preemption":  # the task is queued again, by itself
                yield 2 * self.rates.queue_s
                continue
            if ended_by == "end":
                self._write(trace, "ended", pid=1)
            return

    def _work(self, trace: Path, job_id: str) -> Iterator[float]:
        """Work at one job until it ends or something ends it; the value says what."""
        journal = self.layout.journal(job_id)
        self._write(trace, "started", job=job_id)
        is_tune = self.work.is_finetune(job_id)
        left = self.work.seconds[job_id] * self.scale - self._saved.get(job_id, 0.0)
        if is_tune and job_id in self._poisoned:
            yield left * 0.1
            self._write(journal, "started", host="h", task="simulated")
            self._write(journal, "failed", kind="crash", message="always fails")
            self._write(trace, "left", job=job_id)
            self.lost_s += left * 0.1
            return "end"
        preempted, died = (
            self._random.expovariate(rate / 86400) if rate else math.inf
            for rate in (self.rates.preemptions_per_gpu_day, self.rates.deaths_per_gpu_day)
        )
        if min(preempted, died) < left:
            after = min(preempted, died)
            yield after
            saved = after - after % self.rates.save_every_s if is_tune else 0.0
            self._saved[job_id] = self._saved.get(job_id, 0.0) + saved
            self.useful_s += saved
            self.lost_s += after - saved + self.rates.startup_s
            self.num_interrupted += 1
            self._write(journal, "started", host="h", task="simulated")
            if saved:
                self._write(journal, "saved", step=int(self._saved[job_id]))
            if preempted < died:
                self._write(journal, "interrupted")
                return "preemption"
            return "death"
        yield left
        self.useful_s += left
        folder = self.layout.job(job_id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").write_text(json.dumps({"job": job_id}))
        self.num_writes += 1
        self._write(trace, "done", job=job_id)
        return "end"

    def _write(self, path: Path, event: str, **facts: object) -> None:
        self.num_writes += 1
        append_event(path, event, **facts)


def make_plan(num_jobs: int) -> Plan:
    """Plan a study of about so many jobs: every two-source question of the phantoms, over as many seeds as it takes."""

    def build(num_seeds: int) -> Plan:
        study = read_study(
            [
                "targets=null",
                "data.targets=null",
                f"seeds={list(range(num_seeds))}",
                "arms=[zero_shot,unrelated,related,ceiling]",
            ]
        )
        backbone = identify_model(study.model)
        return build_plan([Run(name="", study=study, catalog=read_catalog(study.data), backbone=backbone)])

    one, two = (len(plan.finetunes) + len(plan.evals) for plan in (build(1), build(2)))
    return build(max(1, round((num_jobs - one) / (two - one)) + 1))


def measure_status(plan: Plan, layout: Layout) -> float:
    """Give the seconds that reading how all jobs stand takes, with the plan read from its file."""
    from cg_lab.execution.states import read_standing
    from cg_lab.results import read_plan

    write_plan(layout, plan)
    began = time.perf_counter()
    read_standing(read_plan(layout.plan(plan.study)), None, layout)
    return time.perf_counter() - began


def main() -> None:
    """Run the simulation and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--slots", type=int, default=1000)
    parser.add_argument("--preemptions", type=float, default=0.5, help="per GPU and day")
    parser.add_argument("--deaths", type=float, default=0.05, help="per GPU and day")
    parser.add_argument("--write", action="store_true", help="into docs/scale.md")
    arguments = parser.parse_args()
    began = time.perf_counter()
    plan = make_plan(arguments.jobs)
    planned_s = time.perf_counter() - began
    work = tabulate(plan)
    settings = read_study(["cluster=slurm"])
    order = Order(study=plan.study, cluster=settings.cluster, tracking=settings.tracking, eval_batch_size=8)
    rates = Rates(
        slots=arguments.slots, preemptions_per_gpu_day=arguments.preemptions, deaths_per_gpu_day=arguments.deaths
    )
    base = os.environ.get("TMPDIR") or ("/dev/shm" if Path("/dev/shm").is_dir() else None)  # noqa: S108 - many small files
    with tempfile.TemporaryDirectory(dir=base) as folder:
        layout = Layout(Path(folder))
        cluster = Simulation(work, layout, rates)
        driver = Driver(
            work=work,
            order=order,
            layout=layout,
            cluster=cluster,
            clock=Clock(time=lambda: cluster.now, sleep=cluster.sleep),
        )
        began = time.perf_counter()
        outcome = driver.run()
        driven_s = time.perf_counter() - began
        memory = _read_peak_mb()
        status_s = measure_status(plan, layout)
    makespan = cluster.now - START
    ideal = sum(work.seconds.values()) * cluster.scale / rates.slots
    num_jobs = len(work.seconds)
    hours, ideal_h = makespan / 3600, ideal / 3600
    lost = cluster.lost_s / (cluster.useful_s + cluster.lost_s)
    rows = {
        "jobs": f"{num_jobs:,}, {len(plan.finetunes):,} of them fine-tunes of {rates.hour_s / 3600:g} h",
        "cluster": f"{rates.slots:,} GPUs",
        "each GPU and day": f"{rates.preemptions_per_gpu_day:g} preemptions, {rates.deaths_per_gpu_day:g} deaths",
        "always fail": f"{rates.crash_share:.1%} of fine-tunes",
        "no answer": f"{rates.silent_share:.0%} of submissions and looks",
        "makespan": f"{hours:.1f} h; without failures and queue {ideal_h:.1f} h: {hours / ideal_h:.3f} x",
        "done, given up": f"{outcome.num_done:,}, {outcome.num_failed:,}",
        "interruptions": f"{cluster.num_interrupted:,}",
        "work lost": f"{cluster.lost_s / 3600:,.0f} GPU hours, {lost:.2%}",
        "queue": f"{cluster.num_submitted:,} arrays, {cluster.longest_queue:,} tasks at most",
        "looks at the queue": f"{cluster.num_looks:,}",
        "writes of tasks": f"{cluster.num_writes:,}, {cluster.num_writes / makespan:.1f} a second",
        "driver": f"{driven_s:.0f} s of its own time, {memory:.0f} MB at most, the plan included",
        "planning": f"{planned_s:.1f} s",
        "status": f"{status_s:.2f} s for all jobs, reading the plan included",
    }
    told = "\n".join(f"{name:<18} {value}" for name, value in rows.items())
    print(told)
    if arguments.write:
        write_into("scale.md", "simulation", f"```console\n$ python benchmarks/scale.py\n{told}\n```")
    if memory > 500:
        sys.exit("the driver took more than 500 MB")


def _read_peak_mb() -> float:
    """Read how much memory this process held at most; what `getrusage` says may be that of the one that started it."""
    told = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(told.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
