"""Class folders: what an image shows stands in the names of the folders that it lies in."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from cg_lab.data.folder_levels import Collector, FolderSettings, Levels, find_levels, walk
from cg_lab.data.json_lists import read_json_lines
from cg_lab.data.mask_names import part_masks
from cg_lab.data.pictures import SUFFIXES
from cg_lab.data.places import Place
from cg_lab.data.rows import Reading, Tally, quote
from cg_lab.data.tabular import Lines, find_columns, read_lines, to_text
from cg_lab.errors import UserError

METADATA = ("metadata.csv", "metadata.parquet", "metadata.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(FolderSettings):
    """Which folders."""

    masks: Literal["left_out", "boxes"] = "left_out"
    """What becomes of `a_mask.png` beside `a.png`: it is no image of its own, or the boxes to ask for."""


def read(settings: Settings, folder: Path | None) -> Reading:
    """Read class folders."""
    del folder
    levels = find_levels(settings.levels, settings.elements, settings.factors, settings.subsets)
    return read_folders(Path(settings.path).absolute(), levels, masks=settings.masks, group=settings.group)


def list_watched(settings: Settings) -> list[str]:
    """Watch every folder, and the catalogue."""
    return settings.list_watched()


def read_folders(
    root: Path, levels: Levels, *, masks: Literal["left_out", "boxes"] = "left_out", group: str | None = None
) -> Reading:
    """Read class folders; `metadata.csv` with a column `file_name` may tell more of an image, such as its group.

    Parameters
    ----------
    root
        The outermost folder.
    levels
        What the folders above an image mean. Deeper ones mean nothing.
    masks
        What becomes of images that are named as masks of others beside them.
    group
        `data.group`.

    Raises
    ------
    UserError
        If there is no such folder, no image in it, or the levels can't be used. Other faults are in the result.

    """
    levels.check()
    told_more = _read_metadata(root)
    tally = Tally(root.name)
    paths = list(walk(root, SUFFIXES, tally.count))
    if not paths:
        reasons = "".join(f"; {count} x {reason}" for reason, count in tally.counts.items())
        raise UserError(f"data.path: no image below '{root}'; known endings: {', '.join(sorted(SUFFIXES))}{reasons}")
    reading = collect(paths, levels, Place(kind="files", root=str(root)), told_more, masks=masks, group=group)
    reading.notes += tally.to_notes()
    return reading


@dataclass(slots=True)
class Metadata:
    """What a table tells of images by their path."""

    name: str = ""
    roles: dict[str, dict[str, str]] = field(default_factory=dict)
    others: dict[str, dict[str, str]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


def collect(
    paths: Iterable[str],
    levels: Levels,
    place: Place,
    metadata: Metadata | None = None,
    *,
    masks: Literal["left_out", "boxes"] = "left_out",
    group: str | None = None,
) -> Reading:
    """Turn paths into rows by the folders that they name, wherever the files lie."""
    more = metadata or Metadata()
    parted = part_masks(list(paths))
    images, masks_of = parted.images, parted.masks
    collector = Collector(levels, Path(place.root).name, group)
    collector.open_columns(more.unused)
    absent = sorted(more.roles.keys() - {_fold_path(path) for one in (images, *masks_of.values()) for path in one})
    if absent and len(absent) == len(more.roles):
        shown = f"none of its {len(absent)} lines names an image that is there, such as {quote(absent[0])}"
        collector.faults.append(f"{more.name}: {shown}; file_name is a path below the folder")
    for name in absent:
        collector.tally.count(f"line of {more.name} names no image that is there", name)
    for line, path in enumerate(images, 1):
        folders = path.split("/")[:-1]
        if len(folders) < len(levels.names):
            collector.tally.count(f"lies in fewer than {len(levels.names)} folders, left out", path)
            continue
        told = {
            **levels.elements,
            **dict(zip(levels.names, folders, strict=False)),
            **more.roles.get(_fold_path(path), {}),
        }
        told.pop("_", None)
        found = masks_of.get(path, ())
        if masks == "boxes" and not found:
            collector.tally.count("image without a mask, left out", path)
            continue
        boxes = "; ".join(f"mask {mask}" for mask in found) if masks == "boxes" else ""
        collector.add(line, path, told, path, more.others.get(_fold_path(path)), boxes)
    if masks == "left_out":
        for found in masks_of.values():
            for mask in found:
                collector.tally.count("mask of the image beside it, left out (data.masks=boxes asks for it)", mask)
    return Reading(
        rows=collector.rows,
        place=place,
        factors=levels.factors,
        subsets=collector.subsets,
        faults=collector.faults,
        notes=collector.tally.to_notes(),
        is_own=True,
        columns=collector.columns.values,
        unused=more.unused,
    )


def _read_metadata(root: Path) -> Metadata:
    """Read what a table beside the images tells, as the datasets library's imagefolder does."""
    path = next((root / name for name in METADATA if (root / name).is_file()), None)
    if path is None:
        return Metadata()
    lines = _read_json_table(path) if path.suffix == ".jsonl" else read_lines(path, setting="data.path")
    header = find_columns(path, lines.header, ("file_name",), ("group", "split", "label", "subset"))
    found = Metadata(name=path.name, unused=header.unused)
    for line, cells in lines.cells:
        roles = header.take(cells)
        name = _fold_path(roles.pop("file_name").strip())
        if name in found.roles:
            raise UserError(f"{path}, line {line}: file_name {quote(name)} is there already")
        found.roles[name] = {role: text for role, text in roles.items() if text.strip()}
        found.others[name] = {column: cells[column] for column in header.unused}
    return found


def _read_json_table(path: Path) -> Lines:
    """Read JSON Lines as a table."""
    records = [cast("dict[str, object]", line) for line in read_json_lines(path) if isinstance(line, dict)]
    header = tuple(dict.fromkeys(name for record in records for name in record))
    cells = ({name: to_text(record.get(name)) for name in header} for record in records)
    return Lines(header, enumerate(cells, 1))


def _fold_path(path: str) -> str:
    return unicodedata.normalize("NFC", path.replace("\\", "/").removeprefix("./"))
