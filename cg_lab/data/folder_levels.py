"""What the folders above an image mean, and rows from what they say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cg_lab.data.identifier_columns import IdentifierColumns
from cg_lab.data.rows import SIDES, Rows, Tally, clean_text, is_utf8, read_side
from cg_lab.data.signing import list_folders
from cg_lab.data.subset_names import make_subset, name_subset
from cg_lab.data_settings import ImageSettings, NonEmptyText
from cg_lab.errors import UserError, list_faults
from cg_lab.mat import Subset

ALSO = ("subset", "label", "split", "group", "_")
"""What a level may be beside a factor; `_` is passed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings(ImageSettings):
    """What sources have whose folders say what an image shows."""

    path: NonEmptyText
    levels: Annotated[tuple[NonEmptyText, ...], Field(min_length=1)]
    """What the folders above an image mean: factors, subset, label, split, group, or `_` for nothing."""
    elements: dict[str, NonEmptyText] | None
    """Factors that are the same for all images."""
    subsets: str | None
    """A catalogue that says the elements of each subset; None where files, folders or `elements` do."""

    def list_watched(self) -> list[str]:
        """Name every folder, and the catalogue."""
        return [*list_folders(Path(self.path)), *([self.subsets] if self.subsets else [])]


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

    def __init__(self, levels: Levels, subject: str, group: str | None = None) -> None:
        self.levels, self.group = levels, group
        self.rows = Rows(sources=[subject])
        self.tally = Tally(subject)
        self.faults: list[str] = []
        self.subsets: dict[str, Subset] = {}
        self.open_columns(())

    def open_columns(self, names: Iterable[str]) -> None:
        """Say which further columns there are; values are kept of those that may say who belongs together."""
        self.columns = IdentifierColumns(self.rows, names, self.group)

    def add(
        self,
        line: int,
        origin: str,
        told: Mapping[str, str],
        shown: str,
        others: Mapping[str, str] | None = None,
        boxes: str = "",
    ) -> None:
        """Add an image; `told` says what it is, `shown` names it in messages, `others` are its further columns."""
        if not is_utf8(origin):
            self.tally.count("file name is not UTF-8, left out", ascii(shown))
            return
        values: dict[str, str] = {}
        for name, value in told.items():
            text = clean_text(value)
            if text is None and name not in {"split", "group"}:
                self.tally.count(f"{name} is empty or not printed, left out", shown)
                return
            values[name] = text or ""
        side = read_side(values.get("split", ""))
        if side is None:
            self._fault(f"split folder '{values['split']}' is none of {', '.join(SIDES)}")
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
            subset = make_subset(name, elements, is_located=bool(boxes))
        first = self.subsets.setdefault(name, subset)
        if first.own != subset.own:
            self._fault(f"subset '{name}' is {subset.triplet} in one folder and {first.triplet} in another")
            return
        self.rows.add(line, origin, name, values["label"], group=values.get("group", ""), side=side, boxes=boxes)
        self.columns.add(others or {})

    def _fault(self, text: str) -> None:
        if text not in self.faults:
            self.faults.append(text)


def find_levels(
    names: tuple[str, ...], elements: Mapping[str, str] | None, factors: tuple[str, ...], subsets: str | None
) -> Levels:
    """Make levels from settings; `subsets` is a catalogue that says the elements of each subset."""
    known = None
    if subsets is not None:
        from cg_lab.data.listed import Declarations
        from cg_lab.data.listing import read_listing

        listing = read_listing(subsets, Declarations(factors=factors))
        known = {subset.name: subset for subset in listing.subsets}
    return Levels(names=names, elements=elements or {}, factors=factors, known=known)


def walk(
    root: Path, suffixes: frozenset[str] | None, passed_over: Callable[[str, str], None] | None = None
) -> Iterator[str]:
    """Name all files below a folder in order, relative to it; hidden ones are passed over.

    Parameters
    ----------
    root, suffixes
        Where to look, and which endings count; None for all.
    passed_over
        Told, with the reason and the path, of links to folders, folders that can't be read, and pipes.

    Raises
    ------
    UserError
        If there is no such folder.

    """
    if not root.is_dir():
        raise UserError(f"data.path: no folder '{root}'")
    tell = passed_over or (lambda *_: None)
    heads = [""]
    while heads:
        head = heads.pop()
        folders: list[str] = []
        try:
            with os.scandir(root / head) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            tell(f"folder can't be read, left out ({error.strerror})", head)
            continue
        for entry in entries:
            path = f"{head}/{entry.name}" if head else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif entry.is_dir():
                tell("link to a folder, not followed", path)
            elif suffixes is None or os.path.splitext(entry.name)[1].lower() in suffixes:  # noqa: PTH122
                if entry.is_file() or entry.is_symlink():
                    yield path
                else:
                    tell("pipe or device, left out", path)
        heads += reversed(folders)
