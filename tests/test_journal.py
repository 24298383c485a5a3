"""Journals: what is appended is read again, whatever a kill cut off."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cg_lab.journal import LAST_BYTES, Follower, append_event, now, read_end, read_events, read_last_events


def test_events_are_read_as_they_were_written_each_with_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a" / "new" / "journal.jsonl"
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


def test_an_event_may_hold_any_text(tmp_path: Path) -> None:
    path, follower = tmp_path / "journal.jsonl", Follower(tmp_path / "journal.jsonl")
    append_event(path, "failed", message="one\ntwo\r\u2028three\x85four")
    for events in (read_events(path), read_last_events(path), follower.read()):
        assert [event["message"] for event in events] == ["one\ntwo\r\u2028three\x85four"]


def test_the_end_of_a_file_is_its_last_whole_lines_as_far_as_they_fit(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert read_end(path, 100) == b""
    path.write_bytes(b"one\ntwo\nthree\n")
    assert read_end(path, 100) == read_end(path, 14) == b"one\ntwo\nthree\n"
    assert read_end(path, 11) == b"two\nthree\n"
    assert read_end(path, 10) == b"three\n"


def test_the_last_events_are_read_without_those_long_before(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    assert read_last_events(path) == []
    append_event(path, "first", text="x" * LAST_BYTES)
    append_event(path, "second")
    with path.open("ab") as file:
        file.write(b'{"event": "third\xff"}\n{"ev\xc3')
    assert [event["event"] for event in read_last_events(path)] == ["second", "third\ufffd"]


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
