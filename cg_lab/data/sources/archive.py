"""Class folders in a zip or tar file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cg_lab.data.archives import unpack
from cg_lab.data.folder_levels import find_levels, walk
from cg_lab.data.pictures import SUFFIXES
from cg_lab.data.rows import Reading, Tally
from cg_lab.data.sources import imagefolder
from cg_lab.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(imagefolder.Settings):
    """Which file; its folders mean what those of `imagefolder` do."""


def read(settings: Settings, folder: Path | None) -> Reading:
    """Unpack images and `metadata.csv`, and read them as class folders."""
    assert folder is not None

    def is_wanted(name: str) -> bool:
        path = PurePosixPath(name)
        is_hidden = any(part.startswith((".", "__MACOSX")) and part not in {".", ".."} for part in path.parts)
        return not is_hidden and (path.suffix.lower() in SUFFIXES or name in imagefolder.METADATA)

    archive = Path(settings.path)
    tally = Tally(archive.name)
    root = unpack(archive.absolute(), folder / "copies", is_wanted, tally=tally)
    if next(walk(root, SUFFIXES), None) is None:
        raise UserError(
            f"data.path: no image in '{archive}'; known endings: {', '.join(sorted(SUFFIXES))}; DICOM and NIfTI are "
            "read from folders, with data=dicom and data=nifti"
        )
    levels = find_levels(settings.levels, settings.elements, settings.factors, settings.subsets)
    reading = imagefolder.read_folders(root, levels, masks=settings.masks, group=settings.group)
    reading.rows.sources[0] = archive.name
    reading.notes += tally.to_notes()
    return reading


def list_watched(settings: Settings) -> tuple[str, ...]:
    """Watch the file, and the catalogue."""
    return (settings.path, *([settings.subsets] if settings.subsets else []))
