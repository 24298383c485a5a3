"""A tracking server with PostgreSQL: writers are killed, the server stops in between, and every run is there once."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from cg_lab.cli import main
from cg_lab.errors import UserError
from cg_lab.tracking import TrackingError, running_server, sync_study
from cg_lab.tracking.server import find_postgres

try:
    find_postgres()
except UserError as error:
    MISSING = str(error)
else:
    MISSING = ""

needs_postgres = pytest.mark.skipif(bool(MISSING), reason=MISSING or "PostgreSQL is there")
KILLS = 5
WRITE = """
import sys
from pathlib import Path
from cg_lab.results import Layout
from cg_lab.tracking import sync_study
sync_study(Layout(Path(sys.argv[1])), sys.argv[2], tracking_uri=sys.argv[3])
"""


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def read_statuses(lab: Any, uri: str) -> dict[str, str]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(lab.plan.study)
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    found = {run.data.tags["cg_lab.key"]: run.info.status for run in runs}
    assert len(found) == len(runs)
    return found


@needs_postgres
@pytest.mark.slow
def test_writers_are_killed_and_the_server_stops_and_every_run_is_there_once(lab: Any, tmp_path: Path) -> None:
    lab.finish()
    dice = random.Random(0)
    port = find_port()
    uri = f"http://127.0.0.1:{port}"
    folder = tmp_path / "server"
    with running_server(folder, "127.0.0.1", port):
        for _ in range(KILLS):
            writer = subprocess.Popen(
                [sys.executable, "-c", WRITE, str(lab.layout.root), lab.plan.study, uri], start_new_session=True
            )
            time.sleep(dice.uniform(1.5, 4))
            if writer.poll() is None:
                os.killpg(writer.pid, signal.SIGKILL)
            writer.wait()
    with pytest.raises(TrackingError, match="refused"):
        sync_study(lab.layout, lab.plan.study, tracking_uri=uri)
    with running_server(folder, "127.0.0.1", port):
        sync_study(lab.layout, lab.plan.study, tracking_uri=uri)
        again = sync_study(lab.layout, lab.plan.study, tracking_uri=uri)
        assert (again.new, again.updated, again.removed) == (0, 0, 0)
        statuses = read_statuses(lab, uri)
        with (
            pytest.raises(UserError, match="runs one with .* already"),
            running_server(folder, "127.0.0.1", find_port()),
        ):
            pass
    keys = {"study", *(f"finetune:{job.id}" for job in lab.plan.finetunes), *(f"cell:{c.key}" for c in lab.plan.cells)}
    assert set(statuses) == keys
    assert set(statuses.values()) == {"FINISHED"}


def test_other_hosts_are_refused_unless_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", f"results_dir={tmp_path}", "--host", "0.0.0.0"]) == 2
    assert "--allow-remote" in capsys.readouterr().err


def test_a_machine_without_postgresql_is_told_which_package_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("pathlib.Path.glob", lambda *_: iter(()))
    with pytest.raises(UserError, match="apt-get install postgresql"):
        find_postgres()
