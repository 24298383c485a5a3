"""Images listed in a table: a CSV or Parquet file, each line checked before anything is done with it."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cg_lab.data.places import Place
from cg_lab.data.rows import NOT_A_VALUE, SIDES, Reading, RowError, Rows, clean_text, lies_below
from cg_lab.data.spelling import Spelling, find_near_misses
from cg_lab.errors import UserError, list_faults, suggest
from cg_lab.mat import Kind, Subset

NEEDED = ("image", "label")
OPTIONAL = ("subset", "group", "split", "box", "mask")
BOX_COLUMNS = ("image", "label", "x0", "y0", "x1", "y1")
Cells = dict[str, str]


def read_manifest(
    path: Path, factors: tuple[str, ...], boxes: Path | None = None, known: Mapping[str, Subset] | None = None
) -> Reading:
    """Read a manifest and check every line; images are opened later.

    Parameters
    ----------
    path
        A CSV or a Parquet file; image paths in it are relative to its folder.
    factors
        Columns that tell elements apart.
    boxes
        A CSV with a line for each box: image, label, x0, y0, x1, y1 in pixels and perhaps subset. The subsets whose
        images it names then ask where its labels are, and no longer what the manifest's label says.
    known
        Subsets of a catalogue by name; the manifest then names subsets and has no columns of factors.

    Raises
    ------
    UserError
        If a file can't be read, or a column is missing or twice there. Faults of lines are gathered in the result.

    """
    needed = (*NEEDED, "subset") if known is not None else (*NEEDED, *factors)
    found = _read_boxes(boxes) if boxes else {}
    lines = list(read_cells(path, needed, OPTIONAL, setting="data.path"))
    checker = _Checker(path.name, factors, known, found, _find_boxed(lines, found, factors))
    for line, cells in lines:
        checker.check(line, cells, needed)
    return checker.finish(path)


class _Checker:
    """Turns lines into rows and gathers what is wrong with them."""

    def __init__(
        self,
        name: str,
        factors: tuple[str, ...],
        known: Mapping[str, Subset] | None,
        boxes: Mapping[str, list[_BoxLine]],
        boxed: frozenset[str],
    ) -> None:
        self.rows = Rows(sources=[name])
        self.factors, self.known, self.boxes, self.boxed = factors, known, boxes, boxed
        self.faults: list[str] = []
        self.elements: dict[str, tuple[tuple[str, ...], int]] = {}
        self.spellings: dict[tuple[str, str], int] = {}
        self.seen: dict[tuple[str, str], int] = {}
        self.located: dict[str, tuple[bool, int]] = dict.fromkeys(boxed, (True, 0))
        """Whether a subset asks for boxes, and the line that says so."""

    def check(self, line: int, cells: Cells, needed: tuple[str, ...]) -> None:
        """Check one line; what is wrong with it leaves it out."""
        try:
            self._take(line, cells, needed)
        except RowError as error:
            self.faults.append(f"line {line}: {error}")

    def _take(self, line: int, cells: Cells, needed: tuple[str, ...]) -> None:
        texts = self._clean(cells, needed)
        image = cells["image"].strip()
        if not lies_below(image):
            raise RowError(f"image '{image}' lies outside the manifest's folder")
        subset, elements = self._find_subset(cells, texts)
        if self.known is None:
            for factor, value in zip(self.factors, elements, strict=True):
                self.spellings.setdefault((factor, value), line)
        first, first_line = self.elements.setdefault(subset, (elements, line))
        if first != elements:
            raise RowError(f"subset '{subset}' is {':'.join(elements)} here and {':'.join(first)} in line {first_line}")
        side = cells.get("split", "").strip().casefold()
        if side and side not in SIDES:
            raise RowError(f"split '{cells['split']}' is none of {', '.join(SIDES)}")
        group = clean_text(cells.get("group", "")) or ""
        for label, boxes in self._find_answers(line, cells, image, subset, texts["label"]):
            self.rows.add(line, image, subset, label, group=group, side=side, boxes=boxes)

    def _clean(self, cells: Cells, needed: tuple[str, ...]) -> dict[str, str]:
        """Give label and factors in one form."""
        empty = [column for column in needed if cells[column].strip().casefold() in NOT_A_VALUE]
        if empty:
            raise RowError(f"empty {', '.join(empty)}")
        texts: dict[str, str] = {}
        for column in ("label", *(self.factors if self.known is None else ())):
            text = clean_text(cells[column])
            if text is None:
                raise RowError(f"{column} {cells[column]!a} holds characters that are not printed")
            texts[column] = text
        return texts

    def _find_subset(self, cells: Cells, texts: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
        named = clean_text(cells.get("subset", "")) or ""
        if self.known is None:
            elements = tuple(texts[factor] for factor in self.factors)
            return named or name_subset(elements), elements
        if named not in self.known:
            raise RowError(f"no subset '{named}' in the catalogue; {suggest(named, self.known)}")
        return named, self.known[named].own

    def _find_answers(self, line: int, cells: Cells, image: str, subset: str, label: str) -> Iterator[tuple[str, str]]:
        """Give the labels to ask about, each with its boxes: the line's own, or those of the file of boxes."""
        box, mask = cells.get("box", "").strip(), cells.get("mask", "").strip()
        if box and mask:
            raise RowError("both a box and a mask; give one of them")
        if mask and not lies_below(mask):
            raise RowError(f"mask '{mask}' lies outside the manifest's folder")
        before = self.seen.setdefault((image, label if box or mask else ""), line)
        if before != line:
            raise RowError(f"image '{image}' is listed in line {before} already")
        if subset in self.boxed:
            by_label: dict[str, list[str]] = defaultdict(list)
            for found in self.boxes.get(image, ()):
                if found.subset in {"", subset}:
                    by_label[found.label].append(found.box)
            yield from ((name, "; ".join(found)) for name, found in sorted(by_label.items()))
            return
        written = box or (f"mask {mask}" if mask else "")
        has_boxes, first = self.located.setdefault(subset, (bool(written), line))
        if has_boxes != bool(written):
            raise RowError(f"{'a box' if written else 'no box'} here, unlike line {first} of subset '{subset}'")
        yield label, written

    def finish(self, path: Path) -> Reading:
        """Give all rows, and the subsets that they belong to."""
        if not len(self.rows) and not self.faults:
            self.faults.append("no line below the header")
        self.faults += find_near_misses(
            [Spelling(factor=factor, value=value, line=line) for (factor, value), line in self.spellings.items()],
            {},
            slips=False,
        )
        subsets = {
            name: make_subset(name, elements, is_located=self.located.get(name, (False, 0))[0])
            if self.known is None
            else self.known[name]
            for name, (elements, _) in self.elements.items()
        }
        for name, subset in subsets.items():
            is_located = self.located.get(name, (False, 0))[0]
            if (subset.kind is Kind.DETECTION) != is_located:
                self.faults.append(
                    f"subset '{name}' is of kind {subset.kind} in the catalogue, and its lines have "
                    f"{'boxes' if is_located else 'no box and no mask'}"
                )
        return Reading(
            rows=self.rows,
            place=Place(kind="files", root=str(path.parent)),
            factors=self.factors,
            subsets=subsets,
            faults=self.faults,
            is_own=True,
        )


def make_subset(name: str, elements: Iterable[str], *, is_located: bool = False) -> Subset:
    """Make a subset that is not counted yet."""
    return Subset(
        name=name,
        elements=tuple((value,) for value in elements),
        num_options=0 if is_located else 2,
        num_train=0,
        num_test=0,
        kind=Kind.DETECTION if is_located else Kind.CLASSIFICATION,
    )


def name_subset(elements: Iterable[str]) -> str:
    """Name a subset after its elements.

    >>> name_subset(("X-ray", "Lung", "Cell type"))
    'x-ray-lung-cell-type'
    """
    text = "-".join(elements).lower()
    return "".join(character if character.isalnum() else "-" for character in text).strip("-")


def _find_boxed(
    lines: Sequence[tuple[int, Cells]], boxes: Mapping[str, list[_BoxLine]], factors: tuple[str, ...]
) -> frozenset[str]:
    """Name the subsets that a file of boxes is about: those that it names, or of whose images it names one."""
    if not boxes:
        return frozenset()
    named = {line.subset for found in boxes.values() for line in found} - {""}
    return frozenset(
        clean_text(cells.get("subset", "")) or name_subset(cells.get(factor, "") for factor in factors)
        for _, cells in lines
        if cells["image"].strip() in boxes
        and (not named or (clean_text(cells.get("subset", "")) or "") in named or not cells.get("subset"))
    )


@dataclass(frozen=True, slots=True)
class _BoxLine:
    subset: str
    label: str
    box: str


def _read_boxes(path: Path) -> dict[str, list[_BoxLine]]:
    """Read a file of boxes, by image; numbers are checked when the image's size is known."""
    found: dict[str, list[_BoxLine]] = defaultdict(list)
    faults: list[str] = []
    for line, cells in read_cells(path, BOX_COLUMNS, ("subset",), setting="data.boxes"):
        label = clean_text(cells["label"])
        if not cells["image"].strip() or label is None:
            faults.append(f"line {line}: empty image or label")
            continue
        box = " ".join(cells[corner].strip() for corner in BOX_COLUMNS[2:])
        found[cells["image"].strip()].append(_BoxLine(clean_text(cells.get("subset", "")) or "", label, box))
    if faults:
        raise list_faults(f"boxes {path}", faults)
    return found


def read_cells(
    path: Path, needed: tuple[str, ...], optional: tuple[str, ...] = (), *, setting: str
) -> Iterator[tuple[int, Cells]]:
    """Read the lines of a CSV or Parquet file, with their numbers; cells are text, empty where there is nothing.

    Raises
    ------
    UserError
        If there is no such file, it can't be read, or a column is missing or twice there.

    """
    if not path.is_file():
        raise UserError(f"{setting}: no file '{path}'; give a CSV or Parquet file with the columns {', '.join(needed)}")
    if path.suffix == ".parquet":
        yield from _read_parquet(path, needed, optional)
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or []]
            _check_header(path, header, needed, optional)
            reader.fieldnames = header
            for cells in reader:
                if None in cells:
                    raise UserError(f"{path}, line {reader.line_num}: more cells than the {len(header)} columns")
                yield reader.line_num, {key: value or "" for key, value in cells.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV in UTF-8 ({error})") from None


def _read_parquet(path: Path, needed: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[tuple[int, Cells]]:
    try:
        with pq.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            _check_header(path, names, needed, optional)
            line = 0
            for batch in file.iter_batches(columns=[name for name in names if name in {*needed, *optional}]):
                for cells in batch.to_pylist():
                    line += 1
                    yield line, {key: _to_text(value) for key, value in cells.items()}
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None


def _to_text(value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124  (NaN)
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _check_header(path: Path, header: list[str], needed: tuple[str, ...], optional: tuple[str, ...]) -> None:
    missing = [column for column in needed if column not in header]
    twice = [column for column, count in Counter(header).items() if count > 1]
    faults = [f"no column '{column}'; {suggest(column, header)}" for column in missing]
    faults += [f"column '{column}' is there twice" for column in twice]
    if faults:
        raise list_faults(
            f"{path}, line 1: needs the columns {', '.join(needed)}"
            + (f" and may have {', '.join(optional)}" if optional else ""),
            faults,
        )


def has_columns(path: Path, columns: Iterable[str]) -> bool:
    """Tell whether a table has some columns."""
    try:
        if path.suffix == ".parquet":
            return set(columns) <= set(pq.read_schema(path).names)
        with path.open(encoding="utf-8-sig") as file:
            return set(columns) <= {name.strip() for name in file.readline().split(",")}
    except (OSError, UnicodeDecodeError, pa.ArrowException):
        return False
