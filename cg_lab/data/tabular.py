"""Tables as people keep them: CSV with commas, semicolons or tabs, and Parquet; cells are text, lines are numbered."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from cg_lab.data.identifier_columns import fold_name
from cg_lab.data.rows import describe, quote
from cg_lab.errors import UserError, list_faults, suggest

Cells = dict[str, str]
DELIMITERS = (",", ";", "\t", "|")
ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
MAX_COLUMNS = 10_000
"""Wider tables are refused: they are no lists of images."""
MAX_LINES = 20_000_000
"""Longer ones are refused before they are read: few bytes of Parquet may stand for any number."""
MAX_GROUP_BYTES = 4_000_000_000
"""Of a row group of Parquet, unpacked."""


@dataclass(frozen=True, slots=True)
class Lines:
    """A table: its columns, and its lines with their numbers, which can be gone through once."""

    header: tuple[str, ...]
    cells: Iterator[tuple[int, Cells]]


def read_lines(path: Path, *, setting: str, wanted: str = "") -> Lines:
    """Open a table; cells are text, empty where there is nothing.

    Parameters
    ----------
    path
        A Parquet file by its ending, else text in UTF-8 or UTF-16 whose delimiter is the one that its first line has
        most of.
    setting, wanted
        Names the file in messages, and what it should hold.

    Raises
    ------
    UserError
        If there is no such file, or it can't be read; while lines are gone through, too.

    """
    if not path.is_file():
        raise UserError(f"{setting}: no file '{path}'; give a CSV or Parquet file{wanted}")
    if path.suffix.lower() in {".parquet", ".pq"}:
        header = _read_parquet_header(path)
        return Lines(header, _read_parquet(path, header))
    with path.open("rb") as file:
        encoding = ENCODINGS.get(file.read(2), "utf-8-sig")
    cells = _read_text(path, encoding)
    _, first = next(cells)
    return Lines(tuple(first), cells)


def _read_text(path: Path, encoding: str) -> Iterator[tuple[int, Cells]]:
    """Give the header as the keys of a first line, then the lines."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            start = file.readline(1 << 20)
            file.seek(0)
            delimiter = max(DELIMITERS, key=lambda one: (_count(start, one), -DELIMITERS.index(one)))
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            yield 1, dict.fromkeys(header, "")
            for cells in reader:
                if not any(cells):
                    continue
                if reader.line_num > MAX_LINES:
                    raise UserError(f"{path}: more than {MAX_LINES} lines; split it")
                if len(cells) > len(header):
                    raise UserError(f"{path}, line {reader.line_num}: more cells than the {len(header)} columns")
                yield reader.line_num, dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=True))
    except (UnicodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV in UTF-8 ({error}); save it as UTF-8") from None


def _count(line: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), []))
    except csv.Error:
        return 0


def _check_header(path: Path, header: Sequence[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise UserError(f"{path}, line 1: {len(header)} columns, at most {MAX_COLUMNS} are read")
    odd = [name for name in header if not name.isprintable()]
    if odd:
        raise UserError(f"{path}, line 1: no names of columns ({quote(odd[0])}); give a CSV in UTF-8, or Parquet")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise list_faults(f"{path}, line 1", [f"column '{name}' is there twice" for name in twice])


def _read_parquet_header(path: Path) -> tuple[str, ...]:
    try:
        with pq.ParquetFile(path) as file:
            header, told = tuple(file.schema_arrow.names), file.metadata
            most = max((told.row_group(group).total_byte_size for group in range(told.num_row_groups)), default=0)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({describe(error)})") from None
    if told.num_rows > MAX_LINES:
        raise UserError(f"{path}: {told.num_rows} lines, at most {MAX_LINES} are read; split it")
    if most > MAX_GROUP_BYTES:
        raise UserError(
            f"{path}: a row group unpacks to {most} bytes, at most {MAX_GROUP_BYTES} are read; leave out what is no "
            "cell of a list, or write smaller row groups"
        )
    _check_header(path, header)
    return header


def _read_parquet(path: Path, header: Sequence[str]) -> Iterator[tuple[int, Cells]]:
    line = 0
    try:
        plain = [field.name for field in pq.read_schema(path) if _holds_text(field.type)]
        with pq.ParquetFile(path, read_dictionary=plain) as file:
            kinds = {field.name: field.type for field in file.schema_arrow}
            for batch in file.iter_batches(batch_size=8192):
                columns = [_to_texts(path, name, batch.column(name), kinds[name], line) for name in header]
                for cells in zip(*columns, strict=True):
                    line += 1
                    yield line, dict(zip(header, cells, strict=True))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a Parquet file ({describe(error)})") from None


def _holds_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_binary(kind)


def _to_texts(path: Path, name: str, column: pa.Array, kind: pa.DataType, first: int) -> list[str]:
    """Turn a column into texts: bytes are decoded, lists joined with commas, fields written as JSON."""
    if (pa.types.is_struct(kind) and "binary" in str(kind)) or pa.types.is_map(kind) or pa.types.is_union(kind):
        return [f"<{kind}>"] * len(column)
    try:
        if isinstance(column, pa.DictionaryArray):  # each text once, however often it stands there
            texts = [_to_text(value) for value in column.dictionary.to_pylist()]
            return ["" if place is None else texts[place] for place in column.indices.to_pylist()]
        return [_to_text(value) for value in column.to_pylist()]
    except UnicodeDecodeError:
        raise UserError(f"{path}, rows from {first + 1}: column '{name}' holds bytes that are no UTF-8 text") from None
    except (ValueError, OverflowError, KeyError):  # times beyond all calendars, zones that nobody knows
        return [f"<{kind}>"] * len(column)


def _to_text(value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124  (NaN)
        return ""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return json.dumps(value, default=str, sort_keys=True)
    if isinstance(value, list):
        return ", ".join(filter(None, (_to_text(part) for part in cast("list[object]", value))))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


@dataclass(frozen=True, slots=True)
class Header:
    """Which column of a table holds what."""

    columns: Mapping[str, str]
    """Column by role."""
    unused: tuple[str, ...]

    def take(self, cells: Mapping[str, str]) -> Cells:
        """Give a line's cells by role."""
        return {role: cells[column] for role, column in self.columns.items()}


def find_columns(
    path: Path,
    header: Sequence[str],
    needed: Sequence[str],
    optional: Sequence[str] = (),
    named: Mapping[str, str | None] | None = None,
) -> Header:
    """Find the columns of some roles: those that `data.columns` names, else those called so in any case and spelling.

    Raises
    ------
    UserError
        If one is missing, or two could be meant.

    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for column in header:
        by_name[fold_name(column)].append(column)
    columns: dict[str, str] = {}
    faults: list[str] = []
    given = {role: column for role, column in (named or {}).items() if column is not None}
    roles = (*needed, *optional)
    faults += [
        f"data.columns.{role}: nothing of the kind; {suggest(role, roles)}" for role in given if role not in roles
    ]
    for role in roles:
        if role in given:
            if given[role] in header:
                columns[role] = given[role]
            else:
                faults.append(f"data.columns.{role}: no column '{given[role]}'; {suggest(given[role], header)}")
            continue
        same = [column for column in by_name.get(fold_name(role), []) if column not in given.values()]
        if len(same) > 1:
            faults.append(f"columns {' and '.join(map(repr, same))} are one name in two spellings; drop one of them")
        elif same:
            columns[role] = same[0]
        elif role in needed:
            faults.append(f"no column '{role}'; {suggest(role, header)} Of another name: data.columns.{role}=NAME")
    if faults:
        more = f" and may have {', '.join(optional)}" if optional else ""
        raise list_faults(f"{path}, line 1: needs the columns {', '.join(needed)}{more}", faults)
    used = set(columns.values())
    return Header(columns, tuple(column for column in header if column and column not in used))


def read_cells(
    path: Path, needed: Sequence[str], optional: Sequence[str] = (), *, setting: str
) -> Iterator[tuple[int, Cells]]:
    """Read the lines of a table by role; see `read_lines` and `find_columns`.

    Raises
    ------
    UserError
        If there is no such file, it can't be read, or a column is missing or twice there.

    """
    lines = read_lines(path, setting=setting, wanted=f" with the columns {', '.join(needed)}")
    header = find_columns(path, lines.header, needed, optional)
    for line, cells in lines.cells:
        yield line, header.take(cells)


def to_text(value: Any) -> str:  # noqa: ANN401 - a cell of whatever a library read
    """Write a cell as text."""
    return _to_text(value)
