"""Bring one MLflow run to what its record says, in a few batches."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cg_lab.tracking.jobs import Point, digest_curve
from cg_lab.tracking.known_runs import KnownRun
from cg_lab.tracking.models import Models
from cg_lab.tracking.record import Input, Record
from cg_lab.tracking.store import FINGERPRINT_TAG, KEY_TAG, Store, set_start

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric, Run

JOB_TAG = "cg_lab.job"
CURVE_TAG = "cg_lab.curve"
"""Number and digest of the points that a run has."""
ARTIFACTS_TAG = "cg_lab.artifacts"
"""Size and time of each file that was uploaded."""
MAX_METRICS = 800
"""Of one batch: with 100 parameters and 100 tags the 1,000 entries that MLflow takes."""
MAX_TAG = 5000
MAX_PARAM = 500
"""Characters; the least that MLflow's databases and servers of the last years take."""
LONG_VALUES = "long_values.json"
CUT = f" ... (whole in {LONG_VALUES})"


def create_run(store: Store, models: Models, record: Record) -> None:
    """Make a record's run and fill it."""
    run = store.client.create_run(
        store.experiment_id,
        start_time=record.start_ms or round(time.time() * 1000),
        tags={KEY_TAG: record.key, JOB_TAG: record.job_id, "mlflow.source.name": "cg_lab", **_give_tags(record)},
        run_name=record.name,
    )
    _fill(store, models, record, run)


def update_run(store: Store, models: Models, record: Record, known: KnownRun) -> None:
    """Bring a run up to date; one that can't be goes to MLflow's deleted runs, and a new one takes its place."""
    run = store.client.get_run(known.run_id)
    if not _goes_on(models, record, run):
        remove_run(store, models, known)
        create_run(store, models, record)
        return
    if record.start_ms is not None and record.start_ms != known.start_ms:
        set_start(store, known.run_id, record.start_ms)
    for key, value in record.tags.items():
        if not value and key in run.data.tags:
            store.client.delete_tag(known.run_id, key)
    _fill(store, models, record, run)


def is_true(record: Record, known: KnownRun) -> bool:
    """Tell whether a run says what its record says: nobody has changed or deleted a value of it since."""
    return (
        _has(known.tags, {**_give_tags(record), JOB_TAG: record.job_id})
        and _has(known.params, _give_params(record))
        and _has(known.metrics, {**record.metrics, **_give_last(record)})
    )


def _has(found: Mapping[str, str | float], told: Mapping[str, str | float]) -> bool:
    """Tell whether all that is told is found; what users added is theirs."""
    return all(key in found and _is_same(found[key], value) for key, value in told.items())


def _is_same(found: str | float, told: str | float) -> bool:
    return found == told or (found != found and told != told)  # noqa: PLR0124 - no number is no number


def _give_last(record: Record) -> dict[str, float]:
    """Give what MLflow shows of a curve: the value of the last step."""
    ordered = sorted(record.curve, key=lambda point: (point.step, point.time_ms, point.value))
    return {point.key: point.value for point in ordered}


def remove_run(store: Store, models: Models, known: KnownRun) -> None:
    """Move a run to MLflow's deleted ones; its model goes first, since nothing would lead to it afterwards."""
    models.drop(known.run_id)
    store.client.delete_run(known.run_id)


def _goes_on(models: Models, record: Record, run: Run) -> bool:
    """Tell whether what can't be changed in a run is as the record says: job, parameters, values, curve, model."""
    params = _give_params(record)
    model_id = models.find(record.asked.job_id) if record.asked else None
    return (
        run.data.tags.get(JOB_TAG) == record.job_id
        and all(params.get(key) == value for key, value in run.data.params.items())
        and all(record.metrics.get(key, value) == value for key, value in run.data.metrics.items())
        and _count_mirrored(record, run) is not None
        and (
            run.data.tags.get(FINGERPRINT_TAG) != record.fingerprint
            or _has(run.data.metrics, {**record.metrics, **_give_last(record)})
        )
        and set(_list_asked(run)) <= {model_id}
    )


def _list_asked(run: Run) -> list[str]:
    return [part.model_id for part in run.inputs.model_inputs] if run.inputs else []


def _count_mirrored(record: Record, run: Run) -> int | None:
    """Count the points of the curve that the run has; None if it has other ones."""
    count, _, digest = run.data.tags.get(CURVE_TAG, "0").partition(":")
    start = record.curve[: int(count)]
    return int(count) if int(count) == 0 or digest_curve(start) == digest else None


def _fill(store: Store, models: Models, record: Record, run: Run) -> None:
    """Write what a run lacks; the fingerprint comes last, so that a writing that was cut off is done again."""
    from mlflow.entities import Metric, Param, RunTag

    run_id = run.info.run_id
    _set_status(store, record, run)
    _upload(store, record, run)
    _add_inputs(store, models, record, run)
    if record.weights is not None:
        models.bring(store.client, run, record)
    time_ms = record.end_ms or record.start_ms or run.info.start_time
    metrics = [Metric(key, value, time_ms, 0) for key, value in record.metrics.items() if key not in run.data.metrics]
    metrics += [_to_metric(point) for point in record.curve[_count_mirrored(record, run) or 0 :]]
    tags = {
        **_give_tags(record),
        CURVE_TAG: f"{len(record.curve)}:{digest_curve(record.curve)}" if record.curve else "",
        ARTIFACTS_TAG: json.dumps(record.artifact_marks) if record.artifacts else "",
        FINGERPRINT_TAG: record.fingerprint,
    }
    while len(metrics) > MAX_METRICS:
        store.client.log_batch(run_id, metrics=metrics[:MAX_METRICS])
        del metrics[:MAX_METRICS]
    store.client.log_batch(
        run_id,
        metrics=metrics,
        params=[Param(key, value) for key, value in _give_params(record).items() if key not in run.data.params],
        tags=[RunTag(key, value) for key, value in tags.items() if value and run.data.tags.get(key) != value],
    )


def _add_inputs(store: Store, models: Models, record: Record, run: Run) -> None:
    from mlflow.entities import LoggedModelInput

    has_datasets = run.inputs and run.inputs.dataset_inputs
    datasets = [] if has_datasets else [_to_dataset(part) for part in record.inputs]
    model_id = models.find(record.asked.job_id) if record.asked and not _list_asked(run) else None
    if datasets or model_id:
        asked = [LoggedModelInput(model_id)] if model_id else []
        store.client.log_inputs(run.info.run_id, datasets, asked)


def _to_dataset(part: Input) -> DatasetInput:
    """Give what MLflow shows as a dataset: its name, digest and context; the samples themselves stay where they are."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=part.name, digest=part.digest, source_type="cg_lab", source=json.dumps({"subset": part.name}),
        profile=json.dumps({"num_samples": part.num_samples}),
    )  # fmt: skip
    return DatasetInput(dataset, [InputTag("mlflow.data.context", part.context)])


def _to_metric(point: Point) -> Metric:
    from mlflow.entities import Metric

    return Metric(point.key, point.value, point.time_ms, point.step)


def _upload(store: Store, record: Record, run: Run) -> None:
    """Upload the files that are new or changed, and values that are too long for MLflow."""
    marks = json.loads(run.data.tags.get(ARTIFACTS_TAG, "{}"))
    for path in record.artifacts:
        if marks.get(path.name) != record.artifact_marks[path.name]:
            store.client.log_artifact(run.info.run_id, str(path))
    long_values = {key: value for key, value in record.params.items() if len(value) > MAX_PARAM}
    long_values |= {key: value for key, value in record.tags.items() if len(value) > MAX_TAG}
    if long_values:
        store.client.log_dict(run.info.run_id, long_values, LONG_VALUES)


def _set_status(store: Store, record: Record, run: Run) -> None:
    if record.end_ms is not None:
        store.client.set_terminated(run.info.run_id, status=record.status, end_time=record.end_ms)
    elif run.info.status != record.status:
        store.client.update_run(run.info.run_id, status=record.status)


def _give_tags(record: Record) -> dict[str, str]:
    return {key: _cut(value, MAX_TAG) for key, value in record.tags.items() if value}


def _give_params(record: Record) -> dict[str, str]:
    return {key: _cut(value, MAX_PARAM) for key, value in record.params.items() if value}


def _cut(value: str, most: int) -> str:
    return value if len(value) <= most else value[: most - len(CUT)] + CUT
