"""Logs of inspect_ai: `.eval`, a ZIP of samples, or the same as one JSON file."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from cg_lab.errors import UserError
from cg_lab.exchange.answer_files import Content, GivenAnswer, Whose

ZSTANDARD = 93
"""How inspect_ai packs; Python's zipfile knows it from 3.14 on."""
MOST_BYTES = 500_000_000
"""Of one sample; a larger one is a mistake or a decompression bomb."""
Plain = dict[str, Any]


def read(path: Path) -> Content:
    """Read the samples.

    Raises
    ------
    UserError
        If it is no log of inspect_ai.

    """
    try:
        head, samples = _read_archive(path) if path.suffix.lower() == ".eval" else _read_whole(path)
        told: Plain = head["eval"]
        whose = _read_whose(path, told.get("task_args") or {})
        answers = tuple(_read_sample(sample, whose) for sample in samples)
    except (ValueError, LookupError, TypeError, AttributeError, OSError, zipfile.BadZipFile, struct.error) as error:
        raise UserError(f"{path}: no log of inspect_ai that can be read ({_tell(error)})") from None
    return Content(tool="inspect_ai", model=str(told.get("model") or ""), answers=answers)


def _tell(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return f"no JSON: {error}" if isinstance(error, json.JSONDecodeError) else str(error)


def _read_whole(path: Path) -> tuple[Plain, Iterator[Plain]]:
    log: Plain = json.loads(path.read_text(encoding="utf-8"))
    return log, iter(log.get("samples") or [])


def _read_archive(path: Path) -> tuple[Plain, Iterator[Plain]]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    head = next((member for member in members if member.filename == "header.json"), None)
    if head is None:
        raise ValueError("it has no end: the evaluation was not finished; `inspect eval-retry` goes on with it")
    samples = (member for member in members if member.filename.startswith("samples/"))
    return _unpack(path, head), (_unpack(path, member) for member in samples)


def _unpack(path: Path, member: zipfile.ZipInfo) -> Plain:
    """Read one member as JSON; of Zstandard, which zipfile does not know, by its place in the file."""
    if member.file_size > MOST_BYTES:
        raise ValueError(f"{member.filename} has {member.file_size:,} bytes, more than {MOST_BYTES:,}")
    if member.compress_type != ZSTANDARD:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(member))
    with path.open("rb") as file:
        file.seek(member.header_offset)
        name, extra = struct.unpack("<HH", file.read(30)[26:])
        file.seek(name + extra, 1)
        packed = file.read(member.compress_size)
    with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
        return json.loads(stream.read(member.file_size))


def _read_whose(path: Path, told: Plain) -> Whose:
    """Read which model answered, as the exported task was told: `-T arm=related -T seed=0`."""
    seed = told.get("seed", -1)
    if not isinstance(seed, int):
        raise UserError(f"{path}: seed '{seed}' is no whole number")
    return Whose(arm=str(told.get("arm") or "") or None, seed=seed if seed >= 0 else None)


def _read_sample(sample: Plain, whose: Whose) -> GivenAnswer:
    choices = (sample.get("output") or {}).get("choices") or []
    has_answer = bool(choices) and not sample.get("error")
    text = _join(choices[0]["message"]["content"]) if has_answer else None
    place = f"sample {sample['id']}, epoch {sample.get('epoch', 1)}"
    return GivenAnswer(question=str(sample["id"]), text=text, whose=whose, place=place)


def _join(content: object) -> str:
    """Give the text of a message, without its reasoning."""
    if isinstance(content, str):
        return content
    parts = cast("list[Plain]", content)
    return "\n".join(str(part["text"]) for part in parts if part.get("type") == "text")
