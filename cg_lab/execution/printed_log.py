"""What a process printed about one job, found from the end of a log of any size."""

from __future__ import annotations

import mmap
from pathlib import Path

from cg_lab.journal import read_end

TAIL_BYTES = 32_000
"""Of the end of what is shown; a progress bar may have written gigabytes without one line's end."""


def read_printed(log: Path, job_id: str, most_lines: int) -> list[str]:
    """Read the last lines that a process printed while it was at a job: from the line that names it to its end.

    The file is searched backwards in memory that the system maps; what is read of it is `TAIL_BYTES` at most.
    """
    try:
        with log.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = content.rfind(f"job {job_id} started\n".encode())
            if start < 0:
                return []
            start = content.rfind(b"\n", 0, start) + 1
            done = f"job {job_id} done\n".encode()
            found = content.find(done, start)
            end = len(content) if found < 0 else found + len(done)
            return _split(content[max(start, end - TAIL_BYTES) : end], most_lines)
    except (FileNotFoundError, ValueError):  # an empty file can't be mapped
        return []


def read_tail(log: Path, most_lines: int) -> list[str]:
    """Read the last lines of a log; nothing if there is none."""
    return _split(read_end(log, TAIL_BYTES), most_lines)


def _split(payload: bytes, most_lines: int) -> list[str]:
    return payload.decode("utf-8", errors="replace").splitlines()[-most_lines:]
