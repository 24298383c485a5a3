"""The MLflow store: its database made once and under a lock, its runs found by their keys."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cg_lab.locks import find_holder, holding
from cg_lab.passwords import HIDDEN, PASSWORD, fill_password, hide_passwords
from cg_lab.results import Layout, identify_results
from cg_lab.tracking.views import KIND_TAGS, SHARE_TAG, VIEWS, build_view_tags

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

KEY_TAG = "cg_lab.key"
"""Says which record a run shows."""
OWNER_TAG = "cg_lab.owner"
"""Says on an experiment whose runs it holds: id of the results folder, and study."""
PLACE_TAG = "cg_lab.results_dir"
"""Where that folder was last."""
FINGERPRINT_TAG = "cg_lab.fingerprint"
"""Written last: a run without it, or with another one than its record's, is brought up to date."""
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing about a study leaves this machine unasked
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines for each run of a server
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # seven take four minutes to find that a server is down
}
"""MLflow's settings, where the user's environment has none."""
LOCK_TIMEOUT_S = 300.0
"""Longest wait for another process's mirroring."""
UNFIT = "%?"
"""Characters that mean something else in the URI of a database."""
MAX_MESSAGE = 300
"""Characters of MLflow's own words in an error."""


class TrackingError(Exception):
    """MLflow could not be brought up to date; results are not touched by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """An open experiment."""

    client: MlflowClient
    experiment_id: str
    database: Path | None
    """The SQLite file; None if runs are kept elsewhere."""


def find_uri(layout: Layout, tracking_uri: str | None) -> str:
    """Give the tracking URI: the one that was set, or the results folder's SQLite file.

    A study's files keep a URI without its password, which is then taken from MLFLOW_TRACKING_PASSWORD.
    """
    if tracking_uri and HIDDEN in tracking_uri and (password := os.environ.get(PASSWORD)):
        return fill_password(tracking_uri, password)
    return tracking_uri or f"sqlite:///{layout.database.resolve()}"


def find_database(uri: str) -> Path | None:
    """Give the file of a SQLite URI; None for other URIs."""
    scheme, _, path = uri.partition(":///")
    return Path(path) if scheme.split("+")[0] == "sqlite" and path else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An open MLflow store."""

    client: MlflowClient
    database: Path | None
    """The SQLite file; None if runs are kept elsewhere."""


@contextmanager
def opening(layout: Layout, study: str, tracking_uri: str | None, experiment: str | None = None) -> Iterator[Store]:
    """Open a study's experiment, alone: other writers wait, so that the database is made once and no run twice.

    Parameters
    ----------
    layout, study
        Whose runs it holds; one that holds those of another results folder is left alone.
    tracking_uri, experiment
        Where, if not in the results folder, and under which name, if not the study's.

    Raises
    ------
    TrackingError
        For everything that MLflow, its database or its server refuses.

    """
    with connecting(layout, tracking_uri) as connection:
        place = None if tracking_uri else (layout.root / "mlartifacts" / study).resolve().as_uri()
        name, owner = experiment or study, describe_owner(layout, study)
        experiment_id = _open_experiment(connection.client, name, place, owner)
        yield Store(client=connection.client, experiment_id=experiment_id, database=connection.database)


@contextmanager
def connecting(layout: Layout, tracking_uri: str | None) -> Iterator[Connection]:
    """Open an MLflow store, alone; a SQLite file that is not there is made.

    Raises
    ------
    TrackingError
        For everything that MLflow, its database or its server refuses.

    """
    uri = find_uri(layout, tracking_uri)
    if HIDDEN in uri:
        raise TrackingError(f"tracking.uri: the password of {uri} is kept in no file; give it as {PASSWORD}")
    database = find_database(uri)
    if database is not None and set(str(database)) & set(UNFIT):
        raise TrackingError(
            f"MLflow can't keep a database at {database}: the path has one of {UNFIT}; give another folder"
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # Its errors come to the caller as exceptions; its own traces of them would spoil the terminal.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    lock = (database or layout.database).with_suffix(".lock")
    try:
        with _writing_alone(lock):
            try:
                yield Connection(client=_connect(uri, database), database=database)
            finally:
                _disconnect(uri, database)
    except ImportError as error:
        raise TrackingError(f"tracking.uri: {hide_passwords(uri)} needs a package: {error}") from error
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise TrackingError(f"{hide_passwords(uri)} refused: {_explain(error)}") from error


@contextmanager
def _writing_alone(lock: Path) -> Iterator[None]:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        with holding(lock) as held:
            if held:
                yield
                return
        if time.monotonic() > deadline:
            raise TrackingError(f"{find_holder(lock)} has held {lock} for {LOCK_TIMEOUT_S:.0f} s")
        time.sleep(0.1)


def _connect(uri: str, database: Path | None) -> MlflowClient:
    from mlflow.tracking import MlflowClient

    if database is not None:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
        from sqlalchemy import event

        database.parent.mkdir(parents=True, exist_ok=True)
        engine = SqlAlchemyStore._get_or_create_engine(uri)  # the one that clients of this process share
        if not event.contains(engine, "connect", _hurry):
            event.listen(engine, "connect", _hurry)
        engine.dispose()  # connections from before may be slow, or to a file that was deleted since
        if not database.exists():
            # A client of this process may remember the database as made; after a deletion it has to be made again.
            SqlAlchemyStore(uri, (database.parent / "mlartifacts").resolve().as_uri())
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _hurry(connection: sqlite3.Connection, _: object) -> None:
    """Let SQLite not wait for the disk, which takes 10 ms each of eight times a run.

    A kill harms nothing. A power cut may, and then the file is deleted and made again from the results.
    """
    connection.execute("PRAGMA synchronous = OFF")


def _disconnect(uri: str, database: Path | None) -> None:
    """Close MLflow's pooled connections: worker processes must not inherit them, and the file may be deleted."""
    if database is not None:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        SqlAlchemyStore._get_or_create_engine(uri).dispose()


def describe_owner(layout: Layout, study: str) -> dict[str, str]:
    """Give the tags that say whose experiment it is."""
    return {OWNER_TAG: f"{identify_results(layout)}/{study}", PLACE_TAG: str(layout.root.resolve())}


def _open_experiment(client: MlflowClient, study: str, place: str | None, owner: dict[str, str]) -> str:
    found = client.get_experiment_by_name(study)
    if found is None:
        tags = {**KIND_TAGS, **build_view_tags(), **owner}
        return client.create_experiment(study, artifact_location=place, tags=tags)
    known = found.tags.get(OWNER_TAG, owner[OWNER_TAG])
    if known != owner[OWNER_TAG]:
        raise TrackingError(
            f"experiment '{study}' holds the runs of study '{known.split('/', 1)[-1]}' in another results folder, "
            f"{found.tags.get(PLACE_TAG)}; mirror this one under another name: tracking.experiment=NAME"
        )
    if place is not None and found.artifact_location.rsplit("/", 1)[0] != place.rsplit("/", 1)[0]:
        raise TrackingError(
            f"experiment '{study}' keeps its artifacts in {found.artifact_location}, not in {place}; if the results "
            "folder was moved, delete mlflow.db and mlartifacts/, and sync builds them again"
        )
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    views = {key: view for key, view in build_view_tags().items() if key not in found.tags}  # others may be changed
    for key, value in (owner | views).items():
        if found.tags.get(key) != value:
            client.set_experiment_tag(found.experiment_id, key, value)
    return found.experiment_id


def count_runs(database: Path, study: str) -> int:
    """Count the runs that mirror a study; needs no MLflow."""
    query = """
        SELECT COUNT(*) FROM experiments JOIN runs ON runs.experiment_id = experiments.experiment_id
        JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = ?
        WHERE experiments.name = ? AND experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active'
    """
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(query, (FINGERPRINT_TAG, study)).fetchone()[0]
    except sqlite3.Error:
        return 0


def list_studies(database: Path) -> dict[str, int]:
    """List experiment numbers of all studies in a SQLite file, by name, the newest first; needs no MLflow."""
    query = """
        SELECT experiments.name, experiments.experiment_id FROM experiments
        JOIN experiment_tags AS tags ON tags.experiment_id = experiments.experiment_id AND tags.key = ?
        WHERE experiments.lifecycle_stage = 'active' ORDER BY experiments.last_update_time DESC
    """
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return dict(connection.execute(query, (f"{SHARE_TAG}{VIEWS[0].key}",)).fetchall())
    except sqlite3.Error:
        return {}


def set_start(store: Store, run_id: str, start_ms: int) -> None:
    """Say when a waiting run began; MLflow's client can't, so a server goes on telling when it was made."""
    if store.database is not None:
        with closing(sqlite3.connect(store.database, timeout=20)) as connection, connection:
            connection.execute("UPDATE runs SET start_time = ? WHERE run_uuid = ?", (start_ms, run_id))


REFUSALS = {
    "Invalid Host header": "the server does not know the name or address that it is asked by; start it with "
    "--allowed-hosts NAME",
    "401": "the server wants a log-in: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    "PERMISSION_DENIED": "this user may not write to the experiment; its owner or the administrator may allow it, or "
    "mirror under another name: tracking.experiment=NAME",
    "403": "the server, or a proxy before it, does not let this user in: a server wants --allowed-hosts NAME, a proxy "
    "its own log-in",
}
"""What a server says in refusing, and what to do; the first that is in its words counts."""


UNREACHED = ("Max retries exceeded", "Connection refused", "could not translate host name")
"""What clients say when nobody is there, after which they print their own objects."""


def _explain(error: Exception) -> str:
    """Give MLflow's own words, without passwords, and what would be right where a server let nobody in."""
    said = str(error)
    if any(sign in said for sign in UNREACHED):
        return "no server answers there; `server` or `ui` start one, tracking.uri=URI names another, tracking=none none"
    told = next((advice for sign, advice in REFUSALS.items() if re.search(rf"\b{sign}\b", said)), "")
    return f"{_first_line(error)}; {told}" if told else _first_line(error)


def _first_line(error: Exception) -> str:
    words = hide_passwords(str(error))
    line = next((line.strip() for line in words.splitlines() if line.strip()), type(error).__name__)
    return line if len(line) <= MAX_MESSAGE else f"{line[:MAX_MESSAGE]} ..."
