"""What a pack says in its trace, and which of it is an end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cg_lab.execution.following import FollowedPack, follow_packs
from cg_lab.execution.packs import Submission, path_of, trace_of
from cg_lab.journal import append_event
from cg_lab.results import Failure, Layout, write_failure

SUBMISSION = Submission(
    id="00001", study="s", stage="finetune", results_dir="r", packs=(("a", "b"), ("c",)), threads=1, after=None,
    task="17", is_over=False, created="t",
)  # fmt: skip


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def pack(layout: Layout) -> FollowedPack:
    return follow_packs(layout, SUBMISSION, {"a", "b", "c"})[0]


def say(layout: Layout, event: str, **facts: Any) -> None:
    append_event(trace_of(path_of(layout, SUBMISSION), 0), event, **facts)


def give_up(layout: Layout, job_id: str) -> None:
    write_failure(layout, Failure(job_id=job_id, kind="crash", message="", attempts=3, host="h", when="t"))


def test_a_pack_answers_for_its_open_jobs_alone(layout: Layout) -> None:
    first, second = follow_packs(layout, SUBMISSION, {"b", "c", "z"})
    assert [(pack.key, pack.number, pack.open) for pack in (first, second)] == [
        (("00001", 0), 0, {"b"}), (("00001", 1), 1, {"c"}),
    ]  # fmt: skip


def test_ends_are_given_once_with_or_without_a_result(layout: Layout, pack: FollowedPack) -> None:
    say(layout, "begun")
    say(layout, "started", job="a")
    assert list(pack.follow(layout)) == []
    assert (pack.has_begun, pack.running, pack.open) == (True, "a", {"a", "b"})
    say(layout, "done", job="a")
    give_up(layout, "b")
    say(layout, "failed", job="b")
    say(layout, "done", job="a")
    assert list(pack.follow(layout)) == [("a", True), ("b", False)]
    assert (pack.running, pack.open, pack.told, pack.has_ended) == (None, set(), {"a", "b"}, False)
    say(layout, "ended")
    say(layout, "begun")  # a task that the cluster started again
    assert list(pack.follow(layout)) == []
    assert pack.has_ended


def test_a_job_that_is_left_or_of_another_is_told_of_but_has_no_end(layout: Layout, pack: FollowedPack) -> None:
    say(layout, "left", job="a")
    say(layout, "done", job="z")
    assert list(pack.follow(layout)) == []
    assert (pack.open, pack.told) == ({"a", "b"}, {"a", "z"})


def test_a_failure_that_somebody_has_asked_anew_about_is_none(layout: Layout, pack: FollowedPack) -> None:
    say(layout, "failed", job="a")
    say(layout, "done", job="b")
    assert list(pack.follow(layout)) == [("b", True)]
    assert pack.open == {"a"}


def test_a_pack_is_blank_about_a_job_if_it_never_began_or_ended_without_a_word_of_it(
    layout: Layout, pack: FollowedPack
) -> None:
    assert pack.is_blank_about("a")
    say(layout, "begun")
    list(pack.follow(layout))
    assert not pack.is_blank_about("a")  # it was at another job when it went
    say(layout, "left", job="b")
    say(layout, "ended")
    list(pack.follow(layout))
    assert pack.is_blank_about("a")
    assert not pack.is_blank_about("b")


@pytest.mark.parametrize(
    ("task", "packs", "name"),
    [("17", 2, "17_1_0_log.err"), ("17", 1, "17_0_log.err"), ("17", 1, "17_1_log.err"), ("17,18", 2, "18_0_log.err")],
)
def test_last_words_are_the_last_line_of_the_packs_own_error_log(
    layout: Layout, task: str, packs: int, name: str
) -> None:
    submission = replace(SUBMISSION, task=task, packs=SUBMISSION.packs[:packs])
    pack = follow_packs(layout, submission, set())[-1]
    logs = layout.packs("s") / "logs"
    logs.mkdir(parents=True)
    (logs / "17_2_0_log.err" if packs > 1 else logs / "18_0_log.err").write_text("of another", encoding="utf-8")
    (logs / name).write_bytes(b"\n")
    assert pack.read_last_words(layout) == "nothing"
    (logs / name).write_bytes(b"first\nsecond\nlast \xff\n\n")
    assert pack.read_last_words(layout) == "last \ufffd"
