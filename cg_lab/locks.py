"""Locks that die with their process, so that nothing has to be cleaned up after a kill."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cg_lab.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that holds a lock."""

    pid: int
    """0 if it has not said so yet."""
    host: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine."""
        return self.pid > 0 and self.host == socket.gethostname()


@contextmanager
def holding(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold a lock; gives False if another process has it, unless `wait` says to wait until it is free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            raise UserError(
                f"results_dir: the file system of {path.parent} has no locks (flock: {error.strerror}), without which "
                "two processes would do the same work; have it mounted with them (Lustre: -o flock), or give another "
                "folder: results_dir=PATH"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()} {socket.gethostname()}")
        file.flush()
        yield True


def find_holder(path: Path) -> Holder | None:
    """Give the process that holds a lock; None if none does, or if the file system or its rights do not let us ask."""
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, _, host = file.read().strip().partition(" ")
                return Holder(pid=int(pid) if pid.isdigit() else 0, host=host)
    except OSError:
        return None
    return None
