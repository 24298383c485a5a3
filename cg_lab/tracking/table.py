"""All runs of a study as one table, read from MLflow's database itself: paging through its client takes 4 ms a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from cg_lab.passwords import hide_passwords
from cg_lab.tracking.store import TrackingError

RUNS = """
    SELECT runs.run_uuid, runs.name, runs.status, runs.start_time, runs.end_time FROM runs
    JOIN experiments ON experiments.experiment_id = runs.experiment_id
    WHERE experiments.name = :study AND experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active'
"""
VALUES = """
    SELECT part.run_uuid, part.key, part.value FROM {table} AS part
    JOIN runs ON runs.run_uuid = part.run_uuid JOIN experiments ON experiments.experiment_id = runs.experiment_id
    WHERE experiments.name = :study AND experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active'
"""
PARTS = {"params": "params", "metrics": "latest_metrics", "tags": "tags"}
"""Prefixes of columns, as `mlflow.search_runs` names them, and the tables that they stand in."""


def read_runs(uri: str, study: str) -> pd.DataFrame:
    """Read a study's runs.

    Parameters
    ----------
    uri
        Of a database that MLflow keeps runs in: `sqlite:///...` or `postgresql://...`; not of a server.
    study
        Name of the study, and of MLflow's experiment.

    Returns
    -------
    A row for each run: `run_id`, `name`, `status`, `start_time`, `end_time` (UTC), and `params.*`, `metrics.*`,
    `tags.*` as `mlflow.search_runs` names them.

    Raises
    ------
    TrackingError
        If there is no such database.

    """
    try:
        engine = create_engine(uri)
        try:
            with engine.connect() as connection:
                runs = _fetch(connection, RUNS, study)
                parts = {
                    prefix: _fetch(connection, VALUES.format(table=table), study) for prefix, table in PARTS.items()
                }
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        raise TrackingError(
            f"{hide_passwords(uri)} can't be read: {hide_passwords(str(error)).splitlines()[0]}"
        ) from None
    index = [run[0] for run in runs]
    frame = pd.DataFrame(runs, columns=["run_id", "name", "status", "start_time", "end_time"])
    for name in ("start_time", "end_time"):
        frame[name] = pd.to_datetime(frame[name], unit="ms", utc=True)
    columns = {name: values for prefix, rows in parts.items() for name, values in _gather(prefix, rows, index)}
    return pd.concat([frame, pd.DataFrame(columns)], axis=1)


def _fetch(connection: Connection, query: str, study: str) -> list[Any]:
    """Take the driver's own rows, which are plain tuples."""
    return connection.execute(text(query), {"study": study}).cursor.fetchall()  # type: ignore[union-attr]


def _gather(prefix: str, rows: Iterable[Any], index: list[str]) -> Iterable[tuple[str, list[object]]]:
    """Lay values out by key, one for each run."""
    places = {run: place for place, run in enumerate(index)}
    columns: dict[str, list[object]] = {}
    for run, key, value in rows:
        if key not in columns:
            columns[key] = [None] * len(index)
        columns[key][places[run]] = value
    return ((f"{prefix}.{key}", columns[key]) for key in sorted(columns))
