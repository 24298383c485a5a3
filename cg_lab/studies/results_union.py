"""Results of one folder added to those of another: what is there stays, and what contradicts it is named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cg_lab.errors import UserError
from cg_lab.locks import holding
from cg_lab.planning.plan_union import unite_plans
from cg_lab.planning.work import POOL_VERSION, EvalJob, FinetuneJob
from cg_lab.registration import MOST_CONFLICTS, freeze_plan
from cg_lab.results import Layout, check_results_schema, open_results, read_plan
from cg_lab.serialize import parse, read_json, replacing

SCHEMA = 1
"""Of what `--json` prints; raised when a field goes or changes its meaning."""
INCIDENTAL = frozenset({"job", "seconds", "host", "started", "gpu", "energy_joules"})
"""What may differ between two results of the same work; the job itself is compared by its id."""
PASSED_ON = ("result.json", "failure.json", "journal.jsonl", "predictions.parquet")
STUDY_FILES = (
    "plan.json", "registered.json", "due.json", "config.yaml", "provenance.json", "effects.csv", "cells.csv",
    "summary.csv", "curves.csv", "transfer.csv", "reliability.csv", "splits.csv", "report.md", "report.html",
)  # fmt: skip
"""Files of a study that tell what it is and found; how it was run stays where it ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """What has one name in both folders and is not the same."""

    name: str
    """Id of a job, or a study."""
    difference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What came in and what did not."""

    schema: int
    added_jobs: tuple[str, ...]
    num_known: int
    """Jobs that were there already, with the same result."""
    added_studies: tuple[str, ...]
    united_studies: tuple[str, ...]
    """Those that were there and have more in them now."""
    contradictions: tuple[Contradiction, ...]
    """Of which the one that was there stays."""
    left_out: tuple[str, ...]
    """Evaluations of weights that are not those of this folder."""
    busy: tuple[str, ...]
    """Jobs that a process here works on."""


def merge_results(source: Layout, target: Layout, *, weights: bool = True) -> MergeReport:
    """Add the finished and given-up jobs, and the studies, of one results folder to another.

    Parameters
    ----------
    source
        Is only read.
    target
        Where what is there already is never written over; made if it is not there.
    weights
        Whether fine-tuned weights come too.

    Raises
    ------
    UserError
        If one of them is no results folder that this version reads.

    """
    _check_source(source)
    open_results(target.root)
    check_pool(target)
    jobs = _JobUnion(source, target, weights=weights)
    jobs.add_all()
    studies = [(name, _add_study(source, target, name)) for name in source.list_studies()]
    for path in sorted(source.removed.glob("*/*.json")):  # families that studies are judged in
        if not (kept := target.removed / path.relative_to(source.removed)).exists():
            copy_file(path, kept)
    return MergeReport(
        schema=SCHEMA,
        added_jobs=tuple(jobs.added),
        num_known=jobs.num_known,
        added_studies=tuple(name for name, became in studies if became == "added"),
        united_studies=tuple(name for name, became in studies if became == "united"),
        contradictions=(
            *jobs.contradictions,
            *(became for _, became in studies if isinstance(became, Contradiction)),
        ),
        left_out=tuple(jobs.left_out),
        busy=tuple(jobs.busy),
    )


def _check_source(source: Layout) -> None:
    if not source.jobs.is_dir() and not source.list_studies():
        raise UserError(f"merge: '{source.root}' is no results folder: it has neither jobs/ nor studies/")
    check_results_schema(source.root)
    check_pool(source)


def check_pool(layout: Layout) -> None:
    """Make sure that a folder's job ids mean what they mean to this version.

    Raises
    ------
    UserError
        If they do not.

    """
    version = read_json(layout.stamp).get("jobs", 1) if layout.stamp.exists() else POOL_VERSION
    if version != POOL_VERSION:
        raise UserError(
            f"merge: '{layout.root}' has job ids of version {version}, this version of cg_lab has {POOL_VERSION}; "
            f"bring it up first: python -m cg_lab plan results_dir={layout.root}"
        )


class _JobUnion:
    """Adds jobs, fine-tunes first: an evaluation of other weights than those here is none of ours."""

    def __init__(self, source: Layout, target: Layout, *, weights: bool) -> None:
        self.source = source
        self.target = target
        self.weights = weights
        self.added: list[str] = []
        self.num_known = 0
        self.contradictions: list[Contradiction] = []
        self.left_out: list[str] = []
        self.busy: list[str] = []
        self._refused: set[str] = set()

    def add_all(self) -> None:
        """Add every job that has an end."""
        ended = sorted(
            job_id
            for job_id in self.source.list_tried()
            if self.source.result(job_id).exists() or self.source.failure(job_id).exists()
        )
        needs = {job_id: _find_needed(self.source, job_id) for job_id in ended}
        for job_id in sorted(ended, key=lambda job_id: bool(needs[job_id])):
            self._add(job_id, needs[job_id])

    def _add(self, job_id: str, needed: tuple[str, ...]) -> None:
        here, there = self.target.result(job_id), self.source.result(job_id)
        if here.exists() and there.exists():
            if difference := compare_results(self.source, self.target, job_id):
                self._refuse(job_id, difference)
            else:
                self.num_known += 1
            return
        if here.exists() or (self.target.failure(job_id).exists() and not there.exists()):
            self.num_known += 1
        elif not self._refused.isdisjoint(needed):
            self.left_out.append(job_id)
        elif there.exists() and (told := name_job(there)) != job_id:
            self._refuse(job_id, f"its result is of job {told}")
        elif self._copy(job_id):
            self.added.append(job_id)
        else:
            self.busy.append(job_id)

    def _refuse(self, job_id: str, difference: str) -> None:
        self.contradictions.append(Contradiction(name=job_id, difference=difference))
        self._refused.add(job_id)

    def _copy(self, job_id: str) -> bool:
        """Copy a job while nobody works on it here; what says that it is done comes last."""
        with holding(self.target.lock(job_id)) as held:
            if not held or self.target.result(job_id).exists():
                return False
            folder = self.target.job(job_id)
            if self.weights and self.source.weights(job_id).is_dir():
                copy_folder(self.source.weights(job_id), self.target.weights(job_id))
            for name in reversed(PASSED_ON):
                if (path := self.source.job(job_id) / name).exists():
                    copy_file(path, folder / name)
            if self.target.result(job_id).exists():
                self.target.failure(job_id).unlink(missing_ok=True)
        return True


def name_job(result: Path) -> str | None:
    """Give the id of the job that a result is of; None if it can't be read."""
    raw = read_json(result)
    plain = raw.get("job") if isinstance(raw, dict) else None
    if not isinstance(plain, dict):
        return None
    with suppress(UserError):
        return parse(EvalJob if "target" in plain else FinetuneJob, plain, where=str(result)).id
    return None


def _find_needed(layout: Layout, job_id: str) -> tuple[str, ...]:
    """Give the fine-tunes whose weights a job asks."""
    path = layout.result(job_id)
    job = read_json(path).get("job", {}) if path.exists() else {}
    if not isinstance(job, dict):
        return ()
    merge, checkpoint = job.get("merge"), job.get("checkpoint_of")
    return tuple(merge["of"]) if merge else (checkpoint,) if checkpoint else ()


def compare_results(source: Layout, target: Layout, job_id: str) -> str:
    """Say in what two results of a job differ beyond time and place; empty if in nothing."""
    here, there = (_flatten(read_json(layout.result(job_id))) for layout in (target, source))
    for name in sorted(here.keys() & there.keys()):  # other versions may say more
        if here[name] != there[name]:
            return f"{name} is {here[name]} here and {there[name]} there"
    paths = [layout.predictions(job_id) for layout in (target, source)]
    answers = [path.read_bytes() if path.exists() else b"" for path in paths]
    if answers[0] != answers[1] and all(answers) and not _is_same_table(paths[0], paths[1]):
        return "predictions.parquet has other answers"
    return ""


def _flatten(raw: Any, prefix: str = "") -> dict[str, Any]:  # noqa: ANN401 - a file of anybody's
    if not isinstance(raw, dict):
        return {prefix: raw}
    return {
        key: value
        for name, item in raw.items()
        if prefix or name not in INCIDENTAL
        for key, value in _flatten(item, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def _is_same_table(first: Path, second: Path) -> bool:
    import pyarrow.parquet as pq

    return pq.read_table(first).equals(pq.read_table(second))


def _add_study(source: Layout, target: Layout, name: str) -> Contradiction | str:
    """Add a study, or what it has beyond the one of its name here; gives what became of it."""
    if not source.plan(name).exists():
        return "known"
    if not target.plan(name).exists():
        for path in list_study_files(source, name):
            copy_file(path, target.study(name) / path.relative_to(source.study(name)))
        return "added"
    before = read_plan(target.plan(name))
    united = unite_plans(before, read_plan(source.plan(name)))
    if united.conflicts:
        return Contradiction(name=name, difference="; ".join(united.conflicts[:MOST_CONFLICTS]))
    if united.plan.id == before.id:
        return "known"
    with holding(target.driver_lock(name)) as held:
        if held:
            freeze_plan(target, united.plan)
    return "united" if held else Contradiction(name=name, difference="a sweep drives it here; merge again after it")


def list_study_files(layout: Layout, name: str) -> Iterator[Path]:
    """List the files of a study that are passed on; what says that the study is complete comes last."""
    folder = layout.study(name)
    yield from sorted(folder.glob("figures/*.svg"))
    yield from sorted(path for path in folder.glob("answers/*") if path.suffix in {".html", ".js"})
    yield from (folder / file for file in reversed(STUDY_FILES) if (folder / file).exists())


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all; a link is not followed, and nothing comes of it."""
    if source.is_symlink():
        return
    with replacing(target) as beside:
        shutil.copyfile(source, beside)


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder, whole or not at all; one that is there stays, and of one with links nothing comes.

    Weights that were trained elsewhere are links: without the folder, whoever needs them is told to bring them.
    """
    if target.is_dir() or any(path.is_symlink() for path in source.rglob("*")):
        return
    beside = target.with_name(f".{target.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(source, beside)
    beside.rename(target)
