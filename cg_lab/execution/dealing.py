"""Deal open jobs to packs: those that took a process down apart, evaluations behind their fine-tunes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from cg_lab.execution.packs import Work, balance, group_jobs

Packs = tuple[tuple[str, ...], ...]
Split = Callable[[float, int], tuple[int, int]]
"""From seconds of work and free slots to the number of packs, and how many of them one submission may hold."""


def deal(work: Work, ready: Sequence[str], free: int, suspects: Collection[str], split: Split) -> tuple[Packs, int]:
    """Deal jobs to packs, and say how many of these one submission may hold.

    Parameters
    ----------
    work
        The plan's jobs.
    ready
        Those to deal.
    free
        Slots that have nothing to do.
    suspects
        Jobs at which a process died; each gets a pack of its own.
    split
        Says to how many packs the others are dealt.

    """
    groups = group_jobs(work, ready)
    alone = [group for group in groups if any(job_id in suspects for job_id in group.job_ids)]
    rest = [group for group in groups if all(job_id not in suspects for job_id in group.job_ids)]
    packs = tuple(group.job_ids for group in alone[:free])
    left = free - len(packs)
    num_packs, size = split(sum(group.seconds for group in rest), max(1, left))
    return (*packs, *(balance(rest, num_packs) if left else ())), size


def part_stages(work: Work, ready: Sequence[str]) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """Part jobs into fine-tunes, evaluations that need none of these, and for each fine-tune those that need it."""
    waiting = frozenset(ready)
    tuned = [job_id for job_id in ready if work.is_finetune(job_id)]
    followers: dict[str, list[str]] = {}
    loose: list[str] = []
    for job_id in ready:
        leader = work.find_leader(job_id, waiting)
        if leader is not None:
            followers.setdefault(leader, []).append(job_id)
        elif not work.is_finetune(job_id):
            loose.append(job_id)
    return tuned, loose, followers


def follow_up(packs: Packs, followers: dict[str, list[str]]) -> Packs:
    """Give for each pack of fine-tunes the pack of evaluations that need them."""
    return tuple(tuple(job_id for tune in pack for job_id in followers.get(tune, ())) for pack in packs)
