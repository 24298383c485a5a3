"""How one job stands, read from its folder: state, times, failure and curve."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from cg_lab.journal import list_logged, read_events
from cg_lab.locks import find_holder
from cg_lab.results import EvalResult, Failure, FinetuneResult, Layout, read_failure

RunStatus = Literal["SCHEDULED", "RUNNING", "FINISHED", "FAILED", "KILLED"]
"""MLflow's words."""
CURVES = ("loss", "learning_rate", "samples_per_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value of a curve."""

    key: str
    value: float
    step: int
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What a job's files say about it."""

    status: RunStatus
    start_ms: int | None
    """Of the first attempt, since 1970; None before it."""
    end_ms: int | None
    """Of the last attempt; None while nothing has ended."""
    host: str
    """Empty before the first attempt."""
    failure: Failure | None
    curve: tuple[Point, ...]
    """In order of steps, each step once; empty for evaluations."""


def read_job(layout: Layout, job_id: str, result: FinetuneResult | EvalResult | None) -> JobState:
    """Read a job's state; `result` is what its result.json holds."""
    events = [event for event in read_events(layout.journal(job_id)) if "time" in event and "event" in event]
    failure = read_failure(layout, job_id)
    status = _find_status(layout, job_id, events, result=result, failure=failure)
    start = events[0]["time"] if events else result.started if result else None
    return JobState(
        status=status,
        start_ms=to_ms(start) if start else None,
        end_ms=_find_end(events, status, result=result, failure=failure),
        host=result.host if result else next((str(event["host"]) for event in reversed(events) if "host" in event), ""),
        failure=failure,
        curve=read_curve(events),
    )


def _find_status(
    layout: Layout,
    job_id: str,
    events: list[dict[str, Any]],
    *,
    result: FinetuneResult | EvalResult | None,
    failure: Failure | None,
) -> RunStatus:
    if result is not None:
        return "FINISHED"
    if events and find_holder(layout.lock(job_id)) is not None:
        return "RUNNING"
    if failure is not None:
        return "KILLED" if failure.kind == "cancelled" else "FAILED"
    return "KILLED" if events else "SCHEDULED"


def _find_end(
    events: list[dict[str, Any]],
    status: RunStatus,
    *,
    result: FinetuneResult | EvalResult | None,
    failure: Failure | None,
) -> int | None:
    if status in {"SCHEDULED", "RUNNING"}:
        return None
    if result is not None:
        done = next((event["time"] for event in reversed(events) if event["event"] == "done"), None)
        return to_ms(done) if done else to_ms(result.started) + round(result.seconds * 1000)
    return to_ms(failure.when) if failure is not None else to_ms(events[-1]["time"])


def read_curve(events: Iterable[dict[str, Any]]) -> tuple[Point, ...]:
    """Read what was logged at each step."""
    return tuple(
        Point(key=key, value=float(event[key]), step=event["step"], time_ms=to_ms(event["time"]))
        for event in list_logged(events)
        for key in CURVES
        if isinstance(event.get(key), (int, float))
    )


def digest_curve(points: Iterable[Point]) -> str:
    """Hash a curve, so that one can tell whether another goes on from it."""
    lines = "\n".join(f"{point.key} {point.step} {point.value!r} {point.time_ms}" for point in points)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def to_ms(time: str) -> int:
    """Turn ISO 8601 into milliseconds since 1970."""
    return round(datetime.fromisoformat(time).timestamp() * 1000)
