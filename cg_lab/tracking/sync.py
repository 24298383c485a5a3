"""`sync_study`: bring MLflow up to date with a study's files; running it again changes nothing."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby

from cg_lab.due_seeds import find_due
from cg_lab.errors import UserError
from cg_lab.passwords import hide_passwords
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout, fingerprint, read_plan
from cg_lab.serialize import content_id, read_json, write_json
from cg_lab.tracking.known_runs import find_runs
from cg_lab.tracking.models import Models
from cg_lab.tracking.new_runs import gathering
from cg_lab.tracking.record import RECORD_SCHEMA, Record
from cg_lab.tracking.records import STUDY_FILES, build_records
from cg_lab.tracking.store import Store, TrackingError, count_runs, find_database, find_uri, opening
from cg_lab.tracking.writing import create_run, is_true, remove_run, update_run

STAMP = ".synced.json"
"""File of a study that says what was last mirrored whole, and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What a mirroring did."""

    total: int
    """Runs of the study."""
    new: int
    updated: int
    removed: int
    """Runs of cells and fine-tunes that the plan no longer has; MLflow can restore them."""
    seconds: float


def sync_study(
    layout: Layout, study: str, *, tracking_uri: str | None = None, experiment: str | None = None
) -> SyncReport:
    """Make or update a run for the study, for each fine-tune and for each cell.

    Runs are found by their key, and left alone if they are as they should be. It may be killed at any moment and run
    again, and from several processes at once: they take turns. A new database takes some seconds.

    Parameters
    ----------
    layout
        Where the study and its jobs lie.
    study
        Name of the study, and of MLflow's experiment.
    tracking_uri
        Another MLflow store; None for mlflow.db in the results folder.
    experiment
        Another name of the experiment than the study's.

    Raises
    ------
    TrackingError
        If the experiment holds the runs of another results folder, or if MLflow or a job's file refuses; what was
        mirrored so far stays, and running again goes on from there.
    UserError
        If there is no plan.

    """
    began = time.perf_counter()
    if not layout.plan(study).exists():
        read_plan(layout.plan(study))  # which says so, before anything is made
    with opening(layout, study, tracking_uri, experiment) as store:
        # All is read under the lock: a process that waited must not write what was true before it waited.
        plan = find_due(layout, read_plan(layout.plan(study)))
        mark = _mark(layout, plan)
        records = _read_records(plan, layout)
        report = _mirror(store, records, began)
    stamp = layout.study(study) / STAMP
    if any(record.status == "RUNNING" for record in records):
        stamp.unlink(missing_ok=True)  # a kill changes no file
    else:
        write_json(
            stamp,
            {
                "mark": mark,
                "uri": hide_passwords(find_uri(layout, tracking_uri)),
                "experiment": experiment or study,
                "runs": len(records),
            },
        )
    return report


def is_synced(layout: Layout, study: str, *, tracking_uri: str | None = None, experiment: str | None = None) -> bool:
    """Tell whether nothing has changed since the last whole mirroring; cheap, and without MLflow.

    Of a SQLite store it also asks whether the runs are still there.
    """
    stamp = layout.study(study) / STAMP
    if not stamp.exists():
        return False
    last, uri = read_json(stamp), find_uri(layout, tracking_uri)
    plan = find_due(layout, read_plan(layout.plan(study)))
    name = experiment or study
    if (
        last.get("mark") != _mark(layout, plan)
        or last.get("uri") != hide_passwords(uri)
        or last.get("experiment", study) != name
    ):
        return False
    database = find_database(uri)
    return database is None or count_runs(database, name) == last["runs"]


def _mark(layout: Layout, plan: Plan) -> str:
    """Hash size and time of all files that runs are made from, and whose weights there are."""
    files = [layout.study(plan.study) / name for name in STUDY_FILES]
    files += [layout.journal(job.id) for job in (*plan.finetunes, *plan.evals)]
    stats = [(str(path.name), path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.exists()]
    kept = [job.id for job in plan.finetunes if layout.weights(job.id).is_dir()]
    return content_id("mark", RECORD_SCHEMA, [fingerprint(layout, plan), stats, kept])


def _read_records(plan: Plan, layout: Layout) -> tuple[Record, ...]:
    try:
        return build_records(plan, layout)
    except UserError as error:
        raise TrackingError(str(error)) from error


def _mirror(store: Store, records: tuple[Record, ...], began: float) -> SyncReport:
    found = sorted(find_runs(store), key=lambda run: bool(run.fingerprint))
    known = {run.key: run for run in found}
    # Two of one key are from a request that was sent again because its answer was lost: the one that was filled stays.
    surplus = [run for run in found if known[run.key] is not run]
    models = Models(store, {run.run_id for run in found})
    found_again = [(record, known.pop(record.key, None)) for record in records]
    stale = [
        (record, run)
        for record, run in found_again
        if run is None or run.fingerprint != record.fingerprint or not is_true(record, run)
    ]
    for is_new, parts in groupby(stale, key=lambda part: part[1] is None):
        with gathering(store) if is_new else nullcontext(store) as place:
            for record, run in parts:
                if run is None:
                    create_run(place, models, record)
                else:
                    update_run(place, models, record, run)
    gone = [*known.values(), *surplus]
    for run in gone:
        remove_run(store, models, run)
    models.tidy()
    seconds = time.perf_counter() - began
    new = sum(run is None for _, run in stale)
    return SyncReport(total=len(records), new=new, updated=len(stale) - new, removed=len(gone), seconds=seconds)
