"""Images listed in a CSV: every line and every image is checked before anything is done with them."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from cg_lab.boxes import Box
from cg_lab.catalog import Note
from cg_lab.data.spelling import Spelling, find_near_misses
from cg_lab.errors import UserError, list_faults, suggest
from cg_lab.mat import DEFAULT_FACTORS
from cg_lab.serialize import content_id

NEEDED = ("image", "label")
OPTIONAL = ("subset", "group", "box", "mask")
UNDECODABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for files that are no images."""
MAX_PIXELS = 64_000_000
"""Larger images are refused unread: they are mistakes or decompression bombs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One usable line of a manifest."""

    line: int
    image: str
    label: str
    subset: str
    elements: tuple[str, ...]
    """One value for each factor."""
    group: str | None
    digest: str
    """SHA-256 of the image file."""
    boxes: tuple[Box, ...] = ()
    """What the image is asked for, where that is a place; empty where it is a label."""


@dataclass(frozen=True)
class Manifest:
    """A manifest that has been read and checked."""

    path: Path
    factors: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[Note, ...]

    @cached_property
    def content(self) -> str:
        """Hash of the usable rows and their images; the manifest may be moved, not changed."""
        return content_id(
            "manifest",
            1,
            sorted(
                [row.image, row.label, row.subset, ":".join(row.elements), row.group or "", row.digest]
                + ([str(row.boxes)] if row.boxes else [])
                for row in self.rows
            ),
        )


def read_manifest(
    path: Path,
    factors: tuple[str, ...] = DEFAULT_FACTORS,
    known: Mapping[str, tuple[str, ...]] | None = None,
) -> Manifest:
    """Read a manifest and check every line and every image.

    Parameters
    ----------
    path
        The CSV; image paths in it are relative to its folder.
    factors
        Columns that tell elements apart.
    known
        Elements by name of subset, from a catalogue; the manifest then names subsets and has no columns of factors.

    Images that are missing or can't be decoded are counted, listed and left out; they stop nothing unless none is
    left of a label.

    Raises
    ------
    UserError
        If the file can't be read, a column is missing or twice there, or lines have empty or contradicting cells;
        all faults at once, with their line numbers.

    """
    columns = (*NEEDED, "subset") if known is not None else (*NEEDED, *factors)
    raw = _read_lines(path, columns)
    faults: list[str] = []
    seen: dict[str, int] = {}
    subsets: dict[str, tuple[tuple[str, ...], int]] = {}
    spellings: dict[tuple[str, str], int] = {}
    rows: list[Row] = []
    unreadable: list[str] = []
    lost: Counter[tuple[str, str]] = Counter()
    kept: Counter[tuple[str, str]] = Counter()
    for line, cells in raw:
        empty = [column for column in columns if not (cells.get(column) or "").strip()]
        if empty:
            faults.append(f"line {line}: empty {', '.join(empty)}")
            continue
        image, label = cells["image"].strip(), cells["label"].strip()
        subset, elements = _find_subset(cells, factors, known)
        if elements is None:
            faults.append(f"line {line}: no subset '{subset}' in the catalogue; {suggest(subset, known or ())}")
            continue
        for factor, value in zip(factors, elements, strict=True):
            spellings.setdefault((factor, value), line)
        first, first_line = subsets.setdefault(subset, (elements, line))
        if first != elements:
            here, there = ":".join(elements), ":".join(first)
            faults.append(f"line {line}: subset '{subset}' is {here} here and {there} in line {first_line}")
        elif image in seen:
            faults.append(f"line {line}: image '{image}' is listed in line {seen[image]} already")
        elif isinstance(found := _inspect(cells, path.parent), str):
            faults.append(f"line {line}: {found}")
        else:
            seen[image] = line
            if isinstance(found, _Unreadable):
                unreadable.append(f"line {line}: {image} ({found.reason})")
                lost[subset, label] += 1
                continue
            kept[subset, label] += 1
            group = (cells.get("group") or "").strip() or None
            rows.append(
                Row(
                    line=line, image=image, label=label, subset=subset, elements=elements, group=group,
                    digest=found.digest, boxes=found.boxes,
                )
            )  # fmt: skip
    faults += _list_lost(lost, kept, unreadable) + _list_mixed(rows)
    faults += find_near_misses(
        [Spelling(factor=factor, value=value, line=line) for (factor, value), line in spellings.items()],
        {},
        slips=False,
    )
    if not rows and not faults:
        faults.append("no line below the header")
    _refuse(path, faults)
    notes = (
        Note(
            subject=path.name,
            reason="image missing or not decodable, left out",
            count=len(unreadable),
            examples=tuple(unreadable[:20]),
        ),
    )
    return Manifest(path=path, factors=factors, rows=tuple(rows), notes=notes if unreadable else ())


def _list_lost(lost: Counter[tuple[str, str]], kept: Counter[tuple[str, str]], unreadable: list[str]) -> list[str]:
    """Name labels of which no image can be read."""
    return [
        f"subset '{subset}': none of the {count} images of label '{label}' can be read, "
        f"the first of them: {unreadable[0]}"
        for (subset, label), count in lost.items()
        if not kept[subset, label]
    ]


def _list_mixed(rows: list[Row]) -> list[str]:
    """Name subsets that ask for boxes in some lines and not in others."""
    first: dict[str, Row] = {}
    faults: list[str] = []
    for row in rows:
        before = first.setdefault(row.subset, row)
        if bool(before.boxes) != bool(row.boxes):
            has = "a box" if row.boxes else "no box"
            faults.append(f"line {row.line}: {has} here, unlike line {before.line} of subset '{row.subset}'")
    return faults


def _refuse(path: Path, faults: list[str]) -> None:
    if faults:
        plural = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        shown = faults[:30] + ([f"... and {len(faults) - 30} more"] if len(faults) > 30 else [])
        raise list_faults(f"manifest {path} has {plural}", shown)


def _find_subset(
    cells: dict[str, str], factors: tuple[str, ...], known: Mapping[str, tuple[str, ...]] | None
) -> tuple[str, tuple[str, ...] | None]:
    """Give a line's subset and its elements; None if a catalogue does not know the subset."""
    subset = (cells.get("subset") or "").strip()
    if known is not None:
        return subset, known.get(subset)
    elements = tuple(cells[factor].strip() for factor in factors)
    return subset or _name_subset(elements), elements


def _read_lines(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    if not path.is_file():
        raise UserError(f"data.path: no file '{path}'; give a CSV with the columns {', '.join(columns)}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or []]
            _check_header(path, header, columns)
            reader.fieldnames = header
            return [(reader.line_num, {key: value or "" for key, value in cells.items() if key}) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"manifest {path}: not a CSV in UTF-8 ({error})") from None


def _check_header(path: Path, header: list[str], columns: tuple[str, ...]) -> None:
    missing = [column for column in columns if column not in header]
    twice = [column for column, count in Counter(header).items() if count > 1]
    faults = [f"no column '{column}'; {suggest(column, header)}" for column in missing]
    faults += [f"column '{column}' is there twice" for column in twice]
    if faults:
        raise list_faults(
            f"manifest {path}, line 1: needs the columns {', '.join(columns)} and may have {', '.join(OPTIONAL)}",
            faults,
        )


def _lies_below(folder: Path, image: str) -> bool:
    return (folder / image).resolve().is_relative_to(folder.resolve())


@dataclass(frozen=True, slots=True)
class _Unreadable:
    reason: str


@dataclass(frozen=True, slots=True)
class _Inspected:
    digest: str
    boxes: tuple[Box, ...]


def _inspect(cells: Mapping[str, str], folder: Path) -> _Inspected | _Unreadable | str:
    """Decode a line's image once, and read its boxes; a text says what is wrong with the line."""
    name = cells["image"].strip()
    path = folder / name
    if not _lies_below(folder, name):
        return f"image '{name}' lies outside the manifest's folder"
    try:
        payload = path.read_bytes()
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                return _Unreadable(f"{image.width} x {image.height} pixels, at most {MAX_PIXELS} are read")
            image.load()
            size = image.size
    except FileNotFoundError:
        return _Unreadable("missing")
    except UNDECODABLE as error:
        return _Unreadable(str(error).replace(str(path), path.name) or type(error).__name__)
    boxes = _read_boxes(cells, folder, size)
    return boxes if isinstance(boxes, str) else _Inspected(hashlib.sha256(payload).hexdigest(), boxes)


def _read_boxes(cells: Mapping[str, str], folder: Path, size: tuple[int, int]) -> tuple[Box, ...] | str:
    """Read boxes, from the upper left on: written, or around all that a mask shows (Med-MAT, section 3.2)."""
    written, mask = ((cells.get(column) or "").strip() for column in ("box", "mask"))
    if written and mask:
        return "both a box and a mask; give one of them"
    if mask:
        outline = _find_outline(mask, folder, size)
        return outline if isinstance(outline, str) else (outline,)
    width, height = size
    boxes: list[Box] = []
    for part in filter(None, (part.strip() for part in written.split(";"))):
        try:
            x0, y0, x1, y1 = (float(number) for number in part.split())
        except ValueError:
            return f"box '{part}' is not `x0 y0 x1 y1` in pixels; several are parted by ;"
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            return f"box '{part}' does not lie within the {width} x {height} pixels of its image, or is empty"
        boxes.append((x0 / width, y0 / height, x1 / width, y1 / height))
    return tuple(sorted(boxes, key=lambda box: (box[1], box[0])))


def _find_outline(mask: str, folder: Path, size: tuple[int, int]) -> Box | str:
    if not _lies_below(folder, mask):
        return f"mask '{mask}' lies outside the manifest's folder"
    try:
        with Image.open(folder / mask) as pixels:
            found, outline = pixels.size, pixels.convert("L").getbbox()
    except UNDECODABLE as error:
        return f"mask '{mask}' can't be read ({getattr(error, 'strerror', None) or 'not an image'})"
    if found != size:
        return f"mask '{mask}' has {found[0]} x {found[1]} pixels and its image {size[0]} x {size[1]}"
    if outline is None:
        return f"mask '{mask}' shows nothing: every pixel is 0"
    left, top, right, bottom = outline
    return left / size[0], top / size[1], right / size[0], bottom / size[1]


def _name_subset(elements: tuple[str, ...]) -> str:
    """Name a subset whose line does not."""
    text = "-".join(elements).lower()
    return "".join(character if character.isalnum() else "-" for character in text).strip("-")
