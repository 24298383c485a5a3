"""Tables of boxes, a line for each: corners, or a corner with width and height."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cg_lab.data.identifier_columns import fold_name
from cg_lab.data.rows import NOT_A_VALUE, Tally, clean_text, quote
from cg_lab.data.tabular import find_columns, read_lines
from cg_lab.errors import UserError, list_faults

CORNERS = (
    ("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)  # fmt: skip
SIZES = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("xmin", "ymin", "width", "height"),
         ("left", "top", "width", "height"), ("bboxx", "bboxy", "bboxw", "bboxh"))  # fmt: skip
"""A corner, then width and height."""


@dataclass(frozen=True, slots=True)
class BoxLine:
    """One box of an image."""

    subset: str
    label: str
    """Empty where the table of images says it."""
    box: str


@dataclass(slots=True, kw_only=True)
class BoxTable:
    """Boxes by image, as a file of them names it; images without a box are in it too."""

    boxes: dict[str, list[BoxLine]] = field(default_factory=lambda: defaultdict(list))
    tally: Tally
    unused: tuple[str, ...] = ()
    asked: set[str] = field(default_factory=set[str])
    """Images that were looked for, as the file names them."""

    def find(self, image: str) -> list[BoxLine] | None:
        """Give an image's boxes, by its path or by its name without an ending; None if the file doesn't name it."""
        for name in (image, PurePosixPath(image).name, PurePosixPath(image).stem):
            if name in self.boxes:
                self.asked.add(name)
                return self.boxes[name]
        return None

    def find_fault(self) -> str | None:
        """Count images that nothing else names; say so where that is all of them."""
        absent = sorted(self.boxes.keys() - self.asked)
        for name in absent:
            self.tally.count("image of the boxes that is not among the images, left out", name)
        if absent and not self.asked:
            return f"data.boxes: none of its {len(absent)} images is among those read, such as {quote(absent[0])}"
        return None


def read_boxes(path: Path, named: Mapping[str, str | None] | None = None) -> BoxTable:
    """Read a file of boxes; numbers are checked when the image's size is known.

    A line without any number says that the image has no box; it is counted. `label` may be missing: then the label is
    that of the image.

    Raises
    ------
    UserError
        If it can't be read, or a line names no image, or has some numbers and not others.

    """
    lines = read_lines(path, setting="data.boxes", wanted=" with the columns image, label, x0, y0, x1, y1")
    numbers = _find_numbers(path, lines.header)
    header = find_columns(path, lines.header, ("image",), ("label", "subset"), named)
    found = BoxTable(tally=Tally(path.name), unused=tuple(name for name in header.unused if name not in numbers))
    faults: list[str] = []
    is_size = tuple(map(fold_name, numbers)) in SIZES
    for line, raw in lines.cells:
        cells = header.take(raw)
        image, label = cells["image"].strip(), clean_text(cells.get("label", "")) or ""
        texts = [raw[name].strip() for name in numbers]
        given = [text.casefold() not in NOT_A_VALUE for text in texts]
        if not image or ("label" in cells and not label and any(given)):
            faults.append(f"line {line}: empty image or label")
        elif not any(given):
            found.boxes[image] += []
            found.tally.count("line without corners, no box", f"{path.name}, {line}")
        elif not all(given):
            faults.append(f"line {line}: {numbers[given.index(False)]} is empty, and the others are not")
        else:
            box = _add_size(texts) if is_size else " ".join(texts)
            found.boxes[image].append(BoxLine(clean_text(cells.get("subset", "")) or "", label, box))
    if faults:
        raise list_faults(f"boxes {path}", faults)
    return found


def _find_numbers(path: Path, header: Sequence[str]) -> tuple[str, ...]:
    by_name = {fold_name(name): name for name in header}
    twice = [name for name, count in Counter(map(fold_name, header)).items() if count > 1 and name in sum(CORNERS, ())]
    if twice:
        raise UserError(f"{path}, line 1: column '{twice[0]}' is there in two spellings")
    for names in (*CORNERS, *SIZES):
        if all(name in by_name for name in names):
            return tuple(by_name[name] for name in names)
    raise UserError(
        f"{path}, line 1: needs the columns x0, y0, x1, y1 (or xmin, ymin, xmax, ymax; or x, y, width, height) "
        f"in pixels, it has {', '.join(header)}"
    )


def _add_size(texts: Sequence[str]) -> str:
    """Turn a corner, width and height into two corners; what is no number stays, and is refused later."""
    try:
        x, y, width, height = map(float, texts)
    except ValueError:
        return " ".join(texts)
    return f"{x:.10g} {y:.10g} {x + width:.10g} {y + height:.10g}"
