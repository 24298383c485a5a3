"""COCO's JSON of annotations: categories as labels, or boxes to ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from cg_lab.data.identifier_columns import fold_name
from cg_lab.data.json_lists import read_json_object
from cg_lab.data.named_files import NamedFiles
from cg_lab.data.places import Place
from cg_lab.data.records import RecordChecker
from cg_lab.data.rows import Reading, RowError, clean_text, quote
from cg_lab.data_settings import ImageSettings, NonEmptyText
from cg_lab.errors import UserError

KNOWN = frozenset({"id", "file_name", "width", "height", "license", "flickr_url", "coco_url", "date_captured", "url"})
"""Fields of an image that COCO has, and that say nothing here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ImageSettings):
    """Which file."""

    path: NonEmptyText
    root: str | None = None
    """Folder that images lie below; None for the file's own."""
    elements: dict[str, NonEmptyText] | None = None
    """Factors that are the same for all images; others stand in the file's images."""
    ask: Literal["boxes", "labels"] = "boxes"
    """Where a category is, or which categories an image has (`a, b`)."""
    crowds: Literal["left_out", "kept"] = "left_out"
    """What becomes of annotations with iscrowd."""


def read(settings: Settings, folder: Path | None) -> Reading:
    """Read images with their annotations; those without any are counted and left out, unless labels are asked for."""
    del folder
    path = Path(settings.path).absolute()
    whole = read_json_object(path, setting="data.path")
    root = Path(settings.root).absolute() if settings.root else path.parent
    checker = RecordChecker(path.name, settings.factors, elements=settings.elements, group=settings.group)
    names = {entry.get("id"): clean_text(entry.get("name")) or "" for entry in _list(path, whole, "categories")}
    images = list(_list(path, whole, "images"))
    found = _read_annotations(path, whole, names, settings, checker)
    unknown = sorted(map(str, found.keys() - {entry.get("id") for entry in images}))
    if unknown:
        checker.faults.append(f"no image has the id {quote(unknown[0])} of annotations ({len(unknown)} such ids)")
    roles = {fold_name(role): role for role in (*checker.needed, *checker.optional)}
    others = list(
        dict.fromkeys(name for image in images for name in image if name not in KNOWN and fold_name(name) not in roles)
    )
    checker.open_columns(others)
    files = NamedFiles(root)
    for number, image in enumerate(images, 1):
        told = {roles[fold_name(name)]: str(value) for name, value in image.items() if fold_name(name) in roles}
        cells = {**dict.fromkeys((*checker.needed, *checker.optional), ""), **told}
        boxes = found.get(image.get("id"), {})
        if not boxes and (settings.ask == "boxes" or not image.get("label")):
            checker.tally.count("image without an annotation, left out", f"{path.name}, image {number}")
            continue
        try:
            cells["image"] = files.find(str(image.get("file_name", "")))
        except RowError as error:
            checker.faults.append(f"image {number}: {error}")
            continue
        extra = {name: str(image.get(name, "")) for name in others}
        if settings.ask == "labels":
            checker.check(number, {**cells, "label": ", ".join(sorted(boxes)) or cells["label"]}, extra)
            continue
        for label, corners in sorted(boxes.items()):
            checker.check(number, {**cells, "label": label, "box": "; ".join(corners)}, extra)
    return checker.finish(Place(kind="files", root=str(root)), others)


def list_watched(settings: Settings) -> tuple[str, ...]:
    """Watch the file."""
    return (settings.path,)


def _list(path: Path, whole: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    entries = whole.get(name)
    if not isinstance(entries, list):
        raise UserError(f"{path}: no list '{name}'; COCO's files have images, annotations and categories")
    first: dict[Any, int] = {}
    for number, entry in enumerate(cast("list[object]", entries), 1):
        if not isinstance(entry, dict) or isinstance(entry.get("id"), list | dict):
            raise UserError(f"{path}: {name} {number} is no object with an id")
        fields = cast("dict[str, Any]", entry)
        if name != "annotations" and first.setdefault(fields.get("id"), number) != number:
            shown = quote(str(fields.get("id")))
            raise UserError(f"{path}: {name} {first[fields.get('id')]} and {number} both have the id {shown}; one each")
        yield fields


def _read_annotations(
    path: Path, whole: Mapping[str, Any], names: Mapping[Any, str], settings: Settings, checker: RecordChecker
) -> dict[Any, dict[str, list[str]]]:
    """Give each image's boxes by category; what can't be is a fault."""
    found: dict[Any, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for number, entry in enumerate(_list(path, whole, "annotations"), 1):
        image, category = entry.get("image_id"), entry.get("category_id")
        name = names.get(category) if isinstance(category, int | str) else None
        if not name or not isinstance(image, int | str):
            checker.faults.append(f"annotation {number}: no category {category!r} in the file, or no image_id")
            continue
        if entry.get("iscrowd") and settings.crowds == "left_out":
            checker.tally.count("annotation of a crowd, left out", f"{path.name}, annotation {number}")
            continue
        corners = _read_box(entry.get("bbox"))
        if corners is None and settings.ask == "boxes":
            checker.tally.count("annotation without a box, left out", f"{path.name}, annotation {number}")
            continue
        found[image][name].append(corners or "")
    return found


def _read_box(box: object) -> str | None:
    """Turn x, y, width, height into corners; None for an empty box or none."""
    try:
        x, y, width, height = map(float, cast("list[Any]", box))
    except (TypeError, ValueError):
        return None
    return f"{x:.10g} {y:.10g} {x + width:.10g} {y + height:.10g}" if width > 0 and height > 0 else None
