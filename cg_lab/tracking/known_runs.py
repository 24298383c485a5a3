"""The runs of a study that MLflow has, with all that they say."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cg_lab.tracking.store import FINGERPRINT_TAG, KEY_TAG, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRun:
    """A run that MLflow has."""

    run_id: str
    start_ms: int
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    """The last value of each."""

    @property
    def key(self) -> str:
        """Say what it mirrors."""
        return self.tags[KEY_TAG]

    @property
    def fingerprint(self) -> str:
        """Give the fingerprint of what was mirrored; empty if it was never written to its end."""
        return self.tags.get(FINGERPRINT_TAG, "")


def find_runs(store: Store) -> list[KnownRun]:
    """Read all runs that mirror something."""
    if store.database is not None:
        found = _query_runs(store.database, int(store.experiment_id))
    else:
        found = [
            KnownRun(
                run_id=run.info.run_id,
                start_ms=run.info.start_time or 0,
                tags=run.data.tags,
                params=run.data.params,
                metrics=run.data.metrics,
            )
            for run in store.client.search_runs([store.experiment_id], max_results=50_000)
        ]
    return [run for run in found if KEY_TAG in run.tags]


def _query_runs(database: Path, experiment_id: int) -> list[KnownRun]:
    """Ask the database itself: MLflow's own search takes 4 ms a run."""
    query = "SELECT run_uuid, start_time FROM runs WHERE experiment_id = ? AND lifecycle_stage = 'active'"
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        rows = connection.execute(query, (experiment_id,)).fetchall()
        tags, params, metrics = (
            _query_values(connection, experiment_id, *named)
            for named in (
                ("tags", "named.value"),
                ("params", "named.value"),
                ("latest_metrics", "CASE is_nan WHEN 1 THEN 'nan' ELSE named.value END"),
            )
        )
    return [
        KnownRun(
            run_id=run_id,
            start_ms=start_ms or 0,
            tags=tags.get(run_id, {}),
            params=params.get(run_id, {}),
            metrics={key: float(value) for key, value in metrics.get(run_id, {}).items()},
        )
        for run_id, start_ms in rows
    ]


def _query_values(
    connection: sqlite3.Connection, experiment_id: int, table: str, value: str
) -> dict[str, dict[str, Any]]:
    """Read one kind of values of all active runs, by run."""
    query = f"""
        SELECT named.run_uuid, named.key, {value} FROM {table} AS named JOIN runs ON runs.run_uuid = named.run_uuid
        WHERE runs.experiment_id = ? AND runs.lifecycle_stage = 'active'
    """  # noqa: S608 - names of our own
    found: dict[str, dict[str, Any]] = {}
    for run_id, key, told in connection.execute(query, (experiment_id,)):
        found.setdefault(run_id, {})[key] = told
    return found
