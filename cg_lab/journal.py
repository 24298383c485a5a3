"""A job's journal: what happened to it, one JSON object a line, appended as it happens."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LAST_BYTES = 64_000
"""Of a journal, where its last events are enough."""


def now() -> str:
    """Give the time, UTC, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def append_event(path: Path, event: str, **facts: Any) -> None:
    """Append one event; a line that a kill cut off before is ended first, so that it spoils no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"time": now(), "event": event, **facts}, ensure_ascii=False)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read() != b"\n":
                file.write(b"\n")
        file.write(line.encode() + b"\n")


def read_events(path: Path) -> list[dict[str, Any]]:
    """Read all whole events; a line that a kill cut off is passed over."""
    return _parse(path.read_bytes()) if path.exists() else []


def list_logged(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """List what was logged at each step of a training, in order.

    An attempt that goes on from a checkpoint logs some steps again: from its first step on, it replaces what an
    earlier attempt had logged.
    """
    logged: list[dict[str, Any]] = []
    for event in events:
        if event["event"] == "log":
            while logged and logged[-1]["step"] >= event["step"]:
                logged.pop()
            logged.append(event)
    return logged


def read_last_events(path: Path) -> list[dict[str, Any]]:
    """Read the last whole events, from the end of a file of any size."""
    return _parse(read_end(path, LAST_BYTES))


def read_end(path: Path, most_bytes: int) -> bytes:
    """Read the last whole lines of a file of any size; nothing if there is no file."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, 2) - most_bytes)
            file.seek(start)
            payload = file.read()
    except FileNotFoundError:
        return b""
    return payload[payload.find(b"\n") + 1 :] if start else payload


def _parse(payload: bytes) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for line in payload.decode(errors="replace").split("\n"):  # `splitlines` ends lines within texts too
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


class Follower:
    """Reads what is added to a journal, a whole line at a time."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._place = 0

    def read(self) -> list[dict[str, Any]]:
        """Read the events since the last time."""
        try:
            if os.stat(self._path).st_size == self._place:  # noqa: PTH116 - asked a thousand times at every look
                return []
            with open(self._path, "rb") as file:  # noqa: PTH123 - the same
                file.seek(self._place)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._place += len(whole)
        return _parse(whole)
