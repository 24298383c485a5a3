"""What is shown while images are opened for the first time."""

from __future__ import annotations

import sys
import time

SPEAK_EVERY_S = 5.0


class ReadingProgress:
    """A line now and then on stderr; nothing where it is quickly done."""

    def __init__(self) -> None:
        self._begun = self._spoken_at = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Tell how many images of how many have been opened."""
        now = time.monotonic()
        if now - self._spoken_at < SPEAK_EVERY_S:
            return
        self._spoken_at = now
        left = (now - self._begun) / done * (total - done)
        print(f"opening images: {done:,} of {total:,}, about {left:.0f} s left", file=sys.stderr, flush=True)
