"""The experiments of a results folder as a whole: which jobs they show, and what becomes of a study's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from cg_lab.results import Layout
from cg_lab.serialize import read_json
from cg_lab.tracking.store import (
    OWNER_TAG,
    Connection,
    TrackingError,
    connecting,
    describe_owner,
    find_database,
    find_uri,
)

JOB_TAGS = ("eval_job", "finetune_job")
"""Of runs: cells have both, fine-tunes the second."""


def list_shown_jobs(layout: Layout, tracking_uri: str | None, known: Collection[str]) -> frozenset[str]:
    """List the jobs that runs of this results folder show, of studies that it has no plan of any more.

    Parameters
    ----------
    layout, tracking_uri
        Whose runs, and where if not in the results folder.
    known
        Studies that have a plan, whose runs tell nothing more.

    Raises
    ------
    TrackingError
        If MLflow can't be asked.

    """
    owner = read_json(layout.stamp).get("id") if layout.stamp.exists() else None
    database = find_database(find_uri(layout, tracking_uri))
    if owner is None or (database is not None and not database.exists()):
        return frozenset()
    if database is not None:
        return _query_jobs(database, owner, known)
    with connecting(layout, tracking_uri) as connection:
        return _ask_jobs(connection, owner, known)


def _query_jobs(database: Path, owner: str, known: Collection[str]) -> frozenset[str]:
    query = """
        SELECT DISTINCT owner.value, tags.key, tags.value FROM experiments
        JOIN experiment_tags AS owner ON owner.experiment_id = experiments.experiment_id AND owner.key = ?
        JOIN runs ON runs.experiment_id = experiments.experiment_id JOIN tags ON tags.run_uuid = runs.run_uuid
        WHERE experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active' AND tags.key IN (?, ?)
    """
    gone = f"{owner}/"
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(query, (OWNER_TAG, *JOB_TAGS)).fetchall()
    except sqlite3.Error as error:
        raise TrackingError(f"{database} can't be read: {error}") from error
    return frozenset(
        job_id for name, _, job_id in rows if name.startswith(gone) and name.removeprefix(gone) not in known
    )


def _ask_jobs(connection: Connection, owner: str, known: Collection[str]) -> frozenset[str]:
    client, jobs = connection.client, set[str]()
    for experiment in client.search_experiments(filter_string=f"tags.`{OWNER_TAG}` LIKE '{owner}/%'"):
        if experiment.tags[OWNER_TAG].split("/", 1)[-1] in known:
            continue
        for run in client.search_runs([experiment.experiment_id], max_results=50_000):
            jobs |= {run.data.tags[key] for key in JOB_TAGS if key in run.data.tags}
    return frozenset(jobs)


def rename_experiment(
    layout: Layout, before: str, after: str, tracking_uri: str | None, experiment: str | None
) -> bool:
    """Let a study's experiment go by the study's new name; false if it has none.

    Parameters
    ----------
    layout, before, after
        The study, and its names.
    tracking_uri, experiment
        Where, if not in the results folder, and under which name, if not the study's; that name stays.

    Raises
    ------
    TrackingError
        If MLflow refuses, as where another experiment has the name.

    """
    if not _has_store(layout, tracking_uri):
        return False
    with connecting(layout, tracking_uri) as connection:
        found = connection.client.get_experiment_by_name(experiment or before)
        if found is None or found.tags.get(OWNER_TAG) != describe_owner(layout, before)[OWNER_TAG]:
            return False
        for key, value in describe_owner(layout, after).items():
            connection.client.set_experiment_tag(found.experiment_id, key, value)
        if experiment is None:
            connection.client.rename_experiment(found.experiment_id, after)
        return True


def delete_experiment(layout: Layout, study: str, tracking_uri: str | None, experiment: str | None) -> bool:
    """Move a study's experiment to MLflow's deleted ones, from where it can be restored; false if it has none.

    Raises
    ------
    TrackingError
        If MLflow refuses.

    """
    if not _has_store(layout, tracking_uri):
        return False
    with connecting(layout, tracking_uri) as connection:
        found = connection.client.get_experiment_by_name(experiment or study)
        if found is None or found.tags.get(OWNER_TAG) != describe_owner(layout, study)[OWNER_TAG]:
            return False
        connection.client.delete_experiment(found.experiment_id)
        return True


def _has_store(layout: Layout, tracking_uri: str | None) -> bool:
    database = find_database(find_uri(layout, tracking_uri))
    return database is None or database.exists()
