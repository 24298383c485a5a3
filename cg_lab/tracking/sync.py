"""`sync_study`: bring MLflow up to date with a study's files; running it again changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from cg_lab.planning.plan import Plan
from cg_lab.results import Layout, fingerprint, read_plan
from cg_lab.serialize import content_id, read_json, write_json
from cg_lab.tracking.records import STUDY_FILES, Point, Record, build_records
from cg_lab.tracking.store import FINGERPRINT_TAG, KEY_TAG, STEP_TAG, Store, opening

MAX_METRICS = 1000
"""Of one batch; MLflow refuses more."""
MAX_TAG = 5000
MAX_PARAM = 500
CUT = " ... (whole in plan.json)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What a mirroring did."""

    total: int
    new: int
    updated: int
    seconds: float


def sync_study(layout: Layout, study: str, *, tracking_uri: str | None = None) -> SyncReport:
    """Make or update a run for the study, for each fine-tune and for each cell.

    Runs are found by their key, and left alone if they are as they should be. It may be killed at any moment and run
    again, and from several processes at once.

    Raises
    ------
    TrackingError
        If MLflow refuses something; what was mirrored so far stays.

    """
    began = time.perf_counter()
    plan = read_plan(layout.plan(study))
    mark = _mark(layout, plan)
    records = build_records(plan, layout)
    new = updated = 0
    with opening(layout, study, tracking_uri) as store:
        known = _find_runs(store)
        for record in records:
            run = known.get(record.key)
            if run is None:
                _write(store, record, _create(store, record), done_step=-1)
                new += 1
            elif run.data.tags.get(FINGERPRINT_TAG) != record.fingerprint:
                _write(store, record, run.info.run_id, done_step=int(run.data.tags.get(STEP_TAG, "-1")))
                updated += 1
    write_json(layout.study(study) / ".synced.json", {"mark": mark})
    return SyncReport(total=len(records), new=new, updated=updated, seconds=time.perf_counter() - began)


def is_synced(layout: Layout, study: str) -> bool:
    """Tell whether nothing has changed since the last whole mirroring; cheap, and without MLflow."""
    stamp = layout.study(study) / ".synced.json"
    if not stamp.exists() or not layout.database.exists():
        return False
    return read_json(stamp)["mark"] == _mark(layout, read_plan(layout.plan(study)))


def _mark(layout: Layout, plan: Plan) -> str:
    files = [layout.study(plan.study) / name for name in STUDY_FILES]
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.exists()]
    return content_id("mark", 1, [fingerprint(layout, plan), stats])


def _find_runs(store: Store) -> dict[str, Any]:
    """Read all runs of the experiment, by key; a half-made run of a killed mirroring has its key already."""
    runs: dict[str, Any] = {}
    token: str | None = None
    while True:
        page = store.client.search_runs([store.experiment_id], max_results=5000, page_token=token)
        runs |= {run.data.tags[KEY_TAG]: run for run in page if KEY_TAG in run.data.tags}
        token = page.token
        if not token:
            return runs


def _create(store: Store, record: Record) -> str:
    tags = {KEY_TAG: record.key, "mlflow.source.name": "cg_lab", "mlflow.source.type": "LOCAL"}
    return store.client.create_run(
        store.experiment_id, start_time=record.start_ms or None, tags=tags, run_name=record.name
    ).info.run_id


def _write(store: Store, record: Record, run_id: str, *, done_step: int) -> None:
    """Write a record's contents; its fingerprint comes last, so that a cut-off writing is done again."""
    from mlflow.entities import Metric, Param, RunTag

    fresh = [point for point in record.metrics if point.step == 0 or point.step > done_step]
    now_ms = round(time.time() * 1000)

    def to_metric(point: Point) -> Metric:
        return Metric(point.key, point.value, point.time_ms or record.end_ms or record.start_ms or now_ms, point.step)

    for start in range(0, len(fresh), MAX_METRICS):
        store.client.log_batch(run_id, metrics=[to_metric(point) for point in fresh[start : start + MAX_METRICS]])
    for path in record.artifacts:
        store.client.log_artifact(run_id, str(path))
    last_step = max((point.step for point in record.metrics), default=-1)
    tags = {**record.tags, STEP_TAG: str(last_step), FINGERPRINT_TAG: record.fingerprint}
    params = [Param(key, _cut(value, MAX_PARAM)) for key, value in record.params.items() if value]
    _set_status(store, record, run_id)
    store.client.log_batch(
        run_id, params=params, tags=[RunTag(key, _cut(value, MAX_TAG)) for key, value in tags.items() if value]
    )


def _set_status(store: Store, record: Record, run_id: str) -> None:
    if record.status in {"FINISHED", "FAILED", "KILLED"}:
        store.client.set_terminated(run_id, status=record.status, end_time=record.end_ms)
    else:
        store.client.update_run(run_id, status=record.status)


def _cut(value: str, most: int) -> str:
    return value if len(value) <= most else value[: most - len(CUT)] + CUT
