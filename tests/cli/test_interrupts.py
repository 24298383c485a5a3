"""Ctrl-C that arrives where Python lets no exception out."""

import subprocess
import sys

import pytest

from cg_lab.cli import main

LOST_IN_A_CALLBACK = """
import signal, time, weakref
from cg_lab.cli.interrupts import repeat_lost_interrupts
repeat_lost_interrupts()
class Thing: pass
thing = Thing()
seen = weakref.ref(thing, lambda _: (signal.raise_signal(signal.SIGINT), time.sleep(0)))
try:
    del thing
    time.sleep(20)
    print("lost")
except KeyboardInterrupt:
    print("stopped")
"""


def test_a_ctrl_c_that_comes_in_a_weak_references_callback_stops_the_command_all_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST_IN_A_CALLBACK], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "stopped\n"
    assert done.stderr == ""


def test_other_faults_there_are_printed_as_python_does() -> None:
    code = LOST_IN_A_CALLBACK.replace("signal.raise_signal(signal.SIGINT)", "1 / 0").replace("sleep(20)", "sleep(0.2)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "lost\n"
    assert "ZeroDivisionError" in done.stderr


def test_an_interrupt_that_a_library_puts_into_its_own_words_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: list[str]) -> None:
        raise ValueError("Error building validator:\n  KeyboardInterrupt: ")

    monkeypatch.setattr("cg_lab.cli.parse_arguments", fail)
    assert main(["plan"]) == 130
    assert capsys.readouterr().err == "\nstopped\n"
