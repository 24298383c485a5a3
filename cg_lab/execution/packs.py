"""Packs: what one process runs, from a plan and what is already done."""

from __future__ import annotations

from dataclasses import dataclass

from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob, FinetuneJob
from cg_lab.results import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Jobs of one process, in runnable order; they share a backbone, which is loaded once."""

    study: str
    number: int
    results_dir: str
    """Absolute."""
    images: dict[str, str]
    """Where the data of a manifest lies, by its content."""
    threads: int
    eval_batch_size: int
    save_every_s: float
    job_ids: tuple[str, ...]
    """Each fine-tune is followed by the evaluations of its weights."""


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
    """Find the jobs that have no result."""
    done = layout.list_done()
    return Pending(
        finetunes=tuple(job for job in plan.finetunes if job.id not in done),
        evals=tuple(job for job in plan.evals if job.id not in done),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A fine-tune, if it is still to be done, with the evaluations that need its weights."""

    job_ids: tuple[str, ...]
    seconds: float


def group_jobs(pending: Pending, plan: Plan) -> tuple[Group, ...]:
    """Put evaluations behind the fine-tune that they need; the others stand by themselves."""
    num_test = {(catalog.data, subset.name): subset.num_test for catalog in plan.catalogs for subset in catalog.subsets}
    rates = {backbone: plan.find_rates(backbone) for backbone in plan.backbones}
    followers: dict[str | None, list[EvalJob]] = {}
    waiting = {job.id for job in pending.finetunes}
    for job in pending.evals:
        key = job.checkpoint_of if job.checkpoint_of in waiting else None
        followers.setdefault(key, []).append(job)

    def eval_seconds(job: EvalJob) -> float:
        return num_test[job.data, job.target] / rates[job.backbone].eval_samples_per_s

    groups = [
        Group(
            job_ids=(job.id, *(follower.id for follower in followers.get(job.id, []))),
            seconds=job.mixture.num_samples * job.recipe.epochs / rates[job.backbone].train_samples_per_s
            + sum(eval_seconds(follower) for follower in followers.get(job.id, [])),
        )
        for job in pending.finetunes
    ]
    groups += [Group(job_ids=(job.id,), seconds=eval_seconds(job)) for job in followers.get(None, [])]
    return tuple(groups)


def balance(groups: tuple[Group, ...], num_packs: int) -> tuple[tuple[str, ...], ...]:
    """Deal groups to packs, longest first, each to the pack that has least so far (Graham 1969, LPT).

    >>> jobs = [Group(job_ids=(name,), seconds=seconds) for name, seconds in (("a", 3), ("b", 2), ("c", 2), ("d", 1))]
    >>> balance(tuple(jobs), 2)
    (('a', 'd'), ('b', 'c'))
    """
    loads = [0.0] * num_packs
    packs: list[list[str]] = [[] for _ in range(num_packs)]
    for group in sorted(groups, key=lambda group: (-group.seconds, group.job_ids)):
        lightest = loads.index(min(loads))
        packs[lightest] += group.job_ids
        loads[lightest] += group.seconds
    return tuple(tuple(pack) for pack in packs if pack)
