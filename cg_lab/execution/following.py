"""One pack that a cluster has, followed by what it says in its trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cg_lab.execution.clusters import Key
from cg_lab.execution.heartbeat import Pulse
from cg_lab.execution.packs import Submission, path_of, trace_of
from cg_lab.journal import Follower, read_end
from cg_lab.results import Layout

MOST_BYTES = 64_000
"""Of the end of a log that are read for its last line."""


@dataclass(slots=True, kw_only=True)
class FollowedPack:
    """A pack that the cluster has, or may have."""

    submission: Submission
    number: int
    trace: Follower
    open: set[str]
    """Its jobs that it has said nothing final about."""
    told: set[str] = field(default_factory=set)
    """Its jobs that it has said anything about."""
    running: str | None = None
    """The job that it is at."""
    has_begun: bool = False
    has_ended: bool = False
    """Whether it came to the end of its list."""
    is_waiting: bool = True
    pulse: Pulse = field(default_factory=Pulse)

    @property
    def key(self) -> Key:
        """Name it within its study."""
        return self.submission.id, self.number

    def follow(self, layout: Layout) -> Iterator[tuple[str, bool]]:
        """Read what it has said since the last time; give the jobs that came to an end, and whether with a result."""
        for event in self.trace.read():
            name = event.get("event")
            self.running = event["job"] if name == "started" else None
            self.has_begun |= name == "begun"
            self.has_ended |= name == "ended"
            if name not in ("done", "failed", "left"):
                continue
            job_id = event["job"]
            self.told.add(job_id)
            if name == "left" or job_id not in self.open:
                continue
            if name == "failed" and not layout.failure(job_id).exists():
                continue  # it failed before it was asked for anew
            self.open.discard(job_id)
            yield job_id, name == "done"

    def is_blank_about(self, job_id: str) -> bool:
        """Tell whether it ended without a word about a job, and not because of another one."""
        return not self.has_begun or (self.has_ended and job_id not in self.told)

    def read_last_words(self, layout: Layout) -> str:
        """Give the last line that its process wrote to its error log."""
        names = (self.submission.task or "").split(",")
        own = [names[self.number]] if len(names) > 1 else [f"{names[0]}_{self.number}"]
        for stem in own if len(self.submission.packs) > 1 else [*own, names[0]]:  # the log of any of its processes
            for path in sorted((layout.packs(self.submission.study) / "logs").glob(f"{stem}_*.err")):
                if lines := read_end(path, MOST_BYTES).decode("utf-8", errors="replace").strip().splitlines():
                    return lines[-1]
        return "nothing"


def follow_packs(layout: Layout, submission: Submission, open_jobs: set[str]) -> list[FollowedPack]:
    """Give the packs of a submission; of their jobs those that are open count."""
    path = path_of(layout, submission)
    return [
        FollowedPack(
            submission=submission,
            number=number,
            trace=Follower(trace_of(path, number)),
            open=open_jobs.intersection(job_ids),
        )
        for number, job_ids in enumerate(submission.packs)
    ]
