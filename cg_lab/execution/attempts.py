"""The attempts at one job, read from its journal, and the rule that says what comes next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from cg_lab.results import FailureKind

FINAL: frozenset[FailureKind] = frozenset(
    {"user_error", "not_finite", "too_long", "unreadable_weights", "no_weights", "cancelled"}
)
"""Kinds that would only happen again."""
MOST: dict[FailureKind, int] = {"crash": 3, "died": 3, "disk": 5, "lost": 20, "silent": 3}
"""Attempts in a row that may end in one way without a further checkpoint."""
MEANING: dict[FailureKind, str] = {
    "out_of_memory": "memory ran out; the next attempt takes half as many samples at once, for the same batch",
    "not_finite": "the loss became NaN or infinite, and would again",
    "too_long": "a question with its answer has more tokens than the model's context",
    "unreadable_weights": "saved weights are missing, cut off, or of another model",
    "user_error": "something that was given is wrong, and would be again",
    "no_weights": "the fine-tune that it scores was given up",
    "crash": "an exception that cg_lab does not know",
    "died": "the process ended without a word, as after kill -9 or a segmentation fault",
    "disk": "the results folder was full or out of reach",
    "lost": "the machine, a time limit, preemption or a signal took the process away",
    "silent": "its process gave no sign for longer than its steps explain, and was taken away",
    "cancelled": "somebody cancelled it",
}
ENDS = {"done", "failed", "died", "interrupted"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at a job."""

    started: str
    """UTC, ISO 8601."""
    ended: str | None
    """None while it runs, or if nothing has noticed its end yet."""
    host: str
    task: str
    """What the cluster calls the process: `slurm 17_3`, `local 4711`."""
    log: str | None
    """What the process printed, below the results folder."""
    step: int
    """Last optimizer step that a checkpoint holds."""
    how: Literal["done", "failed", "died", "interrupted"] | None
    kind: FailureKind | None
    message: str


def read_attempts(events: Iterable[dict[str, Any]]) -> tuple[Attempt, ...]:
    """Read the attempts since the job was last asked for anew.

    >>> events = [
    ...     {"time": "t0", "event": "started", "host": "a", "task": "slurm 7_0"},
    ...     {"time": "t1", "event": "saved", "step": 40},
    ...     {"time": "t2", "event": "interrupted"},
    ... ]
    >>> [(attempt.how, attempt.step) for attempt in read_attempts(events)]
    [('interrupted', 40)]
    """
    attempts: list[Attempt] = []
    start: dict[str, Any] | None = None
    step = 0
    for event in events:
        name = event.get("event")
        if name == "retried":
            attempts, start, step = [], None, 0
        elif name == "started":
            if start is not None:
                attempts.append(_build(start, step, None))
            start = event
        elif name == "saved":
            step = max(step, event.get("step", 0))
        elif name in ENDS and start is not None:
            attempts.append(_build(start, step, event))
            start = None
    if start is not None:
        attempts.append(_build(start, step, None))
    return tuple(attempts)


def _build(start: dict[str, Any], step: int, end: dict[str, Any] | None) -> Attempt:
    how = end["event"] if end else None
    kinds: dict[str, FailureKind] = {"interrupted": "lost", "died": "died", "failed": "crash"}
    return Attempt(
        started=start["time"],
        ended=end["time"] if end else None,
        host=str(start.get("host", "")),
        task=str(start.get("task", "")),
        log=start.get("log"),
        step=step,
        how=how,
        kind=end.get("kind", kinds.get(how or "")) if end else None,
        message=str(end.get("message", "")) if end else "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What is to be done with a job that has no result."""

    give_up: FailureKind | None
    """None to try again."""
    parts: int
    """Forward passes that each batch is split over."""
    reason: str


def decide(attempts: tuple[Attempt, ...], batch_size: int) -> Next:
    """Say whether a job is tried again, and how.

    Attempts that got further than those before them count for nothing: a fine-tune may be preempted as often as it
    likes while its checkpoints advance. After memory ran out, a batch is split in halves, down to single samples.

    Parameters
    ----------
    attempts
        Those so far, all of them ended.
    batch_size
        Samples, or questions, that are taken at once as long as memory allows.

    """
    parts = 2 ** sum(attempt.kind == "out_of_memory" for attempt in attempts)
    counts: Counter[FailureKind] = Counter()
    furthest = 0
    for attempt in attempts:
        if attempt.step > furthest:
            furthest = attempt.step
            counts.clear()
        if attempt.kind:
            counts[attempt.kind] += 1
    last = attempts[-1].kind if attempts else None
    if last is None:
        return Next(give_up=None, parts=parts, reason="not tried yet")
    if last in FINAL:
        return Next(give_up=last, parts=parts, reason=MEANING[last])
    if last == "out_of_memory":
        if parts > batch_size:
            return Next(give_up=last, parts=parts, reason="memory runs out even with one sample at a time")
        return Next(give_up=None, parts=parts, reason=f"memory ran out; next with each batch in {parts} parts")
    if counts[last] >= MOST[last]:
        return Next(give_up=last, parts=parts, reason=f"{MEANING[last]}; {counts[last]} times in a row")
    return Next(give_up=None, parts=parts, reason=f"{MEANING[last]}; attempt {len(attempts) + 1} comes next")
