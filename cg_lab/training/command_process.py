"""The process of a trainer's command: its output goes on, it is ended when asked, and it outlives nobody."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.passwords import hide_passwords
from cg_lab.training.process_group import GRACE_S

GUARD = Path(__file__).with_name("process_group.py")
POLL_S = 0.2
KEPT_LINES = 6
KEPT_CHARACTERS = 2_000
NOT_FOUND = (126, 127)
"""Exit statuses of a program that can't be run."""


class CommandFailedError(Exception):
    """A trainer's command ended with an exit status other than 0; its last lines are the message."""


class CommandProcess:
    """A command that runs."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it in a process group of its own, which ends with this process however that ends."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(GUARD), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=dict(environment), start_new_session=True,
        )  # fmt: skip
        self._has_spoken = False
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def follow(self, is_stopping: Callable[..., bool], look: Callable[[], bool]) -> None:
        """Wait for the end.

        Parameters
        ----------
        is_stopping
            Asked again and again, with `gives_sign` whether the command has given one since.
        look
            Looks at what the command leaves; true if there is something new.

        Raises
        ------
        InterruptedByUserError
            If it was asked to stop; the command was ended.
        CommandFailedError
            If its exit status is not 0.

        """
        try:
            while self._process.poll() is None:
                time.sleep(POLL_S)
                has_spoken, self._has_spoken = self._has_spoken, False
                if is_stopping(gives_sign=look() or has_spoken):
                    self._end()
                    raise InterruptedByUserError("stopped; the trainer's last checkpoint is left")
        finally:
            self._signal(signal.SIGKILL)  # also what the command has left running
            self._process.wait()
            self._close()
        if self._process.returncode:
            raise CommandFailedError(self._tell_end(self._process.returncode))

    def _close(self) -> None:
        self._reader.join(timeout=5)
        for pipe in (self._process.stdin, *([] if self._reader.is_alive() else [self._process.stdout])):
            if pipe is not None:
                pipe.close()

    def _end(self) -> None:
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=GRACE_S)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _tell_end(self, status: int) -> str:
        how = (
            f"signal {signal.Signals(status - 128).name}" if status - 128 in set(signal.Signals) else f"status {status}"
        )
        said = " | ".join(self._last)[-KEPT_CHARACTERS:]
        return f"finetune.command ended with {how}; it said last: {said or 'nothing'}"

    def _read(self) -> None:
        """Pass on what the command prints, a line at a time, also of progress bars."""
        assert self._process.stdout is not None
        rest = b""
        while part := os.read(self._process.stdout.fileno(), 65_536):
            self._has_spoken = True
            *lines, rest = re.split(rb"[\r\n]+", rest + part)
            self._pass_on(lines)
        self._pass_on([rest])

    def _pass_on(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            if text := hide_passwords(line.decode(errors="replace")).rstrip():
                sys.stdout.write(f"{text}\n")  # the log of the task
                sys.stdout.flush()
                self._last.append(text)


def find_program(words: Sequence[str], path: str) -> str:
    """Find the program of a command.

    Raises
    ------
    UserError
        If there is none.

    """
    found = shutil.which(words[0], path=path)
    if found is None:
        raise UserError(
            f"finetune.command: no program '{words[0]}' on this machine; install the trainer beside cg_lab, or give "
            "its whole path"
        )
    return found


def find_path() -> str:
    """Give where programs are looked for: beside this Python first, as in an environment that is activated."""
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
