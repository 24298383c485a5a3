"""The MLflow store: opened once, its database made under a lock."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cg_lab.locks import holding
from cg_lab.results import Layout

KEY_TAG = "cg_lab.key"
FINGERPRINT_TAG = "cg_lab.fingerprint"
STEP_TAG = "cg_lab.last_step"


class TrackingError(Exception):
    """MLflow could not be brought up to date; results are not touched by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """An open experiment."""

    client: Any
    experiment_id: str


def store_uri(layout: Layout, tracking_uri: str | None) -> str:
    """Give the tracking URI: the one that was set, or the results folder's SQLite file."""
    return tracking_uri or f"sqlite:///{layout.database.resolve()}"


@contextmanager
def opening(layout: Layout, study: str, tracking_uri: str | None) -> Iterator[Store]:
    """Open a study's experiment, alone: other writers wait, so that the database is made once and no run twice.

    Raises
    ------
    TrackingError
        For everything that MLflow, its database or its server refuses.

    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with holding(layout.root / "mlflow.lock", wait=True):
            uri = store_uri(layout, tracking_uri)
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            experiment = client.get_experiment_by_name(study)
            if experiment is None:
                place = None if tracking_uri else (layout.root / "mlartifacts" / study).resolve().as_uri()
                experiment_id = client.create_experiment(study, artifact_location=place)
            else:
                experiment_id = experiment.experiment_id
            yield Store(client=client, experiment_id=experiment_id)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise TrackingError(str(error).splitlines()[0]) from error
