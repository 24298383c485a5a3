"""Prepare images for a backbone ahead of all jobs: on every core of this machine, or as tasks of a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch
from transformers.utils import logging

from cg_lab.catalog import DataRef, ImageData
from cg_lab.data.samples import DataSource, Split
from cg_lab.data.sources import open_source
from cg_lab.errors import UserError
from cg_lab.execution.local import count_slots
from cg_lab.execution.slurm import SlurmCluster
from cg_lab.execution.slurm_commands import find_tasks
from cg_lab.execution.workset import make_pool
from cg_lab.models.backbone import load_for_images
from cg_lab.models.prepared import Pool, PreparedImages
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout, read_plan
from cg_lab.serialize import write_lines
from cg_lab.study import Backbone, ClusterSettings, SlurmSettings

Tell = Callable[[int, int], None]
"""Told how many shards of how many are there."""
POLL_S = 1.0
LOST_S = 30.0
"""After the last task has left the queue, until what is missing counts as lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file of prepared images."""

    data: DataRef
    backbone: Backbone
    subset: str
    split: Split
    ids: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Preparation:
    """What a plan's jobs will ask about, by shards."""

    plan: Plan
    layout: Layout
    cache_gb: float
    _sources: dict[DataRef, DataSource] = field(default_factory=dict)
    _prepared: dict[Backbone, PreparedImages] = field(default_factory=dict)

    def list_shards(self) -> list[Shard]:
        """List every shard once: training sides of subsets that are trained on, test sides of those that are tested."""
        sides: dict[tuple[DataRef, Backbone, str, Split], None] = {}
        for job in self.plan.finetunes:
            if not job.weights:
                sides |= {(job.data, job.base, part.subset, Split.TRAIN): None for part in job.mixture.parts}
        for job in self.plan.evals:
            if isinstance(job.backbone, Backbone):  # a served model reads images itself
                sides[job.data, job.backbone, job.target, Split.TEST] = None
        return [
            Shard(data=data, backbone=backbone, subset=subset, split=split, ids=ids)
            for data, backbone, subset, split in sides
            if isinstance(data, ImageData)  # phantoms are drawn as fast as files are read
            for ids in make_pool(self._open(data), data, subset, split).list_shards()
        ]

    def is_there(self, shard: Shard) -> bool:
        """Tell whether a shard is prepared."""
        return self._open_prepared(shard).has(self._make_pool(shard), shard.ids)

    def prepare(self, shard: Shard) -> bool:
        """Prepare a shard; False if there is no room, or its backbone reads images only with their questions."""
        return self._open_prepared(shard).write(self._make_pool(shard), shard.ids)

    def _make_pool(self, shard: Shard) -> Pool:
        return make_pool(self._open(shard.data), shard.data, shard.subset, shard.split)

    def _open(self, data: DataRef) -> DataSource:
        if data not in self._sources:
            self._sources[data] = open_source(self.plan.catalog_of(data), self.layout.data)
        return self._sources[data]

    def _open_prepared(self, shard: Shard) -> PreparedImages:
        if shard.backbone not in self._prepared:
            loaded = load_for_images(shard.backbone)
            self._prepared[shard.backbone] = PreparedImages(loaded, self.layout.prepared, self.cache_gb)
        return self._prepared[shard.backbone]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A part of the shards of a plan: every `step`-th, or a single one."""

    root: str
    """Absolute, of the results folder."""
    plan: str
    """Its id."""
    cache_gb: float
    first: int
    step: int | None

    def __call__(self) -> int:
        """Prepare them; gives how many are kept."""
        preparation, shards = _open_task(self.root, self.plan, self.cache_gb)
        mine = shards[self.first :: self.step] if self.step else shards[self.first : self.first + 1]
        return sum(preparation.prepare(shard) for shard in mine)


@cache
def _open_task(root: str, plan: str, cache_gb: float) -> tuple[Preparation, list[Shard]]:
    """Open a plan once in each process."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    layout = Layout(Path(root))
    preparation = Preparation(plan=read_plan(_path(layout, plan)), layout=layout, cache_gb=cache_gb)
    return preparation, preparation.list_shards()


def _path(layout: Layout, plan: str) -> Path:
    return layout.prepared / f"plan-{plan}.json"


def prepare_images(plan: Plan, layout: Layout, settings: ClusterSettings, cache_gb: float, tell: Tell) -> int:
    """Prepare all images that a plan's jobs ask about; what is prepared already stays.

    Parameters
    ----------
    plan, layout
        Whose images, and where they are kept.
    settings
        Processes of this machine, or tasks of a cluster.
    cache_gb
        Room for prepared images.
    tell
        Told of progress.

    Returns
    -------
    Number of shards that could not be kept: for want of room, or because the backbone reads images only with their
    questions.

    Raises
    ------
    UserError
        If an image can't be read any more, or tasks of a cluster ended without having done their part.

    """
    logging.set_verbosity_error()
    preparation = Preparation(plan=plan, layout=layout, cache_gb=cache_gb)
    shards = preparation.list_shards()
    waiting = [number for number, shard in enumerate(shards) if not preparation.is_there(shard)]
    tell(len(shards) - len(waiting), len(shards))
    if not waiting:
        return 0
    write_lines(_path(layout, plan.id), plan.write_lines())
    root = str(layout.root.resolve())
    try:
        if isinstance(settings, SlurmSettings):
            return _prepare_on_slurm(preparation, shards, settings, root, tell)
        slots = count_slots(settings.slots, 0)[0] if settings.name == "local" else 1
        tasks = [Task(root=root, plan=plan.id, cache_gb=cache_gb, first=number, step=None) for number in waiting]
        return _prepare_here(tasks, min(slots, len(tasks)), len(shards), tell)
    finally:
        _path(layout, plan.id).unlink(missing_ok=True)


def _prepare_here(tasks: Sequence[Task], slots: int, total: int, tell: Tell) -> int:
    kept = done = 0
    with ProcessPoolExecutor(slots, mp_context=get_context("spawn")) as pool:
        try:
            for ended in as_completed([pool.submit(task) for task in tasks]):
                kept += ended.result()
                done += 1
                tell(total - len(tasks) + done, total)
        except BrokenProcessPool:
            raise UserError(
                "a process that prepares images was killed, perhaps for want of memory; finished parts are kept, give "
                "the same command again, or take fewer cluster.slots"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return len(tasks) - kept


def _prepare_on_slurm(
    preparation: Preparation, shards: Sequence[Shard], settings: SlurmSettings, root: str, tell: Tell
) -> int:
    """Submit one array, and wait until all is there or no task is left."""
    plan = preparation.plan
    cluster = SlurmCluster(settings, preparation.layout, f"{plan.study}-images")
    count = min(settings.slots, len(shards))
    name = cluster.submit_all(
        [
            Task(root=root, plan=plan.id, cache_gb=preparation.cache_gb, first=first, step=count)
            for first in range(count)
        ]
    )
    gone_at: float | None = None
    while True:
        there = sum(preparation.is_there(shard) for shard in shards)
        tell(there, len(shards))
        known = find_tasks([name])
        if there == len(shards):
            return 0
        if known is not None and all(task.is_over for task in known):
            gone_at = gone_at or time.monotonic()
            if time.monotonic() - gone_at > LOST_S:
                break
        time.sleep(POLL_S)
    raise UserError(
        f"cluster=slurm: array {name} has ended and {len(shards) - there} of {len(shards)} parts are missing; what its "
        f"tasks printed is in {preparation.layout.packs(f'{plan.study}-images') / 'logs'}; "
        f"cache_gb={preparation.cache_gb} may be too little"
    )
