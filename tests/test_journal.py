"""Journals: what is appended is read again, whatever a kill cut off."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cg_lab.journal import Follower, append_event, now, read_events


def test_events_are_read_as_they_were_written_each_with_its_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.jsonl"
    assert read_events(path) == []
    append_event(path, "started", host="Zürich", task="local 1")
    append_event(path, "done")
    first, second = read_events(path)
    assert {key: first[key] for key in ("event", "host", "task")} == {
        "event": "started", "host": "Zürich", "task": "local 1",
    }  # fmt: skip
    assert set(second) == {"time", "event"}
    assert "Zürich" in path.read_text(encoding="utf-8")


def test_times_are_of_utc_to_the_millisecond() -> None:
    time = datetime.fromisoformat(now())
    assert time.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)
    assert len(now()) == len("2026-01-31T00:00:00.000+00:00")


def test_a_line_that_a_kill_cut_off_spoils_no_other_and_is_no_event(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_event(path, "one")
    with path.open("ab") as file:
        file.write(b'{"time": "t", "ev\xc3')
    append_event(path, "two")
    with path.open("ab") as file:
        file.write(b'\n[1]\n7\n"started"\n')
    append_event(path, "three")
    assert [event["event"] for event in read_events(path)] == ["one", "two", "three"]


def test_a_whole_line_is_not_ended_twice(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for name in ("one", "two"):
        append_event(path, name)
    assert [json.loads(line)["event"] for line in path.read_text(encoding="utf-8").split("\n")[:-1]] == ["one", "two"]


def test_a_follower_gives_each_whole_line_once_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    follower = Follower(path)
    assert follower.read() == []
    append_event(path, "one")
    append_event(path, "two")
    assert [event["event"] for event in follower.read()] == ["one", "two"]
    assert follower.read() == []
    with path.open("ab") as file:
        file.write(b'{"event": "thr')
    assert follower.read() == []
    with path.open("ab") as file:
        file.write('ee", "of": "ä"}\n{"event"'.encode())
    assert follower.read() == [{"event": "three", "of": "ä"}]
    with path.open("ab") as file:
        file.write(b': "four\xff"}\n')
    assert [event["event"] for event in follower.read()] == ["four\ufffd"]
