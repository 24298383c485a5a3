"""How every job of a plan stands, from its files and one look at the queue."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cg_lab.execution.clusters import Key, Task
from cg_lab.execution.heartbeat import find_patience, read_beat
from cg_lab.execution.packs import (
    Order,
    Submission,
    lock_of,
    path_of,
    read_submissions,
    tabulate,
    trace_of,
)
from cg_lab.execution.selection import State
from cg_lab.execution.slots import find_slots
from cg_lab.execution.slurm import SlurmCluster
from cg_lab.journal import read_last_events
from cg_lab.locks import find_holder
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout
from cg_lab.study import SlurmSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A pack that runs, by its cluster or its lock, and gives no sign."""

    task: str
    """What the cluster calls its process."""
    job: str | None
    """The job that it is at; None between two."""
    last_sign: str
    """UTC, ISO 8601."""
    silent_s: float
    patience_s: float
    """Silence after which a driver takes it away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All jobs of a study, and what the cluster said."""

    states: dict[str, State]
    tasks: dict[str, str]
    """For each job in a pack, what the cluster calls the process, and why it waits."""
    is_certain: bool
    """False if the queue did not answer: what was last seen to run may have ended."""
    reasons: tuple[str, ...]
    """Why packs wait in the queue."""
    silent: tuple[Silence, ...] = ()
    """Packs that give no sign, the longest silence first."""
    is_followed_up: bool = False
    """Whether a last task in the queue takes up what tasks leave."""


def read_standing(plan: Plan, order: Order | None, layout: Layout) -> Standing:
    """Read how all jobs stand; costs one look at the queue, and one at each open job that was ever begun.

    Parameters
    ----------
    plan
        Whose jobs.
    order
        How the study is run; None if it was never swept.
    layout
        Where results lie.

    """
    done = layout.list_done()
    tried = layout.list_tried() - done
    states: dict[str, State] = {}
    for job in (*plan.finetunes, *plan.evals):
        has_failed = job.id in tried and layout.failure(job.id).exists()
        states[job.id] = State.DONE if job.id in done else State.FAILED if has_failed else State.OPEN
    live, is_certain = _find_live(order, layout) if order else ({}, True)
    tasks: dict[str, str] = {}
    silent: list[Silence] = []
    for submission, number, task in _list_packs(plan.study, live, layout):
        running = _find_running(layout, submission, number) if task.state == "running" else None
        if order and task.state == "running":
            silent += _hear(plan, order, task, trace_of(path_of(layout, submission), number), running)
        for job_id in submission.packs[number]:
            if states.get(job_id) is State.OPEN:
                states[job_id] = State.RUNNING if job_id == running else State.WAITING
                tasks[job_id] = f"{task.name} ({task.reason})" if task.reason else task.name
    for job_id in tried:
        if states.get(job_id) is State.OPEN and find_holder(layout.lock(job_id)):
            states[job_id] = State.RUNNING  # for another study
    reasons = {task.reason for task in live.values() if task.reason}
    return Standing(
        states=states,
        tasks=tasks,
        is_certain=is_certain,
        reasons=tuple(sorted(reasons)),
        silent=tuple(sorted(silent, key=lambda part: -part.silent_s)),
        is_followed_up=bool(live) and order is not None and _is_followed_up(order, layout),
    )


def _list_packs(study: str, live: Mapping[Key, Task], layout: Layout) -> Iterator[tuple[Submission, int, Task]]:
    """Give the packs of a study that the cluster has."""
    for submission in read_submissions(layout, study) if live else ():
        for number in range(len(submission.packs)):
            if not submission.is_over and (task := live.get((submission.id, number))) is not None:
                yield submission, number, task


def _hear(plan: Plan, order: Order, task: Task, trace: Path, job_id: str | None) -> Iterator[Silence]:
    """Say of a pack that it is silent, from half of the time on after which a driver takes it away."""
    last, least = read_beat(trace), find_patience(order, 0.0)
    silence = time.time() - last
    if least is None or not last or silence <= least / 2:
        return
    work = tabulate(plan, find_slots(order.cluster).gpus)
    declared = work.seconds.get(job_id or "", 0.0) if not work.is_finetune(job_id or "") else 0.0
    patience = find_patience(order, declared)
    if patience is not None and silence > patience / 2:
        when = datetime.fromtimestamp(last, UTC).isoformat(timespec="seconds")
        yield Silence(task=task.name, job=job_id, last_sign=when, silent_s=round(silence), patience_s=patience)


def _is_followed_up(order: Order, layout: Layout) -> bool:
    if not isinstance(order.cluster, SlurmSettings):
        return False
    return SlurmCluster(order.cluster, layout, order.study).has_last()


def _find_live(order: Order, layout: Layout) -> tuple[dict[Key, Task], bool]:
    """Find the packs that have not ended: the queue says so, or else their locks."""
    submissions = [sent for sent in read_submissions(layout, order.study) if not sent.is_over]
    if isinstance(order.cluster, SlurmSettings) and submissions:
        cluster = SlurmCluster(order.cluster, layout, order.study)
        if (look := cluster.look(submissions)) is not None:
            return look.tasks, True
        if (known := cluster.look_back(submissions)) is not None:
            return known, False
    live: dict[Key, Task] = {}
    for submission in submissions:
        for number in range(len(submission.packs)):
            holder = find_holder(lock_of(path_of(layout, submission), number))
            if holder is not None:
                live[submission.id, number] = Task(name=str(holder), state="running", reason="")
    return live, not isinstance(order.cluster, SlurmSettings) or not submissions


def _find_running(layout: Layout, submission: Submission, number: int) -> str | None:
    """Give the job that a pack is at, by what it said last."""
    events = read_last_events(trace_of(path_of(layout, submission), number))
    return events[-1].get("job") if events and events[-1].get("event") == "started" else None
