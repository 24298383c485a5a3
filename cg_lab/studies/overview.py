"""How each study of a results folder stands, from the names and times of files; no plan is built for it."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from cg_lab.due_seeds import find_due, list_jobs
from cg_lab.execution.packs import read_order, read_submissions
from cg_lab.locks import find_holder
from cg_lab.registration import read_registration
from cg_lab.results import Layout, read_plan
from cg_lab.serialize import MOST_CHARACTERS
from cg_lab.studies.disk_use import measure_folder
from cg_lab.studies.plan_outline import PlanOutline, read_outline
from cg_lab.study import SlurmSettings

SCHEMA = 1
"""Of what `--json` prints; raised when a field goes or changes its meaning."""


class StudyState(StrEnum):
    """How a study stands as a whole."""

    RUNNING = "running"
    """A driver or one of its workers is at work."""
    SUBMITTED = "submitted"
    """In a cluster's queue, as its files have it."""
    FINISHED = "finished"
    FAILED = "failed"
    """Nothing is left to run, and some jobs were given up."""
    STOPPED = "stopped"
    """Begun, not finished, and nobody drives it."""
    PLANNED = "planned"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOverview:
    """A study in one line."""

    study: str
    question: str
    """Designs and targets, in words."""
    state: StudyState
    verdicts: dict[str, int]
    """How many held-out questions came to each word; empty before a report."""
    num_questions: int
    num_cells: int
    num_jobs: int
    """Of which those due count, with looks."""
    num_done: int
    num_failed: int
    changed: str
    """UTC, ISO 8601: when anything of it was last written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyList:
    """All studies of a results folder."""

    schema: int = SCHEMA
    studies: tuple[StudyOverview, ...]
    """By name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDetails:
    """A study from near."""

    schema: int
    overview: StudyOverview
    designs: tuple[str, ...]
    targets: tuple[str, ...]
    plan: str
    """Id of its plan."""
    registered: str | None
    """When its plan was frozen."""
    has_draft: bool
    replaced: tuple[str, ...]
    """Ids of plans that were replaced and are kept."""
    shared: dict[str, int]
    """Jobs that other studies name too, by study."""
    results_bytes: int
    """Results and answers of its jobs."""
    weights_bytes: int


def read_overviews(layout: Layout) -> tuple[StudyOverview, ...]:
    """Read how all studies stand, by name."""
    done = layout.list_done()
    tried = layout.list_tried() - done
    failed = frozenset(job_id for job_id in tried if layout.failure(job_id).exists())
    return tuple(_read(layout, name, done, failed)[0] for name in layout.list_studies())


def read_details(layout: Layout, study: str, sharing: dict[str, tuple[str, ...]]) -> StudyDetails:
    """Read how one study stands.

    Parameters
    ----------
    layout, study
        Which.
    sharing
        The studies that name each job.

    """
    done = layout.list_done()
    failed = frozenset(job_id for job_id in layout.list_tried() - done if layout.failure(job_id).exists())
    overview, outline = _read(layout, study, done, failed)
    path = _find_plan(layout, study)
    plan, registration = read_plan(path), read_registration(layout, study)
    shared = Counter(other for job_id in outline.jobs for other in sharing.get(job_id, ()) if other != study)
    sizes = [measure_folder(layout.job(job_id)) for job_id in outline.jobs]
    return StudyDetails(
        schema=SCHEMA,
        overview=overview,
        designs=plan.designs,
        targets=tuple(dict.fromkeys(part.target for part in plan.contrasts)),
        plan=plan.id,
        registered=registration.frozen if registration else None,
        has_draft=layout.draft(study).exists(),
        replaced=tuple(sorted(file.name.split(".")[1] for file in layout.study(study).glob("plan.*.json"))),
        shared=dict(sorted(shared.items())),
        results_bytes=sum(size.results for size in sizes),
        weights_bytes=sum(size.weights for size in sizes),
    )


def _find_plan(layout: Layout, study: str) -> Path:
    return layout.plan(study) if layout.plan(study).exists() else layout.draft(study)


def _read(
    layout: Layout, study: str, done: frozenset[str], failed: frozenset[str]
) -> tuple[StudyOverview, PlanOutline]:
    outline = read_outline(_find_plan(layout, study))
    jobs = _list_due(layout, study, outline)
    num_done, num_failed = len(jobs & done), len(jobs & failed)
    files = _list_files(layout, study)
    state = _find_state(layout, study, files, num_left=len(jobs) - num_done, num_failed=num_failed, num_done=num_done)
    overview = StudyOverview(
        study=study,
        question=_tell_question(outline),
        state=state,
        verdicts=_count_verdicts(layout.study(study) / "effects.csv"),
        num_questions=len(outline.questions),
        num_cells=len(outline.cells),
        num_jobs=len(jobs),
        num_done=num_done,
        num_failed=num_failed,
        changed=datetime.fromtimestamp(max(files.values(), default=0.0), UTC).isoformat(timespec="seconds"),
    )
    return overview, outline


def _list_due(layout: Layout, study: str, outline: PlanOutline) -> frozenset[str]:
    """List the jobs that are due; only a study with looks has others, and then its plan has to be built."""
    if not (layout.study(study) / "due.json").exists():
        return outline.jobs
    return list_jobs(find_due(layout, read_plan(layout.plan(study))))


def _list_files(layout: Layout, study: str) -> dict[str, float]:
    """List the files of a study and of its packs, with their times; logs grow without end and tell nothing more."""
    found: dict[str, float] = {}
    for folder in (layout.study(study), layout.packs(study)):
        try:
            with os.scandir(folder) as entries:
                found |= {entry.path: entry.stat().st_mtime for entry in entries if entry.is_file()}
        except FileNotFoundError:
            continue
    return found


def _find_state(
    layout: Layout, study: str, files: dict[str, float], *, num_left: int, num_failed: int, num_done: int
) -> StudyState:
    if any(find_holder(Path(name)) for name in files if name.endswith(".lock")):
        return StudyState.RUNNING
    if not num_left:
        return StudyState.FINISHED
    if _is_submitted(layout, study, files):
        return StudyState.SUBMITTED
    if num_left == num_failed:
        return StudyState.FAILED
    has_begun = num_done or num_failed or (layout.packs(study) / "order.json").exists()
    return StudyState.STOPPED if has_begun else StudyState.PLANNED


def _is_submitted(layout: Layout, study: str, files: dict[str, float]) -> bool:
    if str(layout.packs(study) / "order.json") not in files:
        return False
    is_queued = isinstance(read_order(layout, study).cluster, SlurmSettings)
    return is_queued and any(not sent.is_over for sent in read_submissions(layout, study))


def _tell_question(outline: PlanOutline) -> str:
    designs = dict.fromkeys(part.design for part in outline.questions)
    targets = list(dict.fromkeys(part.target for part in outline.questions))
    shown = ", ".join(targets[:2]) + (f" and {len(targets) - 2} more" if len(targets) > 2 else "")
    return f"{', '.join(designs)}: {shown}" if targets else "nothing is held out"


def _count_verdicts(path: Path) -> dict[str, int]:
    return dict(Counter(_read_column(path, "verdict")).most_common())


def _read_column(path: Path, name: str) -> Iterator[str]:
    """Read what is said in a column of a table that we wrote; nothing if there is none."""
    csv.field_size_limit(MOST_CHARACTERS)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            head = next(rows, [])
            place = head.index(name) if name in head else len(head)
            yield from (row[place] for row in rows if len(row) > place and row[place])
    except FileNotFoundError:
        return
