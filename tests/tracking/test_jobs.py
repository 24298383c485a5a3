"""States and curves, read from a job's folder."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cg_lab.locks import holding
from cg_lab.results import Failure, FailureKind, Layout, write_failure, write_result
from cg_lab.tracking.jobs import JobState, Point, digest_curve, read_curve, read_job, to_ms
from tests.tracking.conftest import BEGAN, Lab, plan_small

PLAN = plan_small(("ct-brain-mass",), (0,))
NOON_MS = 1_772_366_400_000
"""2026-03-01, 12:00 UTC."""


def log(step: int, loss: float) -> dict[str, object]:
    return {"time": f"2026-03-01T12:00:{step:02d}+00:00", "event": "log", "step": step, "loss": loss}


@pytest.fixture
def fresh(tmp_path: Path) -> Lab:
    """Nothing is run yet, and nothing is mirrored."""
    return Lab(layout=Layout(tmp_path), plan=PLAN)


def give_up(lab: Lab, job_id: str, kind: FailureKind) -> Failure:
    failure = Failure(
        job_id=job_id, kind=kind, message="why", attempts=1, host="node-2", when="2026-03-01T12:00:09+00:00"
    )
    write_failure(lab.layout, failure)
    return failure


def test_a_job_that_nobody_began_is_scheduled(fresh: Lab) -> None:
    assert read_job(fresh.layout, fresh.plan.evals[0].id, None) == JobState(
        status="SCHEDULED", start_ms=None, end_ms=None, host="", failure=None, curve=()
    )


def test_a_job_whose_process_holds_its_lock_is_running_and_has_no_end(fresh: Lab) -> None:
    job_id = fresh.plan.finetunes[0].id
    fresh.log(job_id, ("started", {"host": "node-1"}), ("died", {}), ("started", {"host": "node-3"}))
    fresh.log_steps(job_id, {10: 2.0}, at_s=3)
    with holding(fresh.layout.lock(job_id)):
        state = read_job(fresh.layout, job_id, None)
        give_up(fresh, job_id, "cancelled")
        assert read_job(fresh.layout, job_id, None).status == "RUNNING"  # until it looks for a cancellation
    assert (state.status, state.start_ms, state.end_ms, state.host) == ("RUNNING", NOON_MS, None, "node-3")
    assert [(point.key, point.value, point.step, point.time_ms) for point in state.curve] == [
        ("loss", 2.0, 10, NOON_MS + 3000),
        ("learning_rate", 1e-3, 10, NOON_MS + 3000),
        ("samples_per_s", 50.0, 10, NOON_MS + 3000),
    ]


def test_a_lock_that_is_held_before_the_first_event_starts_nothing(fresh: Lab) -> None:
    job_id = fresh.plan.evals[0].id
    with holding(fresh.layout.lock(job_id)):
        assert read_job(fresh.layout, job_id, None).status == "SCHEDULED"


def test_a_job_whose_process_is_gone_was_killed_at_its_last_event(fresh: Lab) -> None:
    job_id = fresh.plan.finetunes[0].id
    fresh.log(job_id, ("started", {"host": "node-1"}), ("saved", {"step": 5}))
    state = read_job(fresh.layout, job_id, None)
    assert (state.status, state.start_ms, state.end_ms, state.host) == ("KILLED", NOON_MS, NOON_MS + 1000, "node-1")


@pytest.mark.parametrize(
    ("kind", "status"),
    [("cancelled", "KILLED"), ("not_finite", "FAILED"), ("user_error", "FAILED"), ("lost", "FAILED")],
)
def test_a_cancelled_job_was_killed_and_any_other_failure_is_one(kind: FailureKind, status: str, fresh: Lab) -> None:
    job_id = fresh.plan.finetunes[0].id
    fresh.log(job_id, ("started", {"host": "node-1"}))
    failure = give_up(fresh, job_id, kind)
    state = read_job(fresh.layout, job_id, None)
    assert (state.status, state.failure, state.end_ms) == (status, failure, NOON_MS + 9000)


def test_a_job_that_was_cancelled_before_it_began_was_killed_too(fresh: Lab) -> None:
    job_id = fresh.plan.evals[0].id
    give_up(fresh, job_id, "cancelled")
    state = read_job(fresh.layout, job_id, None)
    assert (state.status, state.start_ms, state.end_ms) == ("KILLED", None, NOON_MS + 9000)


def test_a_job_with_a_result_is_finished_at_its_last_done(fresh: Lab) -> None:
    job = fresh.plan.finetunes[0]
    fresh.finish_finetune(job)
    fresh.log(job.id, ("done", {}), ("read", {}), at_s=20)
    with holding(fresh.layout.lock(job.id)):  # by the process that goes on to the next job
        state = read_job(fresh.layout, job.id, fresh_result(fresh))
    assert (state.status, state.start_ms, state.end_ms) == ("FINISHED", NOON_MS, NOON_MS + 20_000)
    assert (state.host, state.failure) == ("node-1", None)


def test_a_result_without_a_journal_began_when_it_says_and_ended_so_many_seconds_later(fresh: Lab) -> None:
    result = replace(fresh_result(fresh), host="node-7", seconds=3.5)
    write_result(fresh.layout, result)
    state = read_job(fresh.layout, result.job.id, result)
    assert state == JobState(
        status="FINISHED", start_ms=NOON_MS, end_ms=NOON_MS + 3500, host="node-7", failure=None, curve=()
    )


def fresh_result(lab: Lab) -> Any:
    from cg_lab.results import FinetuneResult

    return FinetuneResult(
        job=lab.plan.finetunes[0], steps=1, samples=16, loss_first=2.0, loss_last=1.0, seconds=1.0, host="node-1",
        started=BEGAN.isoformat(),
    )  # fmt: skip


def test_events_without_a_time_or_a_name_are_passed_over(fresh: Lab) -> None:
    job_id = fresh.plan.evals[0].id
    path = fresh.layout.journal(job_id)
    path.parent.mkdir(parents=True)
    path.write_text('{"time": "2026-03-01T12:00:00+00:00"}\n{"event": "started"}\n')
    assert read_job(fresh.layout, job_id, None).status == "SCHEDULED"


def test_a_later_attempt_replaces_what_an_earlier_one_logged_from_its_first_step_on() -> None:
    events = [log(10, 3.0), log(20, 2.0), log(30, 1.5), {"event": "resumed", "step": 10}, log(20, 2.1)]

    assert [(point.step, point.value) for point in read_curve(events)] == [(10, 3.0), (20, 2.1)]


def test_values_that_were_not_logged_are_left_out_of_the_curve() -> None:
    assert [point.key for point in read_curve([log(10, 3.0) | {"samples_per_s": None}])] == ["loss"]


def test_whole_numbers_of_a_curve_are_values_too() -> None:
    (point,) = read_curve([log(10, 3)])
    assert point == Point(key="loss", value=3.0, step=10, time_ms=NOON_MS + 10_000)
    assert isinstance(point.value, float)


def test_a_curve_is_known_by_every_point_of_it() -> None:
    points = [Point(key="loss", value=0.5, step=step, time_ms=7) for step in (1, 2)]
    text = "loss 1 0.5 7\nloss 2 0.5 7"
    assert digest_curve(points) == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_times_are_told_to_the_millisecond_from_any_zone() -> None:
    assert to_ms("2026-03-01T13:00:00.0016+01:00") == NOON_MS + 2
