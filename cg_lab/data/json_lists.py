"""JSON files too large to be held: the records of one list, one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from cg_lab.errors import UserError

CHUNK = 1 << 22
"""Characters that are read at a time."""
LONGEST = 1 << 26
"""Characters of one record at most."""
MAX_OBJECT_BYTES = 1 << 30
"""Of a file that is held as a whole."""
SPACE = " \t\r\n"


def read_json_list(path: Path) -> Iterator[object]:
    """Read a file that holds one JSON list, with or without a byte-order mark.

    Raises
    ------
    UserError
        Where it stops being one, with the number of the record.

    """
    decoder = json.JSONDecoder()
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            buffer = _Buffer(file.read)
            if buffer.skip() != "[":
                raise UserError(f"{path}: a JSON list of records is needed, it begins with {buffer.peek(20)!a}")
            buffer.place += 1
            mark = buffer.skip()
            buffer.place += mark == "]"
            while mark != "]":
                number += 1
                buffer.skip()
                value = buffer.decode(decoder, path, number)
                yield value
                mark = buffer.skip()
                if mark not in {",", "]"}:
                    raise UserError(f"{path}: record {number} is followed by {buffer.peek(20)!a}, not by a comma or ]")
                buffer.place += 1
            if buffer.skip():
                raise UserError(f"{path}: the list is followed by {buffer.peek(20)!a}")
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 behind record {number} ({error.reason})") from None


def read_json_object(path: Path, *, setting: str) -> dict[str, object]:
    """Read a file that holds one JSON object.

    Raises
    ------
    UserError
        If there is no such file, it is larger than is read, or it holds anything else.

    """
    if not path.is_file():
        raise UserError(f"{setting}: no file '{path}'; give a JSON file")
    if path.stat().st_size > MAX_OBJECT_BYTES:
        raise UserError(f"{path}: more than {MAX_OBJECT_BYTES} bytes; split it")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise UserError(f"{path}: nested too deeply") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: no JSON ({error})") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: a JSON object is needed, it holds a {type(found).__name__}")
    return found


def read_json_records(path: Path) -> Iterator[object]:
    """Read a JSON list, or JSON Lines, whichever the file begins as.

    Raises
    ------
    UserError
        As those two.

    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            is_lines = file.read(1 << 16).lstrip().startswith("{")
    except (OSError, UnicodeDecodeError):
        is_lines = False
    return read_json_lines(path) if is_lines else read_json_list(path)


def read_json_lines(path: Path) -> Iterator[object]:
    """Read a file with one JSON value a line.

    Raises
    ------
    UserError
        At a line that is none, with its number.

    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            while text := file.readline(LONGEST):
                number += 1
                if text.strip():
                    yield json.loads(text)
    except RecursionError:
        raise UserError(f"{path}: line {number} is nested too deeply") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: line {number} is no JSON ({error})") from None


class _Buffer:
    """A window on a text that moves along."""

    def __init__(self, read) -> None:  # noqa: ANN001  (a file's method)
        self.read = read
        self.text: str = read(CHUNK)
        self.place = 0
        self.is_whole = False

    def more(self) -> bool:
        """Read on; False at the end of the file."""
        more = self.read(CHUNK)
        self.is_whole = not more
        self.text = self.text[self.place :] + more
        self.place = 0
        return bool(more)

    def skip(self) -> str:
        """Go over white space and give the next character; empty at the end."""
        while True:
            while self.place < len(self.text) and self.text[self.place] in SPACE:
                self.place += 1
            if self.place < len(self.text):
                return self.text[self.place]
            if not self.more():
                return ""

    def peek(self, count: int) -> str:
        """Show what comes next."""
        return self.text[self.place : self.place + count]

    def decode(self, decoder: json.JSONDecoder, path: Path, number: int) -> object:
        """Take one value, reading on while it is not complete."""
        while True:
            try:
                value, self.place = decoder.raw_decode(self.text, self.place)
            except RecursionError:
                raise UserError(f"{path}: record {number} is nested too deeply") from None
            except ValueError as error:
                if len(self.text) - self.place > LONGEST:
                    raise UserError(f"{path}: record {number} has more than {LONGEST} characters") from None
                if not self.more():
                    reason = getattr(error, "msg", str(error))
                    raise UserError(f"{path}: record {number} is no JSON ({reason})") from None
            else:
                return value  # a number may go on behind the window, records don't
