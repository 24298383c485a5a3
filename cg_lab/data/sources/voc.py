"""Pascal VOC's XML files of boxes, one for each image."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from cg_lab.data.folder_levels import walk
from cg_lab.data.named_files import NamedFiles
from cg_lab.data.pictures import lead_below
from cg_lab.data.places import Place
from cg_lab.data.records import RecordChecker
from cg_lab.data.rows import Reading, RowError, clean_text
from cg_lab.data.signing import list_folders
from cg_lab.data_settings import ImageSettings, NonEmptyText
from cg_lab.errors import UserError

MAX_BYTES = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ImageSettings):
    """Which folders."""

    path: NonEmptyText
    """Folder of the XML files."""
    root: str | None = None
    """Folder that images lie below; None for the one above `path` where that has them, else `path`."""
    elements: dict[str, NonEmptyText]
    """Factors, the same for all images."""


def read(settings: Settings, folder: Path | None) -> Reading:
    """Read boxes; corners count pixels from 1, both included, as VOC has them."""
    del folder
    path = Path(settings.path).absolute()
    root = Path(settings.root).absolute() if settings.root else path
    if settings.root is None and path.name.casefold() == "annotations":
        root = path.parent
    checker = RecordChecker(path.name, settings.factors, elements=settings.elements, group=settings.group)
    files = NamedFiles(root)
    count = 0
    for number, name in enumerate(walk(path, frozenset({".xml"}), checker.tally.count), 1):
        count += 1
        if not lead_below(path / name, path):
            checker.tally.count("lies outside the data folder, left out", name)
            continue
        try:
            image, boxes = _read_file(path / name)
            image = files.find(image or name.rpartition(".")[0])
        except RowError as error:
            checker.faults.append(f"{name}: {error}")
            continue
        if not boxes:
            checker.tally.count("image without an object, left out", name)
        for label, corners in sorted(boxes.items()):
            cells = {**dict.fromkeys(checker.optional, ""), "image": image, "label": label, "box": "; ".join(corners)}
            checker.check(number, cells)
    if not count:
        raise UserError(f"data.path: no XML file below '{path}'")
    return checker.finish(Place(kind="files", root=str(root)))


def list_watched(settings: Settings) -> list[str]:
    """Watch the folders of the XML files."""
    return list_folders(Path(settings.path))


class _Builder(ElementTree.TreeBuilder):
    """Refuses declarations, in whatever encoding they stand."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:  # noqa: ARG002  (the parser's signature)
        """Stop before anything is declared."""
        raise RowError("declares entities, which are not read")


def _read_file(path: Path) -> tuple[str, dict[str, list[str]]]:
    """Give the image that a file names, and its boxes by label."""
    if path.stat().st_size > MAX_BYTES:
        raise RowError(f"more than {MAX_BYTES} bytes")
    payload = path.read_bytes()
    try:
        parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314  (without declarations no entities unfold)
        whole = ElementTree.fromstring(payload, parser)  # noqa: S314
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise RowError(f"no XML ({error})") from None
    boxes: dict[str, list[str]] = defaultdict(list)
    for found in whole.iter("object"):
        label = clean_text(found.findtext("name") or "")
        box = found.find("bndbox")
        if label is None or box is None:
            raise RowError("an object has no name or no bndbox")
        try:
            x0, y0, x1, y1 = (float(box.findtext(name) or "") for name in ("xmin", "ymin", "xmax", "ymax"))
        except ValueError:
            raise RowError(f"a corner of '{label}' is no number") from None
        boxes[label].append(f"{x0 - 1:.10g} {y0 - 1:.10g} {x1:.10g} {y1:.10g}")
    return (whole.findtext("filename") or "").strip(), boxes
