"""Opening the UI: where it listens, and what it refuses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cg_lab.errors import UserError
from cg_lab.results import Layout
from cg_lab.tracking import build_ui_command
from cg_lab.tracking.ui import list_links


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.database.touch()
    return made


def test_the_ui_listens_to_this_machine_alone(layout: Layout) -> None:
    built = build_ui_command(layout)

    assert built.command[built.command.index("--host") + 1] == "127.0.0.1"
    assert built.url == f"http://127.0.0.1:{built.port}"
    assert f"sqlite:///{layout.database}" in built.command


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7"])
def test_other_machines_are_let_in_only_on_request(layout: Layout, host: str) -> None:
    with pytest.raises(UserError, match="--allow-remote"):
        build_ui_command(layout, host=host)


def test_other_machines_are_let_in_on_request(layout: Layout) -> None:
    assert "0.0.0.0" in build_ui_command(layout, host="0.0.0.0", allow_remote=True).command


def test_a_taken_port_gives_the_next_free_one(layout: Layout) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert build_ui_command(layout, port=port).port > port


def test_without_a_database_one_is_told_to_run_a_sweep(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run a sweep first"):
        build_ui_command(Layout(tmp_path))


def test_a_tracking_server_has_a_ui_of_its_own(layout: Layout) -> None:
    with pytest.raises(UserError, match="open it in a browser"):
        build_ui_command(layout, uri="http://127.0.0.1:5000")


def test_a_file_that_is_no_database_gives_no_links(layout: Layout) -> None:
    assert list_links(layout, build_ui_command(layout)) == ()


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGHUP])
def test_the_ui_serves_a_study_and_ends_with_its_server(lab: Any, sign: signal.Signals) -> None:
    lab.finish()
    lab.sync()
    code = (
        "import sys; from pathlib import Path; from cg_lab.results import Layout; from cg_lab.tracking import run_ui\n"
        f"layout = Layout(Path({str(lab.layout.root)!r}))\n"
        "sys.exit(run_ui(layout, port=5600, tell=lambda line: print(line, flush=True)))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        while "/runs?" not in lines[-1]:
            lines.append(process.stdout.readline())
        address = lines[-1].split(": ", 1)[1].split("#")[0]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert answer.status == 200
        os.kill(process.pid, sign)
        assert process.wait(30) == 0

    time.sleep(0.5)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(address.split(":")[2].strip("/")))) != 0
