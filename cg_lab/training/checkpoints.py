"""When a checkpoint is saved, and which one a fine-tune goes on from: what can't be read is passed over."""

from __future__ import annotations

import json
import math
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.trainer_utils import get_last_checkpoint

BETWEEN_FAILURES_S = 86_400.0
"""Seconds between two failures of a fine-tune that come without a warning, as is assumed: a day."""
LONGEST_S = 3_600.0
"""The most that a failure may cost."""


class SaveClock:
    """Says when a checkpoint is due: as often as its cost allows.

    By Young's interval (1974, Commun. ACM 17(9)), sqrt(2 x cost x time between failures), the time that goes into
    saving is as much as what failures cost. The cost is that of the last save; before the first one nothing is known
    of it.
    """

    def __init__(self, shortest_s: float, began: float) -> None:
        self.shortest_s = shortest_s
        self.interval_s = shortest_s
        self._saved_at = self._saves_from = began

    def is_due(self) -> bool:
        """Tell whether a checkpoint is due."""
        return time.monotonic() - self._saved_at > self.interval_s

    def begin(self) -> None:
        """Take note that a save begins."""
        self._saves_from = time.monotonic()

    def end(self) -> float:
        """Take note that it has ended, and give the seconds that it took."""
        self._saved_at = time.monotonic()
        cost = self._saved_at - self._saves_from
        self.interval_s = choose_interval(cost, self.shortest_s)
        return cost


def choose_interval(cost: float, shortest: float) -> float:
    """Give the seconds between two checkpoints, of which one takes `cost` seconds.

    >>> choose_interval(0.01, 30), choose_interval(3, 30), choose_interval(600, 30), choose_interval(600, 1e9)
    (41.569219381653056, 720.0, 3600.0, 1000000000.0)

    """
    return max(shortest, min(math.sqrt(2 * cost * BETWEEN_FAILURES_S), LONGEST_S))


def find_checkpoint(folder: Path, event: Callable[..., None]) -> str | None:
    """Find the last whole checkpoint; one that was cut off is told and removed.

    Parameters
    ----------
    folder
        Of the checkpoints.
    event
        Takes an event's name and its facts; writes a line of the job's journal.

    """
    while folder.is_dir() and (found := get_last_checkpoint(str(folder))) is not None:
        if _is_whole(Path(found)):
            return found
        event("checkpoint_removed", reason="it can't be read whole", checkpoint=Path(found).name)
        shutil.rmtree(found)
    return None


def _is_whole(checkpoint: Path) -> bool:
    """Tell whether a checkpoint was written to its end, state last, and no file of it was cut off since."""
    try:
        for file in checkpoint.glob("*.safetensors"):
            with safe_open(file, framework="pt"):
                pass
        if not all(zipfile.is_zipfile(file) for file in checkpoint.glob("*.pt")):
            return False
        return "global_step" in json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError, SafetensorError):
        return False
