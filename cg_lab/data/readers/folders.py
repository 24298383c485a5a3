"""Class folders: what an image shows stands in the names of the folders that it lies in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cg_lab.data.places import Place
from cg_lab.data.readers.tables import make_subset, name_subset, read_cells
from cg_lab.data.rows import SIDES, Reading, Rows, Tally, clean_text
from cg_lab.errors import UserError, list_faults
from cg_lab.mat import Subset

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2"})
METADATA = ("metadata.csv", "metadata.parquet")
ALSO = ("subset", "label", "split", "group", "_")
"""What a level may be beside a factor; `_` is passed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """What the folders above an image mean, from the outermost to the innermost."""

    names: tuple[str, ...]
    elements: Mapping[str, str]
    """Factors that are the same for all images."""
    factors: tuple[str, ...]
    known: Mapping[str, Subset] | None
    """Subsets of a catalogue by name; their elements then need not stand in folders."""

    def check(self, given: tuple[str, ...] = (), *, setting: str = "data.levels") -> None:
        """Refuse levels that say too little, too much, or the same twice; `given` is known from elsewhere.

        A setting other than levels may name what images are, such as columns.

        Raises
        ------
        UserError
            With all faults at once.

        """
        allowed = (*self.factors, *ALSO)
        kind = setting.rpartition(".")[2].removesuffix("s")
        faults = [f"{kind} '{name}' is none of {', '.join(allowed)}" for name in self.names if name not in allowed]
        faults += [
            f"'{name}' is there twice"
            for name in dict.fromkeys(self.names)
            if name != "_" and self.names.count(name) + (name in self.elements) > 1
        ]
        faults += [f"data.elements.{name}: no such factor" for name in self.elements if name not in self.factors]
        if "label" not in (*self.names, *given):
            faults.append(f"no {kind} is the label")
        if self.known is None:
            faults += [
                f"factor '{factor}' is neither a {kind} nor in data.elements"
                for factor in self.factors
                if factor not in self.names and factor not in self.elements and factor not in given
            ]
        elif "subset" not in self.names:
            faults.append(f"with data.subsets a {kind} must be the subset")
        if faults:
            raise list_faults(f"{setting}: [{', '.join(self.names)}] can't be used", faults)


class Collector:
    """Gathers rows from what folders say of each image."""

    def __init__(self, levels: Levels, subject: str) -> None:
        self.levels = levels
        self.rows = Rows(sources=[subject])
        self.tally = Tally(subject)
        self.faults: list[str] = []
        self.subsets: dict[str, Subset] = {}

    def add(self, line: int, origin: str, told: Mapping[str, str], shown: str) -> None:
        """Add an image; `told` says what it is, `shown` names it in messages."""
        values: dict[str, str] = {}
        for name, value in told.items():
            text = clean_text(value)
            if text is None and name not in {"split", "group"}:
                self.tally.count(f"{name} is empty or not printed, left out", shown)
                return
            values[name] = text or ""
        side = values.get("split", "").casefold()
        side = {"validation": "val", "valid": "val", "dev": "val"}.get(side, side)
        if side and side not in SIDES:
            self._fault(f"split folder '{side}' is none of {', '.join(SIDES)}")
            return
        known = self.levels.known
        name = values.get("subset", "")
        if known is not None:
            if name not in known:
                self._fault(f"no subset '{name}' in data.subsets")
                return
            subset = known[name]
        else:
            elements = tuple(values[factor] for factor in self.levels.factors)
            name = name or name_subset(elements)
            subset = make_subset(name, elements)
        first = self.subsets.setdefault(name, subset)
        if first.own != subset.own:
            self._fault(f"subset '{name}' is {subset.triplet} in one folder and {first.triplet} in another")
            return
        self.rows.add(line, origin, name, values["label"], group=values.get("group", ""), side=side)

    def _fault(self, text: str) -> None:
        if text not in self.faults:
            self.faults.append(text)


def read_folders(root: Path, levels: Levels) -> Reading:
    """Read class folders; `metadata.csv` with a column `file_name` may tell more of an image, such as its group.

    Parameters
    ----------
    root
        The outermost folder.
    levels
        What the folders above an image mean. Deeper ones mean nothing.

    Raises
    ------
    UserError
        If there is no such folder, no image in it, or the levels can't be used. Other faults are in the result.

    """
    levels.check()
    told_more = _read_metadata(root)
    collector = Collector(levels, root.name)
    line = 0
    for line, path in enumerate(walk(root, SUFFIXES), 1):
        folders = path.split("/")[:-1]
        if len(folders) < len(levels.names):
            collector.tally.count(f"lies in fewer than {len(levels.names)} folders, left out", path)
            continue
        told = {**levels.elements, **dict(zip(levels.names, folders, strict=False)), **told_more.get(path, {})}
        told.pop("_", None)
        collector.add(line, path, told, path)
    if not line:
        raise UserError(f"data.path: no image below '{root}'; known endings: {', '.join(sorted(SUFFIXES))}")
    return Reading(
        rows=collector.rows,
        place=Place(kind="files", root=str(root)),
        factors=levels.factors,
        subsets=collector.subsets,
        faults=collector.faults,
        notes=collector.tally.to_notes(),
        is_own=True,
    )


def walk(root: Path, suffixes: frozenset[str] | None) -> Iterator[str]:
    """Name all files below a folder in order, relative to it; hidden ones and links to folders are passed over.

    Raises
    ------
    UserError
        If there is no such folder.

    """
    if not root.is_dir():
        raise UserError(f"data.path: no folder '{root}'")
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        head = os.path.relpath(folder, root)
        for name in sorted(files):
            if not name.startswith(".") and (suffixes is None or os.path.splitext(name)[1].lower() in suffixes):  # noqa: PTH122
                yield name if head == "." else f"{head}/{name}"


def _read_metadata(root: Path) -> dict[str, dict[str, str]]:
    """Read what a table beside the images tells, as the datasets library's imagefolder does."""
    path = next((root / name for name in METADATA if (root / name).is_file()), None)
    if path is None:
        return {}
    return {
        cells["file_name"].strip(): {
            name: cells[name] for name in ("group", "split", "label", "subset") if cells.get(name, "").strip()
        }
        for _, cells in read_cells(path, ("file_name",), ("group", "split", "label", "subset"), setting="data.path")
    }
