"""Class folders in a zip or tar file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cg_lab.data.archives import unpack
from cg_lab.data.folder_levels import find_levels
from cg_lab.data.pictures import SUFFIXES
from cg_lab.data.rows import Reading
from cg_lab.data.sources import imagefolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(imagefolder.Settings):
    """Which file; its folders mean what those of `imagefolder` do."""


def read(settings: Settings, folder: Path | None) -> Reading:
    """Unpack images and `metadata.csv`, and read them as class folders."""
    assert folder is not None

    def is_wanted(name: str) -> bool:
        path = PurePosixPath(name)
        is_hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        return not is_hidden and (path.suffix.lower() in SUFFIXES or name in imagefolder.METADATA)

    root = unpack(Path(settings.path).absolute(), folder / "copies", is_wanted)
    levels = find_levels(settings.levels, settings.elements, settings.factors, settings.subsets)
    reading = imagefolder.read_folders(root, levels, masks=settings.masks, group=settings.group)
    reading.rows.sources[0] = Path(settings.path).name
    return reading


def list_watched(settings: Settings) -> tuple[str, ...]:
    """Watch the file, and the catalogue."""
    return (settings.path, *([settings.subsets] if settings.subsets else []))
