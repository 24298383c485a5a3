"""Files by the names that tables give them: with a path or without, with this ending, another one or none."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from cg_lab.data.folder_levels import walk
from cg_lab.data.pictures import SUFFIXES
from cg_lab.data.rows import RowError, lies_below, quote

ENDINGS = SUFFIXES | {".dcm", ".dicom", ".dic", ".ima"}
"""What may be taken off a name; what follows the last dot of a UID is none of them."""


class FileNames:
    """Finds files by any end of their paths, in any case and form of Unicode."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_tail: dict[str, set[str]] = defaultdict(set)
        for path in paths:
            for tail in _list_tails(path):
                self._by_tail[tail].add(path)
                self._by_tail[_take_ending_off(tail)].add(path)

    def find(self, name: str) -> tuple[str, ...]:
        """Give the files that a name stands for; a table may name folders that were left behind, or another ending."""
        for tail in _list_tails(name.replace("\\", "/")):
            found = self._by_tail.get(tail) or self._by_tail.get(_take_ending_off(tail))
            if found:
                return tuple(sorted(found))
        return ()


class NamedFiles:
    """Finds files below a folder; all of it is looked through once, and only if a name is not a path in it."""

    def __init__(self, root: Path, suffixes: frozenset[str] = SUFFIXES) -> None:
        self.root, self.suffixes = root, suffixes
        self._names: FileNames | None = None

    def find(self, name: str) -> str:
        """Give the path of a file relative to the folder; the name itself if there is none.

        Raises
        ------
        RowError
            If several files could be meant, or the name leads out of the folder.

        """
        if not lies_below(name):
            raise RowError(f"image {quote(name)} lies outside the folder of images")
        if os.path.splitext(name)[1].lower() in ENDINGS and os.path.isfile(os.path.join(self.root, name)):  # noqa: PTH113, PTH118, PTH122
            return name
        if self._names is None:
            self._names = FileNames(walk(self.root, self.suffixes))
        found = self._names.find(name)
        if len(found) > 1:
            raise RowError(f"image {quote(name)} may be {' or '.join(found[:2])}; give its path")
        return found[0] if found else name


def _list_tails(path: str) -> list[str]:
    """Give a path, then the same without its outer folders, one after the other."""
    parts = unicodedata.normalize("NFC", path).casefold().split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _take_ending_off(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if f".{ending}" in ENDINGS and dot else name
