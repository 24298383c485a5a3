"""What a driver needs of a place that runs packs; this machine, Slurm and a debugger each give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from cg_lab.execution.packs import Submission
from cg_lab.results import FailureKind

Key = tuple[str, int]
"""A submission's id and the number of a pack in it."""


class NoAnswerError(Exception):
    """The cluster did not say whether it took a submission; a later look at its queue tells."""


class NoRoomError(Exception):
    """The cluster takes no more tasks for now; its own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """How a pack stands in a cluster's queue."""

    name: str
    """What the cluster calls it."""
    state: Literal["waiting", "running"]
    reason: str
    """Why it waits, in the cluster's words; empty if it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a cluster's queue."""

    tasks: dict[Key, Task]
    """Packs that wait or run."""
    adopted: dict[str, str]
    """Names of submissions whose driver was killed before it could note them."""
    hopeless: dict[Key, str] = field(default_factory=dict)
    """Names of packs that wait for something that can't happen any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a process ended, as far as the cluster knows."""

    kind: FailureKind
    message: str


class Cluster(Protocol):
    """A place that runs packs."""

    @property
    def slots(self) -> int:
        """Packs at one time."""
        ...

    @property
    def threads(self) -> int:
        """CPU threads of each process."""
        ...

    @property
    def poll_s(self) -> float:
        """Seconds between two looks."""
        ...

    @property
    def patience_s(self) -> float:
        """How long its queue may be silent."""
        ...

    @property
    def is_separate(self) -> bool:
        """Whether evaluations get packs of their own."""
        ...

    def split(self, seconds: float, num_free: int, num_live: int) -> tuple[int, int]:
        """Say to how many packs work is dealt, and how many of them one submission may hold."""
        ...

    def submit(self, submission: Submission, after: Submission | None, parallel: int) -> str:
        """Start packs, at most some of them at one time, and give the cluster's name for them.

        Raises
        ------
        NoAnswerError, NoRoomError
            If it may be tried again.
        UserError
            If the cluster refuses, in its own words.

        """
        ...

    def look(self, submissions: Sequence[Submission]) -> Look | None:
        """Look at the queue once for all submissions; None if it does not answer."""
        ...

    def adopt(self, submission: Submission) -> None:
        """Complete a submission whose driver was killed before it could."""
        ...

    def drop(self, names: Sequence[str]) -> None:
        """Cancel tasks that can never run."""
        ...

    def take_away(self, submission: Submission, number: int) -> None:
        """End one pack that gives no sign any more."""
        ...

    def find_ends(self, packs: Sequence[tuple[Submission, int]]) -> dict[Key, End]:
        """Say how processes that left the queue ended, as far as that is known; one query for all."""
        ...

    def stop(self, submissions: Sequence[Submission]) -> None:
        """End all packs of some submissions; fine-tunes save before."""
        ...
