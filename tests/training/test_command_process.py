"""A trainer's command: what it prints is kept, it ends when it is asked to, and it outlives nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.training.command_process import CommandFailedError, CommandProcess, find_path, find_program

PATIENCE_S = 20.0
PARENT_AND_CHILD = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(60)
"""
STARTER = """
import sys
from cg_lab.training.command_process import CommandProcess
CommandProcess([sys.executable, *sys.argv[1:]], {}).follow(lambda **_: False, lambda: False)
"""


def run(code: str, is_stopping: Callable[..., bool] = lambda **_: False, *arguments: str) -> None:
    process = CommandProcess([sys.executable, "-c", code, *arguments], dict(os.environ))
    process.follow(is_stopping, lambda: False)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def read_pids(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def test_what_a_command_prints_goes_into_the_log_of_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    run("import sys; print('step 1'); print('epoch', file=sys.stderr)")
    assert {"step 1", "epoch"} <= set(capsys.readouterr().out.splitlines())


def test_a_failure_is_told_with_its_status_and_the_last_lines() -> None:
    code = "import sys\nfor n in range(40): print('line', n)\nsys.exit(3)"
    with pytest.raises(CommandFailedError, match=r"status 3; it said last: line 34 .* line 39$"):
        run(code)


def test_a_command_that_a_signal_took_is_told_by_its_name() -> None:
    with pytest.raises(CommandFailedError, match="signal SIGKILL"):
        run("import os; os.kill(os.getpid(), 9)")


def test_no_password_gets_into_the_log_or_the_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "swordfish")
    with pytest.raises(CommandFailedError) as told:
        run("import sys; print('http://me:swordfish@host'); sys.exit(1)")
    assert "swordfish" not in str(told.value) + capsys.readouterr().out


def test_asked_to_stop_a_command_may_save_and_its_children_go_with_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    saving = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\n"
    with pytest.raises(InterruptedByUserError):
        run(saving + PARENT_AND_CHILD, lambda **_: len(read_pids(pids)) == 2, str(pids))
    assert wait_for(lambda: not any(map(is_alive, read_pids(pids))))


def test_a_command_and_its_children_end_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    words = [sys.executable, "-c", STARTER, "-c", PARENT_AND_CHILD, str(pids)]
    with subprocess.Popen(words) as worker:
        assert wait_for(lambda: len(read_pids(pids)) == 2)
        worker.send_signal(signal.SIGKILL)
    assert wait_for(lambda: not any(map(is_alive, read_pids(pids))))


def test_only_what_a_command_prints_or_saves_is_a_sign_of_life() -> None:
    signs: list[bool] = []

    def note(*, gives_sign: bool) -> bool:
        signs.append(gives_sign)
        return False

    run("import time; time.sleep(0.7); print('x', flush=True); time.sleep(0.7)", note)
    assert sum(signs) <= 2
    assert len(signs) > 4
    assert any(signs)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="no program 'no-such-trainer'"):
        find_program(["no-such-trainer"], find_path())
