"""Typed data to and from JSON, content ids, and files that are written whole or not at all."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import typing
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from cg_lab.errors import UserError, list_faults
from cg_lab.type_faults import describe_faults

T = TypeVar("T")
TAG = "source"
"""The field that tells the kinds of a union apart; always part of an id."""
MOST_CHARACTERS = 2**31 - 1
"""Of a cell; Python's own bound is 131,072."""
ID_LENGTH = 16
"""Hexadecimal digits of an id: 64 bits, so that a million jobs collide with a chance below 1e-7."""


def to_plain(value: Any) -> Any:
    """Turn dataclasses into dicts, tuples into lists and enums into their values; fields keep their order."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [to_plain(item) for item in value]
    return value


def omit_defaults(value: Any) -> Any:
    """Turn a dataclass into plain data without the fields that have their default.

    Ids made from it stay the same when a field with a default is added.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Shot:
    ...     image: str
    ...     number: int = 0
    >>> omit_defaults(Shot("original")), omit_defaults(Shot("original", 2))
    ({'image': 'original'}, {'image': 'original', 'number': 2})
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: omit_defaults(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.default is dataclasses.MISSING or getattr(value, field.name) != field.default or field.name == TAG
        }
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [omit_defaults(item) for item in value]
    return to_plain(value)


def canonical_json(value: Any) -> str:
    """Write JSON with sorted keys and no spaces: equal data gives equal bytes, and 1.0 is written as 1.

    Raises
    ------
    ValueError
        For NaN and infinities, which JSON does not have.

    """
    return json.dumps(
        _shorten_floats(to_plain(value)), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _shorten_floats(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _shorten_floats(item) for key, item in value.items()}
    return [_shorten_floats(item) for item in value] if isinstance(value, list) else value


def content_id(kind: str, schema: int, value: Any) -> str:
    """Name data by its content: the first 16 hex digits of the SHA-256 of its canonical JSON.

    >>> content_id("example", 1, {"b": 1, "a": 2}) == content_id("example", 1, {"a": 2, "b": 1})
    True
    """
    text = canonical_json({"kind": kind, "schema": schema, "value": to_plain(value)})
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


class TextHasher:
    """Names lists of texts and whole numbers that begin alike as `content_id` does, twenty times as fast.

    Parameters
    ----------
    kind, schema
        As of `content_id`.
    first
        What all lists begin with.

    Examples
    --------
    >>> hasher = TextHasher("draw", 1, ["a", 2])
    >>> hasher.name(["b"]) == content_id("draw", 1, ["a", 2, "b"])
    True
    >>> hasher.find_first(["b", "c", "d"]) == min(["b", "c", "d"], key=lambda text: hasher.name([text]))
    True

    """

    def __init__(self, kind: str, schema: int, first: Sequence[str | int]) -> None:
        begun = "".join(f"{_quote(text)}," for text in first)
        self._begun = hashlib.sha256(f'{{"kind":"{kind}","schema":{schema},"value":[{begun}'.encode())

    def name(self, rest: Sequence[str | int]) -> str:
        """Name the list that goes on so; `rest` must not be empty."""
        return self.digest(rest).hex()[:ID_LENGTH]

    def digest(self, rest: Sequence[str | int]) -> bytes:
        """Give what orders lists as their names do, and faster."""
        digest = self._begun.copy()
        for text in rest[:-1]:
            digest.update(_quote_before_others(text))
        digest.update(_quote_last(rest[-1]))
        return digest.digest()

    def find_first(self, texts: Iterable[str]) -> str:
        """Give the one of some texts whose list, of it alone, comes first by name."""

        def digest(text: str) -> bytes:
            started = begun.copy()
            started.update(_quote_last(text))
            return started.digest()

        begun = self._begun
        return min(texts, key=digest)


@cache
def _quote(text: str | int) -> str:
    return json.dumps(text, ensure_ascii=False)


@cache
def _quote_before_others(text: str | int) -> bytes:
    return f"{_quote(text)},".encode()


@cache
def _quote_last(text: str | int) -> bytes:
    return f"{_quote(text)}]}}".encode()


def parse(kind: type[T], raw: Any, *, where: str, context: object = None) -> T:
    """Build a typed value from plain data; the one door for everything that comes from a file or a person.

    Parameters
    ----------
    kind, raw
        What to build, and from what.
    where
        Where it came from, for messages.
    context
        What the types' own validators need beside the data, such as the tables of plan.json.

    Raises
    ------
    UserError
        Lists every fault at once, each with its path inside the data.

    """
    from pydantic import ValidationError  # costs 0.1 s, which `--help` need not pay

    try:
        return _adapter(kind).validate_python(raw, context=context)
    except ValidationError as error:
        faults = describe_faults(error.errors(), raw)
        plural = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise list_faults(f"{where} has {plural}", faults) from None


def parse_json(kind: type[T], path: Path) -> T | None:
    """Read a typed value from a JSON file in one go, four times as fast as `parse`; None if there is any fault.

    Then `parse` tells what it is.
    """
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


@cache
def _adapter(kind: type[T]) -> Any:
    from pydantic import TypeAdapter

    _forbid_unknown_keys(kind)
    return TypeAdapter(kind)


def _forbid_unknown_keys(kind: Any) -> None:
    for argument in typing.get_args(kind):
        _forbid_unknown_keys(argument)
    if dataclasses.is_dataclass(kind) and "__pydantic_config__" not in vars(kind):
        typing.cast(Any, kind).__pydantic_config__ = {"extra": "forbid"}
        for hint in typing.get_type_hints(kind).values():
            _forbid_unknown_keys(hint)


def dump_json(values: tuple[Any, ...], *, context: object = None) -> list[str]:
    """Write each value as JSON on one line; thousands of typed values a second, by pydantic's own writer."""
    from pydantic_core import to_json

    if not values:
        return []
    kind = type(values[0])
    if not dataclasses.is_dataclass(kind):
        return [to_json(value).decode() for value in values]
    write = _adapter(kind).serializer.to_json  # without the settings that `dump_json` passes on each time
    return [write(value, context=context).decode() for value in values]


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    UserError
        If the file is missing or is not JSON, with the place of the fault.

    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    text = json.dumps(to_plain(value), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file from its lines, each with its end, whole or not at all; they are never held together."""
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
        file.writelines(lines)


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Read the rows of a table that we wrote as CSV, whose cells may be as long as a catalogue's list of names."""
    csv.field_size_limit(MOST_CHARACTERS)
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; on success it takes the place of `path`, on failure it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
