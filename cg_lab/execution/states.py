"""How every job of a plan stands, from its files and one look at the queue."""

from __future__ import annotations

from dataclasses import dataclass

from cg_lab.execution.clusters import Key, Task
from cg_lab.execution.packs import (
    Order,
    Submission,
    lock_of,
    path_of,
    read_submissions,
    trace_of,
)
from cg_lab.execution.selection import State
from cg_lab.execution.slurm import SlurmCluster
from cg_lab.journal import read_events
from cg_lab.locks import find_holder
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout
from cg_lab.study import SlurmSettings


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
    for submission in read_submissions(layout, plan.study):
        if submission.is_over:
            continue
        for number, job_ids in enumerate(submission.packs):
            task = live.get((submission.id, number))
            if task is None:
                continue
            running = _find_running(layout, submission, number) if task.state == "running" else None
            for job_id in job_ids:
                if states.get(job_id) is State.OPEN:
                    states[job_id] = State.RUNNING if job_id == running else State.WAITING
                    tasks[job_id] = f"{task.name} ({task.reason})" if task.reason else task.name
    for job_id in tried:
        if states.get(job_id) is State.OPEN and find_holder(layout.lock(job_id)):
            states[job_id] = State.RUNNING  # for another study
    reasons = {task.reason for task in live.values() if task.reason}
    return Standing(states=states, tasks=tasks, is_certain=is_certain, reasons=tuple(sorted(reasons)))


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
    events = read_events(trace_of(path_of(layout, submission), number))
    return events[-1].get("job") if events and events[-1].get("event") == "started" else None
