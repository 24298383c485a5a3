"""The pool of jobs: which of them anything names, what weights cost, and the removal of what nothing needs."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cg_lab.errors import UserError
from cg_lab.locks import find_holder, holding
from cg_lab.results import Layout
from cg_lab.studies.disk_use import DiskUse, measure_folder
from cg_lab.studies.plan_outline import read_outlines

UNFINISHED_S = 86_400.0
"""Age from which a file that is being written is taken for one whose writer was killed."""
SCHEMA = 1
"""Of what `--json` prints; raised when a field goes or changes its meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUse:
    """What the pool holds, and what of it nothing needs."""

    schema: int
    num_jobs: int
    results_bytes: int
    """Results, answers and journals."""
    weights_bytes: int
    """Fine-tuned weights and checkpoints."""
    prepared_bytes: int
    """Images as models read them."""
    unnamed: tuple[str, ...]
    """Jobs that no plan and no run in MLflow names."""
    unnamed_bytes: int
    spare_weights: tuple[str, ...]
    """Fine-tunes with weights that no open evaluation of any plan needs."""
    spare_weights_bytes: int
    held: tuple[str, ...]
    """Jobs that nothing names and a process works on; they stay."""
    shown: tuple[str, ...]
    """Jobs that no plan names and a run in MLflow shows; they stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What plans and MLflow need of the pool."""

    named: frozenset[str]
    shown: frozenset[str]
    """Jobs of runs in MLflow whose study has no plan here any more."""
    open_finetunes: frozenset[str]
    """Fine-tunes that an evaluation without a result needs."""


FindNeeds = Callable[[], Needs]


def find_needs(layout: Layout, shown: frozenset[str]) -> Needs:
    """Read what is needed now; `shown` are the jobs that runs in MLflow show.

    Raises
    ------
    UserError
        If a plan can't be read.

    """
    done = layout.list_done()
    named: set[str] = set()
    needed: set[str] = set()
    for _, outline in read_outlines(layout):
        named |= outline.jobs
        needed |= {tune for job_id, tunes in outline.needs.items() if job_id not in done for tune in tunes}
    return Needs(named=frozenset(named), shown=shown - named, open_finetunes=frozenset(needed))


def measure_pool(layout: Layout, needs: Needs) -> PoolUse:
    """Measure the pool and find what nothing needs; changes nothing."""
    tried = sorted(layout.list_tried())
    sizes = {job_id: measure_folder(layout.job(job_id)) for job_id in tried}
    done = layout.list_done()
    foreign = [job_id for job_id in tried if job_id not in needs.named]
    held = frozenset(job_id for job_id in foreign if find_holder(layout.lock(job_id)))
    staying = needs.shown | held
    unnamed = [job_id for job_id in foreign if job_id not in staying]
    finished = (needs.named & done) - needs.open_finetunes
    spare = [job_id for job_id in tried if job_id in finished and sizes[job_id].weights]
    return PoolUse(
        schema=SCHEMA,
        num_jobs=len(tried),
        results_bytes=sum(size.results for size in sizes.values()),
        weights_bytes=sum(size.weights for size in sizes.values()),
        prepared_bytes=_measure_prepared(layout),
        unnamed=tuple(unnamed),
        unnamed_bytes=_add_up(sizes[job_id] for job_id in unnamed),
        spare_weights=tuple(spare),
        spare_weights_bytes=sum(sizes[job_id].weights for job_id in spare),
        held=tuple(sorted(held)),
        shown=tuple(job_id for job_id in foreign if job_id in needs.shown),
    )


def _add_up(sizes: Iterable[DiskUse]) -> int:
    return sum(size.results + size.weights for size in sizes)


def _measure_prepared(layout: Layout) -> int:
    size = measure_folder(layout.prepared)
    return size.results + size.weights


def remove_unneeded(layout: Layout, use: PoolUse, find: FindNeeds, *, weights: bool) -> int:
    """Remove jobs that nothing names and, if asked, weights that nothing needs; what a process holds stays.

    What a killed process left half written goes too.

    All is set aside first and plans are read once more: what one of them has come to name meanwhile is put back.

    Parameters
    ----------
    layout, use
        What was found to be unneeded.
    find
        Reads again what is needed.
    weights
        Whether weights go that no open evaluation needs; they are trained again if something does later.

    Returns
    -------
    Bytes that were freed.

    Raises
    ------
    UserError
        If another process is at it.

    """
    with holding(layout.root / "gc.lock") as is_alone:
        if not is_alone:
            raise UserError(f"gc: {find_holder(layout.root / 'gc.lock')} is at it in {layout.root}")
        for job_id in use.unnamed:
            _set_aside(layout, job_id, layout.job(job_id), _removed(layout) / job_id)
        for job_id in use.spare_weights if weights else ():
            _set_aside(layout, job_id, layout.weights(job_id), _removed_weights(layout, job_id))
        needs = find()
        return (
            _remove_unfinished(layout)
            + _empty(layout, needs)
            + sum(
                _finish(
                    _removed_weights(layout, job_id), layout.weights(job_id), is_needed=job_id in needs.open_finetunes
                )
                for job_id in (use.spare_weights if weights else ())
            )
        )


def _remove_unfinished(layout: Layout) -> int:
    """Remove files that a process was killed in the middle of writing, a day ago or earlier; gives the bytes."""
    freed, before = 0, time.time() - UNFINISHED_S
    for path in layout.root.glob("*/*/.*.new"):
        with suppress(FileNotFoundError):  # its writer has just finished
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mtime < before:
                path.unlink()
                freed += found.st_size
    return freed


def _removed(layout: Layout) -> Path:
    """Name the folder of what is about to be removed; a gc that was killed leaves it to the next one."""
    return layout.root / ".removed"


def _removed_weights(layout: Layout, job_id: str) -> Path:
    weights = layout.weights(job_id)
    return weights.with_name(f".{weights.name}.removed")


def _set_aside(layout: Layout, job_id: str, path: Path, aside: Path) -> None:
    aside.parent.mkdir(exist_ok=True)
    with holding(layout.lock(job_id)) as held:
        if held and path.is_dir() and not aside.exists():
            path.rename(aside)


def _empty(layout: Layout, needs: Needs) -> int:
    """Remove jobs that were set aside, but for those that are needed after all."""
    folder = _removed(layout)
    if not folder.is_dir():
        return 0
    kept = needs.named | needs.shown
    freed = sum(
        _finish(folder / job_id, layout.job(job_id), is_needed=job_id in kept)
        for job_id in sorted(os.listdir(folder))  # noqa: PTH208 - names are enough
    )
    if not os.listdir(folder):  # noqa: PTH208
        folder.rmdir()
    return freed


def _finish(aside: Path, path: Path, *, is_needed: bool) -> int:
    """Put back what is needed after all, remove the rest; gives the bytes that this freed."""
    if not aside.is_dir():
        return 0
    if is_needed and not path.exists():
        aside.rename(path)
        return 0
    size = measure_folder(aside)
    shutil.rmtree(aside)
    return size.results + size.weights
