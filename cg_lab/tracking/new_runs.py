"""New runs in a SQLite file, hundreds in one transaction: MLflow's client takes ten transactions and more for each."""

from __future__ import annotations

import json
import math
import shutil
import sys
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cg_lab.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import (
        DatasetInput,
        LoggedModel,
        LoggedModelInput,
        LoggedModelOutput,
        Metric,
        Param,
        Run,
        RunTag,
    )
    from mlflow.tracking import MlflowClient
    from sqlalchemy import Engine

AT_ONCE = 500
"""Runs of one transaction."""
TABLES = (
    "SqlRun", "SqlLoggedModel", "SqlDataset", "SqlInput", "SqlTag", "SqlParam", "SqlMetric", "SqlLatestMetric",
    "SqlInputTag", "SqlLoggedModelTag",
)  # fmt: skip
"""MLflow's classes of them, after those that they refer to."""
Row = dict[str, Any]


@contextmanager
def gathering(store: Store) -> Generator[Store]:
    """Give a store for new runs alone; what they hold is in a SQLite file when it is left, a part of them before.

    A run is written whole or not at all; files of one that was not are left behind. A store that is elsewhere, or keeps
    files elsewhere, is given as it is.
    """
    from mlflow.utils.uri import is_local_uri

    place = store.client.get_experiment(store.experiment_id).artifact_location
    if store.database is None or not is_local_uri(place):
        yield store
        return
    new = NewRuns(store, place)
    yield replace(store, client=cast("MlflowClient", new))
    new.write()


class NewRuns:
    """Answers as MLflow's client does to whoever makes runs, and gathers their rows in MLflow's own tables."""

    def __init__(self, store: Store, place: str) -> None:
        """Take the open experiment, and where its files lie."""
        from mlflow.store.tracking.dbmodels import models as tables
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
        from sqlalchemy import select

        self._tables = tables
        self._engine: Engine = SqlAlchemyStore._get_or_create_engine(store.client.tracking_uri)
        self._place = place
        self._rows: dict[str, dict[Any, Row]] = {table: {} for table in TABLES}
        """By table and by what is unique in it."""
        self._runs, self._models = self._rows["SqlRun"], self._rows["SqlLoggedModel"]
        known = tables.SqlDataset
        query = select(known.name, known.digest, known.dataset_uuid).where(known.experiment_id == store.experiment_id)
        with self._engine.connect() as connection:
            self._datasets = {(name, digest): number for name, digest, number in connection.execute(query)}

    def write(self) -> None:
        """Insert all rows that were gathered, in one transaction."""
        from sqlalchemy import insert, text

        with self._engine.begin() as connection:
            connection.execute(text("PRAGMA busy_timeout = 20000"))
            for table, rows in self._rows.items():
                if rows:
                    connection.execute(insert(getattr(self._tables, table)), list(rows.values()))
        for rows in self._rows.values():
            rows.clear()

    def create_run(self, experiment_id: str, start_time: int, tags: dict[str, str], run_name: str) -> Run:
        """Begin a run; as many as one transaction takes are written before."""
        from mlflow.entities import LifecycleStage, Run as RunEntity, RunData, RunInfo, RunTag
        from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

        if len(self._runs) >= AT_ONCE:
            self.write()
        run_id = uuid.uuid4().hex
        row = {
            "run_uuid": run_id, "name": run_name, "source_type": "UNKNOWN", "source_name": "", "entry_point_name": "",
            "user_id": "unknown", "status": "RUNNING", "start_time": start_time, "end_time": None, "deleted_time": None,
            "source_version": "", "lifecycle_stage": LifecycleStage.ACTIVE, "experiment_id": int(experiment_id),
            "artifact_uri": f"{self._place}/{run_id}/artifacts",
        }  # fmt: skip
        self._runs[run_id] = row
        given = [RunTag(key, value) for key, value in (tags | {MLFLOW_RUN_NAME: run_name}).items()]
        self.log_batch(run_id, tags=given)
        names = ("user_id", "status", "start_time", "end_time", "lifecycle_stage")
        info = RunInfo(run_id=run_id, experiment_id=experiment_id, **{name: row[name] for name in names})
        return RunEntity(info, RunData(tags=given))

    def set_terminated(self, run_id: str, status: str, end_time: int) -> None:
        """Say how and when a run ended."""
        self._runs[run_id] |= {"status": status, "end_time": end_time}

    def update_run(self, run_id: str, status: str) -> None:
        """Say how a run stands."""
        self._runs[run_id]["status"] = status

    def log_batch(
        self, run_id: str, metrics: Sequence[Metric] = (), params: Sequence[Param] = (), tags: Sequence[RunTag] = ()
    ) -> None:
        """Add values, parameters and tags."""
        from mlflow.utils.validation import _validate_batch_log_data

        metrics, params, tags = _validate_batch_log_data(metrics, params, tags)
        for table, parts in (("SqlParam", params), ("SqlTag", tags)):
            self._rows[table] |= {
                (run_id, part.key): {"run_uuid": run_id, "key": part.key, "value": part.value} for part in parts
            }
        latest = self._rows["SqlLatestMetric"]
        for metric in metrics:
            value, is_nan = _fit(metric.value), math.isnan(metric.value)
            row = {"run_uuid": run_id, "key": metric.key, "value": value, "is_nan": is_nan}
            row |= {"timestamp": metric.timestamp, "step": metric.step}
            self._rows["SqlMetric"][run_id, metric.key, metric.step, metric.timestamp, value, is_nan] = row
            last = latest.setdefault((run_id, metric.key), row)
            if (metric.step, metric.timestamp, value) > (last["step"], last["timestamp"], last["value"]):
                latest[run_id, metric.key] = row

    def log_inputs(
        self, run_id: str, datasets: Sequence[DatasetInput] = (), models: Sequence[LoggedModelInput] = ()
    ) -> None:
        """Say what a run was trained on or asked about, and whom it asked."""
        experiment_id = self._runs[run_id]["experiment_id"]
        for part in datasets:
            data = part.dataset
            if (data.name, data.digest) not in self._datasets:
                number = self._datasets[data.name, data.digest] = uuid.uuid4().hex
                self._rows["SqlDataset"][number] = {
                    "dataset_uuid": number, "experiment_id": experiment_id, "name": data.name, "digest": data.digest,
                    "dataset_source_type": data.source_type, "dataset_source": data.source,
                    "dataset_profile": data.profile,
                }  # fmt: skip
            number = self._join("DATASET", self._datasets[data.name, data.digest], "RUN", run_id)
            for tag in part.tags:
                self._rows["SqlInputTag"][number, tag.key] = {
                    "input_uuid": number,
                    "name": tag.key,
                    "value": tag.value,
                }
        for model in models:
            self._join("RUN_INPUT", run_id, "MODEL_INPUT", model.model_id)

    def log_outputs(self, run_id: str, models: Sequence[LoggedModelOutput]) -> None:
        """Say what a run made."""
        for model in models:
            self._join("RUN_OUTPUT", run_id, "MODEL_OUTPUT", model.model_id, model.step)

    def _join(self, source: str, source_id: str, destination: str, destination_id: str, step: int = 0) -> str:
        """Join two things, if they are not; give the number of the edge."""
        key = (source, source_id, destination, destination_id)
        row = {"source_type": source, "source_id": source_id, "destination_type": destination}
        row |= {"destination_id": destination_id, "step": step, "input_uuid": uuid.uuid4().hex}
        return self._rows["SqlInput"].setdefault(key, row)["input_uuid"]

    def create_logged_model(
        self, experiment_id: str, name: str, source_run_id: str, tags: dict[str, str]
    ) -> LoggedModel:
        """Begin a model."""
        from mlflow.entities import LifecycleStage, LoggedModel, LoggedModelStatus
        from mlflow.utils.time import get_current_time_millis

        model_id, now = f"m-{uuid.uuid4().hex}", get_current_time_millis()
        place, pending = f"{self._place}/models/{model_id}/artifacts", LoggedModelStatus.PENDING
        self._models[model_id] = {
            "model_id": model_id, "experiment_id": int(experiment_id), "name": name, "artifact_location": place,
            "creation_timestamp_ms": now, "last_updated_timestamp_ms": now, "status": pending.to_int(),
            "lifecycle_stage": LifecycleStage.ACTIVE, "source_run_id": source_run_id,
        }  # fmt: skip
        self._rows["SqlLoggedModelTag"] |= {
            (model_id, key): {
                "model_id": model_id, "experiment_id": int(experiment_id), "tag_key": key, "tag_value": value,
            }
            for key, value in tags.items()
        }  # fmt: skip
        return LoggedModel(experiment_id, model_id, name, place, now, now, status=pending)

    def finalize_logged_model(self, model_id: str, status: str) -> None:
        """Say how a model stands."""
        from mlflow.entities import LoggedModelStatus

        self._models[model_id]["status"] = LoggedModelStatus(status).to_int()

    def log_artifact(self, run_id: str, path: str) -> None:
        """Copy a file."""
        shutil.copyfile(path, self._open_folder(run_id) / Path(path).name)

    def log_dict(self, run_id: str, values: dict[str, str], name: str) -> None:
        """Write a JSON file, as MLflow does."""
        (self._open_folder(run_id) / name).write_text(json.dumps(values, indent=2), encoding="utf-8")

    def _open_folder(self, run_id: str) -> Path:
        from mlflow.utils.file_utils import local_file_uri_to_path

        folder = Path(local_file_uri_to_path(self._runs[run_id]["artifact_uri"]))
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _fit(value: float) -> float:
    """Give what a database can hold: 0 for what is no number, the largest number for infinity; as MLflow does."""
    return 0.0 if math.isnan(value) else max(-sys.float_info.max, min(sys.float_info.max, value))
