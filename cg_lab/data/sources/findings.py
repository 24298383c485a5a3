"""A table of findings: one-hot columns (ISIC), columns with 1, 0 and -1 (CheXpert), or several labels in one (NIH)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cg_lab.data.label_columns import LabelColumns, LabelSettings
from cg_lab.data.named_files import NamedFiles
from cg_lab.data.places import Place
from cg_lab.data.records import RecordChecker
from cg_lab.data.rows import Reading, RowError
from cg_lab.data.tabular import find_columns, read_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(LabelSettings):
    """Which table; nothing beyond what all tables of labels have."""


def read(settings: Settings, folder: Path | None) -> Reading:
    """Read a table of findings; images may be named without their folder or ending."""
    del folder
    path = Path(settings.path).absolute()
    root = Path(settings.root).absolute() if settings.root else path.parent
    table = read_lines(path, setting="data.path")
    lines = list(table.cells)
    checker = RecordChecker(path.name, settings.factors, elements=settings.elements, group=settings.group)
    labels = LabelColumns(settings, table.header, [cells for _, cells in lines])
    named = {role: column for role, column in (settings.columns or {}).items() if role != "label"}
    needed = [role for role in checker.needed if role != "label"]
    header = find_columns(path, table.header, needed, checker.optional, named)
    unused = tuple(name for name in header.unused if name not in labels.used)
    checker.open_columns(unused)
    files = NamedFiles(root)
    for line, cells in lines:
        try:
            label, reason = labels.read(cells)
            image = files.find(cells[header.columns["image"]].strip())
        except (ValueError, RowError) as error:
            checker.faults.append(f"line {line}: {error}")
            continue
        if label is None:
            checker.tally.count(f"{reason}, left out", f"{path.name}, {line}")
        else:
            checker.check(line, {**header.take(cells), "image": image, "label": label}, cells)
    return checker.finish(Place(kind="files", root=str(root)), unused)


def list_watched(settings: Settings) -> tuple[str, ...]:
    """Watch the table."""
    return (settings.path,)
