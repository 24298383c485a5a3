"""Fine-tuned models as MLflow's logged models: one for each fine-tune's run, found again by it; no weights are copied.

A model and its tags are made in one transaction, and whoever writes knows all models of the experiment, so that a
writer that was killed at any moment leaves at most what the next one goes on with.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cg_lab.tracking.record import Record
from cg_lab.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

JOB_TAG = "finetune_job"
"""Tells a model that mirrors something from those of users."""
WEIGHTS_TAG = "weights"
NOT_KEPT = "not kept"
UNFIT = str.maketrans(dict.fromkeys("/:.%\"'", "_"))
"""Characters that a model's name may not have."""
PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model that MLflow has."""

    model_id: str
    run_id: str
    """Of the fine-tune that made it."""
    job_id: str
    weights: str
    is_ready: bool


class Models:
    """The models of an open experiment; they are read when they are first needed."""

    def __init__(self, store: Store, run_ids: Collection[str]) -> None:
        """Take the runs that are there: a model of any other one is deleted."""
        self._store = store
        self._run_ids = frozenset(run_ids)
        self._has_made = False

    @cached_property
    def _by_job(self) -> dict[str, KnownModel]:
        found = list(_find_models(self._store))
        known = {model.job_id: model for model in found if model.run_id in self._run_ids}
        self._delete_others(found, known)
        return known

    def _delete_others(self, found: Iterable[KnownModel], known: dict[str, KnownModel]) -> None:
        kept = {model.model_id for model in known.values()}
        for model in found:
            if model.model_id not in kept:
                self._store.client.delete_logged_model(model.model_id)

    def find(self, job_id: str) -> str | None:
        """Find the model that a fine-tune made, by the fine-tune's id."""
        model = self._by_job.get(job_id)
        return model.model_id if model else None

    def bring(self, client: MlflowClient, run: Run, record: Record) -> None:
        """Bring the model of a finished fine-tune's run to what its record says."""
        from mlflow.entities import LoggedModelOutput

        run_id = run.info.run_id
        weights = record.weights or NOT_KEPT
        model = self._by_job.get(record.job_id) or self._make(client, run_id, record, weights)
        if model.weights != weights:
            client.set_logged_model_tags(model.model_id, {WEIGHTS_TAG: weights})
        if not model.is_ready:
            client.finalize_logged_model(model.model_id, "READY")
        if not (run.outputs and run.outputs.model_outputs):
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        self._by_job[record.job_id] = replace(model, weights=weights, is_ready=True)

    def _make(self, client: MlflowClient, run_id: str, record: Record, weights: str) -> KnownModel:
        known = {name: record.tags[name] for name in ("study", "backbone", "sources", "seed")}
        made = client.create_logged_model(
            self._store.experiment_id,
            name=record.name.translate(UNFIT),
            source_run_id=run_id,
            tags={**known, JOB_TAG: record.job_id, WEIGHTS_TAG: weights},
        )
        self._has_made = True
        return KnownModel(model_id=made.model_id, run_id=run_id, job_id=record.job_id, weights=weights, is_ready=False)

    def drop(self, run_id: str) -> None:
        """Delete the model of a run that is about to be deleted."""
        for model in [model for model in self._by_job.values() if model.run_id == run_id]:
            self._store.client.delete_logged_model(model.model_id)
            del self._by_job[model.job_id]

    def tidy(self) -> None:
        """Delete models that a server made twice, being asked again because its answer was lost."""
        if self._has_made:
            self._delete_others(_find_models(self._store), self._by_job)


def _find_models(store: Store) -> Iterable[KnownModel]:
    """Read all models that mirror something, in the order in which they were made."""
    if store.database is not None:
        return _query_models(store.database, int(store.experiment_id))
    return _page_models(store)


def _page_models(store: Store) -> Iterable[KnownModel]:
    token: str | None = None
    order = [{"field_name": "creation_timestamp", "ascending": True}]
    while True:
        page = store.client.search_logged_models(
            [store.experiment_id], max_results=PAGE, order_by=order, page_token=token
        )
        for model in page:
            if JOB_TAG in model.tags and model.source_run_id:
                yield KnownModel(
                    model_id=model.model_id,
                    run_id=model.source_run_id,
                    job_id=model.tags[JOB_TAG],
                    weights=model.tags.get(WEIGHTS_TAG, ""),
                    is_ready=model.status == "READY",
                )
        token = page.token
        if not token:
            return


def _query_models(database: Path, experiment_id: int) -> list[KnownModel]:
    from mlflow.entities import LoggedModelStatus

    query = """
        SELECT models.model_id, models.source_run_id, job.tag_value, COALESCE(weights.tag_value, ''), models.status
        FROM logged_models AS models
        JOIN logged_model_tags AS job ON job.model_id = models.model_id AND job.tag_key = ?
        LEFT JOIN logged_model_tags AS weights ON weights.model_id = models.model_id AND weights.tag_key = ?
        WHERE models.experiment_id = ? AND models.lifecycle_stage = 'active' AND models.source_run_id IS NOT NULL
        ORDER BY models.creation_timestamp_ms
    """
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        rows = connection.execute(query, (JOB_TAG, WEIGHTS_TAG, experiment_id)).fetchall()
    ready = LoggedModelStatus.READY.to_int()
    return [
        KnownModel(model_id=row[0], run_id=row[1], job_id=row[2], weights=row[3], is_ready=row[4] == ready)
        for row in rows
    ]
