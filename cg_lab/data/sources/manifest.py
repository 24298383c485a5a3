"""Images listed in a table with columns image, label, a column for each factor, and optionally more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cg_lab.data.box_tables import BoxTable, read_boxes
from cg_lab.data.places import Place
from cg_lab.data.records import RecordChecker
from cg_lab.data.rows import Reading, clean_text
from cg_lab.data.subset_names import name_subset
from cg_lab.data.tabular import Cells, find_columns, read_lines
from cg_lab.data_settings import ImageSettings, NonEmptyText
from cg_lab.mat import Subset


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ImageSettings):
    """Which table."""

    path: NonEmptyText
    """A CSV, TSV or Parquet file; image paths in it are relative to its folder."""
    boxes: str | None = None
    """A table of boxes: image, label, x0, y0, x1, y1 in pixels."""
    columns: dict[str, NonEmptyText | None] | None = None
    """Columns by what they hold, where they are not called so."""
    box_columns: dict[str, NonEmptyText | None] | None = None
    """The same of the table of boxes."""
    elements: dict[str, NonEmptyText] | None = None
    """Factors that are the same for all images."""


def read(settings: Settings, folder: Path | None) -> Reading:
    """Read a manifest and check every line; images are opened later."""
    del folder
    return read_manifest(
        Path(settings.path).absolute(),
        settings.factors,
        Path(settings.boxes) if settings.boxes else None,
        columns=settings.columns,
        box_columns=settings.box_columns,
        elements=settings.elements,
        group=settings.group,
    )


def list_watched(settings: Settings) -> tuple[str, ...]:
    """Watch the tables."""
    return (settings.path, *([settings.boxes] if settings.boxes else []))


def read_manifest(  # noqa: PLR0913  (so much decides what a line means)
    path: Path,
    factors: tuple[str, ...],
    boxes: Path | None = None,
    known: Mapping[str, Subset] | None = None,
    *,
    columns: Mapping[str, str | None] | None = None,
    box_columns: Mapping[str, str | None] | None = None,
    elements: Mapping[str, str] | None = None,
    group: str | None = None,
) -> Reading:
    """Read a manifest and check every line; images are opened later.

    Parameters
    ----------
    path
        A table; image paths in it are relative to its folder.
    factors, elements
        Columns that tell elements apart, and those that are the same for all lines.
    boxes
        A table with a line for each box: image, label, x0, y0, x1, y1 in pixels and perhaps subset. The subsets whose
        images it names then ask where its labels are, and no longer what the manifest's label says.
    known
        Subsets of a catalogue by name; the manifest then names subsets and has no columns of factors.
    columns, box_columns
        Columns by role, where they are not called so.
    group
        `data.group`.

    Raises
    ------
    UserError
        If a file can't be read, or a column is missing or twice there. Faults of lines are gathered in the result.

    """
    found = read_boxes(boxes, box_columns) if boxes else None
    plain = RecordChecker(path.name, factors, elements=elements, known=known, group=group)
    table = read_lines(path, setting="data.path", wanted=f" with the columns {', '.join(plain.needed)}")
    header = find_columns(path, table.header, plain.needed, plain.optional, columns)
    if found is None:
        checker, lines = plain, table.cells
    else:
        lines = list(table.cells)
        boxed = _find_boxed([header.take(cells) for _, cells in lines], found, factors, elements or {})
        checker = RecordChecker(
            path.name, factors, elements=elements, known=known, group=group, boxes=found, boxed=boxed
        )
    checker.open_columns(header.unused)
    for line, cells in lines:
        checker.check(line, header.take(cells), cells)
    return checker.finish(Place(kind="files", root=str(path.parent)), header.unused)


def _find_boxed(
    lines: Sequence[Cells], boxes: BoxTable, factors: tuple[str, ...], elements: Mapping[str, str]
) -> frozenset[str]:
    """Name the subsets that a file of boxes is about: those that it names, or of whose images it names one."""
    named = {line.subset for found in boxes.boxes.values() for line in found} - {""}
    return frozenset(
        clean_text(cells.get("subset", ""))
        or name_subset(elements.get(factor) or cells.get(factor, "") for factor in factors)
        for cells in lines
        if boxes.find(cells["image"].strip()) is not None
        and (not named or (clean_text(cells.get("subset", "")) or "") in named or not cells.get("subset"))
    )
