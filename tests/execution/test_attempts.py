"""Attempts: what a journal says about them, and what comes next."""

from __future__ import annotations

import pytest

from cg_lab.execution.attempts import MEANING, Attempt, decide, read_attempts
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


@pytest.mark.parametrize(
    "kind", ["user_error", "not_finite", "too_long", "unreadable_weights", "no_weights", "cancelled"]
)
def test_what_would_only_happen_again_is_tried_once(kind: FailureKind) -> None:
    assert judge(("failed", kind, 0)) == (kind, 1)


@pytest.mark.parametrize(("kind", "most"), [("crash", 3), ("died", 3), ("disk", 5), ("lost", 20)])
def test_the_others_are_tried_a_bounded_number_of_times(kind: FailureKind, most: int) -> None:
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
    assert judge(end, end, batch_size=4) == (None, 4)
    assert judge(end, batch_size=1) == ("out_of_memory", 2)


def test_a_new_request_forgets_what_was_before() -> None:
    events = [*write(*[("died", "died", 0)] * 3), {"time": "t", "event": "retried"}]
    assert read_attempts(events) == ()


def test_an_attempt_without_an_end_shows_as_one() -> None:
    events = [*write(("interrupted", None, 5)), {"time": "t", "event": "started", "host": "h", "task": "slurm 7_1"}]
    attempts = read_attempts(events)
    assert [attempt.how for attempt in attempts] == ["interrupted", None]
    assert attempts[1].task == "slurm 7_1"


def test_each_kind_of_end_is_counted_for_itself() -> None:
    mixed: list[tuple[str, FailureKind, int]] = [("failed", "crash", 0), ("died", "died", 0)] * 2
    assert judge(*mixed) == (None, 1)
    assert judge(*mixed, ("failed", "crash", 0)) == ("crash", 1)


def test_a_checkpoint_forgives_all_attempts_before_it_and_none_at_the_same_step() -> None:
    assert judge(("died", "died", 0), ("died", "died", 0), ("died", "died", 1)) == (None, 1)
    assert judge(("died", "died", 5), ("died", "died", 5), ("died", "died", 3)) == ("died", 1)


def test_what_comes_next_is_told_with_its_reason() -> None:
    def tell(*ends: tuple[str, FailureKind | None, int], batch_size: int = 4) -> str:
        return decide(read_attempts(write(*ends)), batch_size).reason

    memory: tuple[str, FailureKind, int] = ("failed", "out_of_memory", 0)
    assert tell() == "not tried yet"
    assert tell(("failed", "user_error", 0)) == MEANING["user_error"]
    assert tell(memory) == "memory ran out; next with each batch in 2 parts"
    assert tell(memory, memory, memory) == "memory runs out even with one sample at a time"
    assert tell(("died", "died", 0)) == f"{MEANING['died']}; attempt 2 comes next"
    assert tell(*[("died", "died", 0)] * 3) == f"{MEANING['died']}; 3 times in a row"


def test_an_attempt_is_all_that_its_journal_says() -> None:
    start = {"time": "t0", "event": "started", "host": "h", "task": "slurm 7_1", "log": "a.err"}
    saved = [{"time": "t1", "event": "saved", "step": step} for step in (40, 20)]
    end = {"time": "t2", "event": "failed", "kind": "disk", "message": "full"}
    assert read_attempts([start, *saved, end]) == (
        Attempt(
            started="t0", ended="t2", host="h", task="slurm 7_1", log="a.err", step=40, how="failed", kind="disk",
            message="full",
        ),
    )  # fmt: skip
    assert read_attempts([{"time": "t0", "event": "started"}, {"time": "t1", "event": "saved"}]) == (
        Attempt(started="t0", ended=None, host="", task="", log=None, step=0, how=None, kind=None, message=""),
    )


@pytest.mark.parametrize(
    ("how", "kind"), [("interrupted", "lost"), ("died", "died"), ("failed", "crash"), ("done", None)]
)
def test_an_end_that_names_no_kind_has_the_one_that_it_means(how: str, kind: FailureKind | None) -> None:
    (attempt,) = read_attempts(write((how, None, 0)))
    assert (attempt.how, attempt.kind, attempt.message) == (how, kind, "")


def test_a_start_ends_the_attempt_before_it_and_an_end_without_a_start_is_none() -> None:
    start = {"time": "t", "event": "started"}
    assert [attempt.how for attempt in read_attempts([start, start])] == [None, None]
    saved = {"time": "t", "event": "saved", "step": 9}
    assert [attempt.step for attempt in read_attempts([start, saved, start])] == [9, 9]
    assert read_attempts([{"time": "t", "event": "died"}, {"time": "t", "event": "begun"}]) == ()
    events = [start, saved, {"time": "t", "event": "retried"}]
    assert [attempt.step for attempt in read_attempts([*events, start])] == [0]
    assert read_attempts([*events, {"time": "t", "event": "done"}]) == ()
