"""Files whose size or time has changed since a table was made: whether they still hold what they held."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cg_lab.data.facts import facts_folder, measure_anew, read_facts
from cg_lab.data.pictures import Stamp
from cg_lab.data.places import Place
from cg_lab.data.signing import Signature, list_entries, sign_entries

COLUMNS = ["origin", "size", "mtime_ns", "digest", "error"]
MOST = 400
"""Touched images of a folder beyond which making the table anew, on all cores, costs no more."""


def hold_the_same(before: Signature, now: Signature, places: Iterable[Place], folder: Path) -> bool:
    """Tell whether nothing differs but times of images whose content is the same; these alone are opened.

    Parameters
    ----------
    before, now
        Of the same settings.
    places
        Where the table's images lie.
    folder
        Holds facts of images.

    """
    known = tuple(places)
    return before.listing == now.listing and all(
        any(_holds_the_same(path, before.folders[path], place, folder) for place in known)
        for path, signature in now.folders.items()
        if signature != before.folders[path]
    )


def _holds_the_same(path: str, signature: str, place: Place, folder: Path) -> bool:
    """Find the images whose old size and time make the old signature, and compare their content with the old one."""
    entries = list_entries(path)
    if place.kind != "files" or not path.startswith(f"{place.root}/") or entries is None:
        return False
    below = path.removeprefix(f"{place.root}/")
    kept = facts_folder(folder, place)
    facts = {row["origin"]: row for row in read_facts(kept, below).select(COLUMNS).to_pylist()}
    touched: dict[str, Stamp] = {}
    was = dict(entries)
    for name, entry in entries.items():
        origin = f"{below}/{name}" if below else name
        fact = facts.get(origin)
        if fact is not None and entry != (fact["size"], fact["mtime_ns"]):
            touched[origin], was[name] = Stamp(*entry), (fact["size"], fact["mtime_ns"])
    if len(touched) > MOST or sign_entries(was) != signature:
        return False
    now = measure_anew(place.open(), touched, kept).select(COLUMNS).to_pylist()
    return all(
        (row["digest"], row["error"]) == (facts[row["origin"]]["digest"], facts[row["origin"]]["error"]) for row in now
    )
