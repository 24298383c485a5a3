"""What a check finds: whether it is well, what was seen, and the way out where it is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Status(IntEnum):
    """How well something is; the worse, the larger."""

    OK = 0
    WARNING = 1
    FAULT = 2

    @property
    def word(self) -> str:
        """As it is told."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check found."""

    name: str
    """What was checked, in a word or two."""
    status: Status = Status.OK
    found: str
    """What was seen, in a sentence."""
    way_out: str = ""
    """What to do; empty where all is well."""
    details: tuple[str, ...] = ()
    """Further lines, as they are."""


def find_worst(checks: Iterable[CheckResult]) -> Status:
    """Give the status of the worst check; OK for none."""
    return max((check.status for check in checks), default=Status.OK)
