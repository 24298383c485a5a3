"""Where images lie, as it is written beside a table: the table itself knows no place and may be moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from cg_lab.data.pictures import Folder, Pictures
from cg_lab.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the images of one source lie."""

    kind: str
    """One of `KINDS`, or a dotted module of the user's own with `open_images(place)`."""
    root: str
    unpacked: str = ""

    def open(self) -> Pictures:
        """Give what reads them.

        Raises
        ------
        UserError
            If nothing reads this kind.

        """
        if self.kind in KINDS:
            return KINDS[self.kind](self)
        try:
            return import_module(self.kind).open_images(self)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(f"images in '{self.root}': nothing reads the kind '{self.kind}' ({error})") from None


def _open_arrays(place: Place) -> Pictures:
    from cg_lab.data.arrays import Arrays

    return Arrays(Path(place.root), Path(place.unpacked))


def _open_films(place: Place) -> Pictures:
    from cg_lab.data.films import Films

    return Films(Path(place.root))


def _open_volumes(place: Place) -> Pictures:
    from cg_lab.data.volumes import Volumes

    return Volumes(Path(place.root))


KINDS: dict[str, Callable[[Place], Pictures]] = {
    "files": lambda place: Folder(Path(place.root)),
    "arrays": _open_arrays,
    "films": _open_films,
    "volumes": _open_volumes,
}
"""What reads the images of a kind of place."""
