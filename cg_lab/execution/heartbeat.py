"""Signs of life of packs: the time of a pack's trace, which each event and each step of a job sets anew."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cg_lab.execution.packs import Order
from cg_lab.study import DebugSettings

GAPS = 20
"""How many times its longest gap so far a process may be silent."""
DECLARED = 10
"""How many times the declared time of an evaluation, which gives no sign between its begin and its end."""
MOST_PAUSE_S = 120.0
"""Between two looks; after a longer one, as of a machine that slept, nobody knows what was not heard."""


def beat(trace: Path) -> None:
    """Give a sign; a file system that is full or away stops no work."""
    with suppress(OSError):
        os.utime(trace)


def read_beat(trace: Path) -> float:
    """Give the time of a pack's last sign, in seconds since 1970; 0 if it gave none."""
    try:
        return trace.stat().st_mtime
    except OSError:
        return 0.0


def find_patience(order: Order, declared_s: float, longest_gap_s: float = 0.0) -> float | None:
    """Give how many seconds of silence a process's steps explain; None for any.

    Parameters
    ----------
    order
        Says the least, `cluster.silence_min`.
    declared_s
        What the evaluation that it is at takes by the model's declared rates; 0 for a fine-tune, whose steps tell.
    longest_gap_s
        Longest time between two of its signs so far.

    """
    if isinstance(order.cluster, DebugSettings) or order.cluster.silence_min is None:
        return None
    return max(order.cluster.silence_min * 60, DECLARED * declared_s, GAPS * longest_gap_s)


@dataclass(slots=True, kw_only=True)
class Pulse:
    """What was heard of one pack, by the listener's own clock: those of two machines may differ."""

    last: float = 0.0
    """Time of the last sign, as its file has it."""
    heard: float | None = None
    """When it was noticed; None before the first look."""
    looked: float = 0.0
    longest_gap_s: float = 0.0

    def listen(self, trace: Path, now: float, *, is_running: bool) -> float:
        """Look for a sign; gives the seconds of silence, 0 for a process that does not run."""
        found, is_late = read_beat(trace), now - self.looked > MOST_PAUSE_S
        self.looked = now
        if self.heard is None or not is_running or is_late:
            self.last, self.heard = found, now
        elif found != self.last:
            self.longest_gap_s = max(self.longest_gap_s, now - self.heard)
            self.last, self.heard = found, now
        return now - self.heard
