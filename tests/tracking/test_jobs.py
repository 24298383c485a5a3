"""States and curves, read from a job's folder."""

from __future__ import annotations

from cg_lab.tracking.jobs import read_curve


def log(step: int, loss: float) -> dict[str, object]:
    return {"time": f"2026-03-01T12:00:{step:02d}+00:00", "event": "log", "step": step, "loss": loss}


def test_a_later_attempt_replaces_what_an_earlier_one_logged_from_its_first_step_on() -> None:
    events = [log(10, 3.0), log(20, 2.0), log(30, 1.5), {"event": "resumed", "step": 10}, log(20, 2.1)]

    assert [(point.step, point.value) for point in read_curve(events)] == [(10, 3.0), (20, 2.1)]


def test_values_that_were_not_logged_are_left_out_of_the_curve() -> None:
    assert [point.key for point in read_curve([log(10, 3.0) | {"samples_per_s": None}])] == ["loss"]
