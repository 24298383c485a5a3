"""Attempts: what a journal says about them, and what comes next."""

from __future__ import annotations

import pytest

from cg_lab.execution.attempts import MOST, decide, read_attempts
from cg_lab.results import FailureKind


def write(*ends: tuple[str, FailureKind | None, int]) -> list[dict[str, object]]:
    """Write a journal: for each attempt how it ended, its kind, and the step of its last checkpoint."""
    events: list[dict[str, object]] = []
    for how, kind, step in ends:
        events.append({"time": "t", "event": "started", "host": "h", "task": "local 1"})
        if step:
            events.append({"time": "t", "event": "saved", "step": step})
        events.append({"time": "t", "event": how, **({"kind": kind} if kind else {})})
    return events


def judge(*ends: tuple[str, FailureKind | None, int], batch_size: int = 16) -> tuple[FailureKind | None, int]:
    step = decide(read_attempts(write(*ends)), batch_size)
    return step.give_up, step.parts


@pytest.mark.parametrize("kind", ["user_error", "not_finite", "no_weights", "cancelled"])
def test_what_would_only_happen_again_is_tried_once(kind: FailureKind) -> None:
    assert judge(("failed", kind, 0)) == (kind, 1)


@pytest.mark.parametrize("kind", ["crash", "died", "disk", "lost"])
def test_the_others_are_tried_a_bounded_number_of_times(kind: FailureKind) -> None:
    most = MOST[kind]
    assert judge(*[("failed", kind, 0)] * (most - 1)) == (None, 1)
    assert judge(*[("failed", kind, 0)] * most) == (kind, 1)


def test_attempts_that_get_further_count_for_nothing() -> None:
    """A fine-tune that takes thirty time limits is not given up; one that stands still is."""
    moving = [("interrupted", None, step) for step in range(1, 31)]
    assert judge(*moving) == (None, 1)
    assert judge(*moving, *[("died", "died", 30)] * 3)[0] == "died"


def test_memory_halves_what_is_held_at_once_down_to_single_samples() -> None:
    end: tuple[str, FailureKind, int] = ("failed", "out_of_memory", 0)
    assert [judge(*[end] * number)[1] for number in range(5)] == [1, 2, 4, 8, 16]
    assert judge(*[end] * 5)[0] == "out_of_memory"
    assert judge(end, batch_size=1)[0] == "out_of_memory"


def test_a_new_request_forgets_what_was_before() -> None:
    events = [*write(*[("died", "died", 0)] * 3), {"time": "t", "event": "retried"}]
    assert read_attempts(events) == ()


def test_an_attempt_without_an_end_shows_as_one() -> None:
    events = [*write(("interrupted", None, 5)), {"time": "t", "event": "started", "host": "h", "task": "slurm 7_1"}]
    attempts = read_attempts(events)
    assert [attempt.how for attempt in attempts] == ["interrupted", None]
    assert attempts[1].task == "slurm 7_1"
