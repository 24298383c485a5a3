"""New runs that are inserted together, against what MLflow's own client makes of the same records."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cg_lab.tracking import new_runs, sync

NAMED = {
    "SELECT run_uuid, value FROM tags WHERE key = 'cg_lab.key'",
    "SELECT model_id, 'model of ' || name FROM logged_models",
    "SELECT dataset_uuid, name || digest FROM datasets",
    "SELECT input_uuid, '' FROM inputs",
}
"""What stands for each of MLflow's random numbers."""
TABLES = (
    "runs", "tags", "params", "metrics", "latest_metrics", "datasets", "inputs", "input_tags", "logged_models",
    "logged_model_tags",
)  # fmt: skip
OF_THE_DATABASE = "(creation|last_updated)_timestamp_ms|experiment_id"
"""Columns that differ from one database to the next."""


def read_tables(database: Path) -> dict[str, list[str]]:
    """Read all that is known of runs, with names in the place of random numbers."""
    with closing(sqlite3.connect(database)) as connection:
        names = {number: name for query in NAMED for number, name in connection.execute(query)}
        number = re.compile("|".join(names))
        found: dict[str, list[str]] = {}
        for table in TABLES:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            kept = [name for name in columns if not re.fullmatch(OF_THE_DATABASE, name)]
            rows = connection.execute(f"SELECT {', '.join(kept)} FROM {table}").fetchall()
            found[table] = sorted(number.sub(lambda match: names[match[0]], repr(row)) for row in rows)
    return found


def read_files(folder: Path) -> list[tuple[str, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted((path.name, path.read_bytes()) for path in files)


def test_every_row_and_file_is_what_mlflows_own_client_writes(lab: Any, through_client: Any) -> None:
    lab.finish()
    failed, waiting, diverged = lab.plan.finetunes
    shutil.rmtree(lab.layout.job(failed.id))
    lab.fail(failed.id, "out of luck " * 1000)
    shutil.rmtree(lab.layout.job(waiting.id))
    lab.log_steps(diverged.id, {40: float("nan"), 50: float("inf"), 60: 0.5}, at_s=9)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("time.time", lambda: 1.8e9)  # when runs that wait are said to begin
        lab.sync()
        together = read_tables(lab.layout.database), read_files(lab.layout.root / "mlartifacts")
        lab.layout.database.unlink()
        shutil.rmtree(lab.layout.root / "mlartifacts")
        through_client()
        lab.sync()

    alone = read_tables(lab.layout.database), read_files(lab.layout.root / "mlartifacts")
    assert all(alone[0].values())
    assert together == alone


def test_more_runs_than_one_transaction_takes_are_all_there(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.finish()
    monkeypatch.setattr(new_runs, "AT_ONCE", 2)

    total = lab.sync().total

    assert len(lab.search()) == total
    assert len(lab.list_models()) == len(lab.plan.finetunes)


def test_of_a_writer_that_was_killed_there_are_whole_runs_or_none(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.finish()
    monkeypatch.setattr(new_runs, "AT_ONCE", 2)
    whole, made = sync.create_run, []

    def make_three(*arguments: Any) -> None:
        made.append(arguments)
        whole(*arguments)
        if len(made) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(sync, "create_run", make_three)
    with pytest.raises(KeyboardInterrupt):
        lab.sync()
    monkeypatch.undo()

    assert len(lab.search()) == 2
    report = lab.sync()
    assert (report.new, report.updated) == (report.total - 2, 0)
    assert len(lab.list_models()) == len(lab.plan.finetunes)
