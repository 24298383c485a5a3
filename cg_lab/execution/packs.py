"""Packs: what one process runs, from a plan and what is already done."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cg_lab.endpoint_settings import Server
from cg_lab.execution.keeping import find_lost
from cg_lab.passwords import hide_passwords
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob, FinetuneJob
from cg_lab.results import Layout
from cg_lab.serialize import parse, read_json, write_json
from cg_lab.study import ClusterSettings, Keep, TrackingSettings

Stage = Literal["finetune", "evaluation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a study is run; frozen beside its plan, because tasks that start later must not read conf/ again."""

    study: str
    cluster: ClusterSettings
    tracking: TrackingSettings
    eval_batch_size: int
    cache_gb: float = 0.0
    """Disk for prepared images."""
    keep: Keep = "full"
    """Weights that stay once their last evaluation is done."""
    report_images: bool = True
    """Whether report.html shows test images."""
    servers: tuple[Server, ...] = ()
    """Of served models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Packs that are started together: an array on Slurm, processes on this machine."""

    id: str
    """Its number within the study."""
    study: str
    stage: Stage
    results_dir: str
    """Absolute."""
    packs: tuple[tuple[str, ...], ...]
    """Ids of the jobs of each process, in runnable order: each fine-tune is followed by evaluations of its weights."""
    threads: int
    """Of each process."""
    after: str | None
    """Submission whose packs each pack waits for, number by number."""
    task: str | None
    """What the cluster calls it; None before the cluster has answered."""
    is_over: bool
    """Whether all of its processes have ended, and what they left was taken up."""
    created: str


def write_order(layout: Layout, order: Order) -> None:
    """Freeze how a study is run; a password in `tracking.uri` is left out, see `tracking.store.find_uri`."""
    uri = order.tracking.uri and hide_passwords(order.tracking.uri, {})
    write_json(layout.packs(order.study) / "order.json", replace(order, tracking=replace(order.tracking, uri=uri)))


def read_order(layout: Layout, study: str) -> Order:
    """Read how a study is run.

    Raises
    ------
    UserError
        If it was never swept, or the file is damaged.

    """
    path = layout.packs(study) / "order.json"
    return parse(Order, read_json(path), where=str(path))


def find_order(layout: Layout, study: str) -> Order | None:
    """Read how a study is run; None if it was never swept."""
    return read_order(layout, study) if (layout.packs(study) / "order.json").exists() else None


def path_of(layout: Layout, submission: Submission) -> Path:
    """Name a submission's file."""
    return layout.packs(submission.study) / f"{submission.id}.json"


def write_submission(layout: Layout, submission: Submission) -> None:
    """Write a submission: before the cluster gets it as an intent, and again with the name that the cluster gave."""
    write_json(path_of(layout, submission), submission)


def read_submission(path: Path) -> Submission:
    """Read one submission."""
    return parse(Submission, read_json(path), where=str(path))


def read_submissions(layout: Layout, study: str) -> tuple[Submission, ...]:
    """Read all submissions of a study, in order."""
    return tuple(read_submission(path) for path in sorted(layout.packs(study).glob("[0-9][0-9][0-9][0-9][0-9].json")))


def lock_of(submission: Path, number: int) -> Path:
    """Name the file that a running pack holds locked; it says the process's number."""
    return submission.with_name(f"{submission.stem}.{number}.lock")


def trace_of(submission: Path, number: int) -> Path:
    """Name the file in which a pack says, a line for each event, how far it is."""
    return submission.with_name(f"{submission.stem}.{number}.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What is left of a plan."""

    finetunes: tuple[FinetuneJob, ...]
    evals: tuple[EvalJob, ...]

    @property
    def num_jobs(self) -> int:
        """Jobs without a result."""
        return len(self.finetunes) + len(self.evals)


def find_pending(plan: Plan, layout: Layout) -> Pending:
    """Find the jobs that have no result, and fine-tunes whose weights an evaluation needs and that are gone."""
    done = layout.list_done()
    evals = tuple([job for job in plan.evals if job.id not in done])
    done -= find_lost(layout, {job.id: job.needs for job in evals}, done)
    return Pending(finetunes=tuple([job for job in plan.finetunes if job.id not in done]), evals=evals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What dealing needs to know of a plan's jobs; small, so that a driver can hold a hundred thousand."""

    seconds: dict[str, float]
    """For each job by the model's declared rates, on a slot; fine-tunes first, in the plan's order."""
    needs: dict[str, tuple[str, ...]]
    """For each evaluation of fine-tuned weights, their fine-tunes."""
    kinds: dict[str, int]
    """Jobs of one kind share a backbone and a data source."""
    batches: dict[str, int]
    """For each fine-tune, the samples of a batch."""

    def is_finetune(self, job_id: str) -> bool:
        """Tell a fine-tune from an evaluation."""
        return job_id in self.batches

    def find_leader(self, job_id: str, among: Container[str]) -> str | None:
        """Give the fine-tune among some that an evaluation needs; those of merged adapters are done before it."""
        return next((needed for needed in self.needs.get(job_id, ()) if needed in among), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Jobs that one process has to run: a fine-tune with evaluations of its weights, or one evaluation."""

    job_ids: tuple[str, ...]
    seconds: float
    kind: int = 0


def tabulate(plan: Plan, gpus: float = 0) -> Work:
    """Take from a plan what dealing needs.

    Parameters
    ----------
    plan
        The plan.
    gpus
        Of each slot. Declared rates are taken to grow with the number of GPUs, all of which train, while one of them
        evaluates. 0 takes rates as those of a slot.

    """
    jobs = (*plan.finetunes, *plan.evals)
    shared = {
        (id(job.backbone), id(job.data)): (job.backbone, job.data) for job in jobs
    }  # by identity: hashes take long
    pairs = {pair: number for number, pair in enumerate(dict.fromkeys(shared.values()))}
    numbers = {identity: pairs[pair] for identity, pair in shared.items()}
    kinds = {job.id: numbers[id(job.backbone), id(job.data)] for job in jobs}
    rates = [plan.find_rates(backbone) for backbone, _ in pairs]
    shares = [gpus / part.rate_gpus if gpus else 1.0 for part in rates]
    train = [part.train_samples_per_s * share for part, share in zip(rates, shares, strict=True)]
    evaluate = [part.eval_samples_per_s * share / max(1.0, gpus) for part, share in zip(rates, shares, strict=True)]
    num_test = [{subset.name: subset.num_test for subset in plan.catalog_of(data).subsets} for _, data in pairs]
    seconds = {job.id: job.schedule.samples / train[kinds[job.id]] for job in plan.finetunes}
    seconds |= {job.id: num_test[kinds[job.id]][job.target] / evaluate[kinds[job.id]] for job in plan.evals}
    return Work(
        seconds=seconds,
        needs={job.id: job.needs for job in plan.evals if job.needs},
        kinds=kinds,
        batches={job.id: job.recipe.batch_size for job in plan.finetunes},
    )


def group_jobs(work: Work, waiting: Iterable[str]) -> tuple[Group, ...]:
    """Put evaluations behind the fine-tune that they need, if that is among the jobs; the others stand by themselves.

    Parameters
    ----------
    work
        The plan's jobs.
    waiting
        Those to group, in any order.

    """
    job_ids = tuple(waiting)
    members: dict[str, list[str]] = {job_id: [job_id] for job_id in job_ids if job_id not in work.needs}
    for job_id in job_ids:
        leader = work.find_leader(job_id, members)
        if leader is not None:
            members[leader].append(job_id)
        elif job_id in work.needs:
            members[job_id] = [job_id]
    return tuple(
        Group(job_ids=tuple(job_ids), seconds=sum(work.seconds[job_id] for job_id in job_ids), kind=work.kinds[first])
        for first, job_ids in members.items()
    )


def balance(groups: Iterable[Group], num_packs: int) -> tuple[tuple[str, ...], ...]:
    """Deal groups to packs, longest first, each to the pack that has least so far (Graham 1969, LPT).

    Within a pack, groups of one kind stand together, so that each model is loaded once.

    >>> jobs = [Group(job_ids=(name,), seconds=seconds) for name, seconds in (("a", 3), ("b", 2), ("c", 2), ("d", 1))]
    >>> balance(jobs, 2)
    (('a', 'd'), ('b', 'c'))
    """
    packs: list[list[Group]] = [[] for _ in range(num_packs)]
    loads = [(0.0, number) for number in range(num_packs)]
    for group in sorted(groups, key=lambda group: (-group.seconds, group.job_ids)):
        load, lightest = heapq.heappop(loads)
        packs[lightest].append(group)
        heapq.heappush(loads, (load + group.seconds, lightest))
    return tuple(
        tuple(job_id for group in sorted(pack, key=lambda group: group.kind) for job_id in group.job_ids)
        for pack in packs
        if pack
    )
