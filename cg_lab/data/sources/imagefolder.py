"""Class folders: what an image shows stands in the names of the folders that it lies in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cg_lab.data.folder_levels import Collector, FolderSettings, Levels, find_levels, walk
from cg_lab.data.pictures import SUFFIXES
from cg_lab.data.places import Place
from cg_lab.data.rows import Reading, Tally
from cg_lab.data.tabular import find_columns, read_lines
from cg_lab.errors import UserError

METADATA = ("metadata.csv", "metadata.parquet")
MASK = re.compile(r"(?P<image>.+?)[ _-](?:mask|segmentation|seg)(?:[ _-]?\d+)?", re.IGNORECASE)
"""Name of a mask, without its ending, beside the image that it belongs to."""


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
    images, masks_of = _part_masks(list(paths))
    collector = Collector(levels, Path(place.root).name, group)
    collector.open_columns(more.unused)
    for line, path in enumerate(images, 1):
        folders = path.split("/")[:-1]
        if len(folders) < len(levels.names):
            collector.tally.count(f"lies in fewer than {len(levels.names)} folders, left out", path)
            continue
        told = {**levels.elements, **dict(zip(levels.names, folders, strict=False)), **more.roles.get(path, {})}
        told.pop("_", None)
        found = masks_of.get(path, ())
        if masks == "boxes" and not found:
            collector.tally.count("image without a mask, left out", path)
            continue
        boxes = "; ".join(f"mask {mask}" for mask in found) if masks == "boxes" else ""
        collector.add(line, path, told, path, more.others.get(path), boxes)
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


def _part_masks(paths: list[str]) -> tuple[list[str], Mapping[str, tuple[str, ...]]]:
    """Part masks from the images beside which they lie; a mask without its image is an image."""
    by_stem = {path.rpartition(".")[0]: path for path in paths}
    masks: dict[str, tuple[str, ...]] = {}
    images: list[str] = []
    for path in paths:
        stem = path.rpartition(".")[0]
        head, _, name = stem.rpartition("/")
        match = MASK.fullmatch(name)
        image = by_stem.get(f"{head}/{match['image']}" if head else match["image"]) if match else None
        if image is None:
            images.append(path)
        else:
            masks[image] = (*masks.get(image, ()), path)
    return images, masks


def _read_metadata(root: Path) -> Metadata:
    """Read what a table beside the images tells, as the datasets library's imagefolder does."""
    path = next((root / name for name in METADATA if (root / name).is_file()), None)
    if path is None:
        return Metadata()
    lines = read_lines(path, setting="data.path")
    header = find_columns(path, lines.header, ("file_name",), ("group", "split", "label", "subset"))
    found = Metadata(unused=header.unused)
    for _, cells in lines.cells:
        roles = header.take(cells)
        name = roles.pop("file_name").strip()
        found.roles[name] = {role: text for role, text in roles.items() if text.strip()}
        found.others[name] = {column: cells[column] for column in header.unused}
    return found
