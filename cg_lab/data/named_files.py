"""Files by the names that tables give them: with a path or without, with an ending or without."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from pathlib import Path, PurePosixPath

from cg_lab.data.folder_levels import walk
from cg_lab.data.pictures import SUFFIXES
from cg_lab.data.rows import RowError, lies_below


class NamedFiles:
    """Finds files below a folder; all of it is looked through once, and only if a name is not a path in it."""

    def __init__(self, root: Path, suffixes: frozenset[str] = SUFFIXES) -> None:
        self.root, self.suffixes = root, suffixes
        self._by_name: dict[str, set[str]] | None = None

    def find(self, name: str) -> str:
        """Give the path of a file relative to the folder; the name itself if there is none.

        Raises
        ------
        RowError
            If several files could be meant, or the name leads out of the folder.

        """
        if not lies_below(name):
            raise RowError(f"image '{name}' lies outside the folder of images")
        if (self.root / name).is_file():
            return name
        if self._by_name is None:
            self._by_name = defaultdict(set)
            for path in walk(self.root, self.suffixes):
                parts = PurePosixPath(_fold(path)).parts
                for start in range(len(parts)):
                    tail = "/".join(parts[start:])
                    self._by_name[tail].add(path)
                    self._by_name[tail.rpartition(".")[0]].add(path)
        parts = PurePosixPath(_fold(name)).parts
        for start in range(len(parts)):  # a table may name folders that were left behind
            found = self._by_name.get("/".join(parts[start:]), set())
            if len(found) > 1:
                raise RowError(f"image '{name}' may be {' or '.join(sorted(found)[:2])}; give its path")
            if found:
                return next(iter(found))
        return name


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
