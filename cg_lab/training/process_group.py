"""Run a command in a process group that ends with whoever started it; a script of its own, of the standard library.

    python process_group.py COMMAND ARGUMENT...

Its standard input is a pipe that nothing is written to. When the other end closes, because the process that holds it
was killed, the group is asked to end, and killed.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

GRACE_S = 20.0
"""Between asking and killing."""


def main() -> int:
    """Give the command's exit status; 128 and more after a signal, as a shell does."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # meant for the command, which does not inherit this
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    while child.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], 0.1)
        if readable and not os.read(sys.stdin.fileno(), 1):
            end(child)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def end(child: subprocess.Popen[bytes]) -> None:
    """End the group, this process too."""
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
