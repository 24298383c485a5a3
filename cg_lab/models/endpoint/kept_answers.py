"""Answers of a served model, kept by what was asked: a line each, so that nothing is paid twice."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from cg_lab.models.endpoint.formats import Reply
from cg_lab.serialize import parse

FILE = "answers.jsonl"
REPLY = tuple(field.name for field in fields(Reply))


def hash_request(path: str, body: bytes) -> str:
    """Name a request by all that a server is told but the key."""
    return sha256(path.encode() + b"\0" + body).hexdigest()


class KeptAnswers:
    """The answers in one folder; opened by one process at a time.

    A line is written with one call as soon as its reply is there; one that a kill cut off counts for nothing. Only
    places of lines are held in memory.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._places: dict[bytes, tuple[int, int]] = {}
        self.num_requests = 0
        """Lines: requests that were answered, or that the server may have worked on in vain."""
        self.num_replies = 0
        self.num_read = 0
        self.num_written = 0
        """Tokens of all replies, as the server counts them."""
        self._end = 0

    @property
    def num_answers(self) -> int:
        """Distinct requests with an answer."""
        return len(self._places)

    def read(self) -> None:
        """Find what is there, and end a line that was cut off."""
        with os.fdopen(os.dup(self._file), "rb") as stream:
            stream.seek(0)
            last = b"\n"
            for last in stream:
                self._note(last)
        if not last.endswith(b"\n"):
            self._write(b"\n")
            self._end += 1

    def _note(self, line: bytes) -> None:
        """Note a line that was read."""
        try:
            content = json.loads(line)
            request = bytes.fromhex(content["request"])
        except (ValueError, LookupError, TypeError):
            self._end += len(line)
            return
        reply = content.get("reply")
        self._count(request, line, reply if isinstance(reply, dict) else None)

    def _count(self, request: bytes, line: bytes, reply: dict[str, Any] | None) -> None:
        if reply is not None:
            self._places[request] = (self._end, len(line))
            self.num_replies += 1
            self.num_read += reply.get("num_read", 0)
            self.num_written += reply.get("num_written", 0)
        self._end += len(line)
        self.num_requests += 1

    def find(self, request: str) -> Reply | None:
        """Give the answer to a request; None if there is none."""
        place = self._places.get(bytes.fromhex(request))
        if place is None:
            return None
        start, length = place
        return parse(Reply, json.loads(os.pread(self._file, length, start))["reply"], where=FILE)

    def keep(self, request: str, reply: Reply) -> None:
        """Keep an answer."""
        told = {name: getattr(reply, name) for name in REPLY}
        self._append(request, {name: value for name, value in told.items() if value or name == "text"})

    def note_lost(self, request: str) -> None:
        """Note a request that got no answer and may be paid for all the same."""
        self._append(request, None)

    def _append(self, request: str, reply: dict[str, Any] | None) -> None:
        found = {"lost": True} if reply is None else {"reply": reply}
        line = json.dumps({"request": request, **found}, ensure_ascii=False).encode(errors="replace") + b"\n"
        self._write(line)
        self._count(bytes.fromhex(request), line, reply)

    def _write(self, line: bytes) -> None:
        written = os.write(self._file, line)
        if written < len(line):
            os.ftruncate(self._file, self._end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def opening_answers(folder: Path) -> Iterator[KeptAnswers]:
    """Open the answers in a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        kept = KeptAnswers(file)
        kept.read()
        yield kept
    finally:
        os.close(file)
