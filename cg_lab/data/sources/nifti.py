"""NIfTI volumes in class folders, of each some slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from cg_lab.data.folder_levels import Collector, FolderSettings, find_levels, walk
from cg_lab.data.mask_names import part_masks
from cg_lab.data.pictures import UnreadableError
from cg_lab.data.places import Place
from cg_lab.data.rows import Reading
from cg_lab.data.volumes import read_extent
from cg_lab.errors import UserError

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(FolderSettings):
    """Which volumes, and which slices of them."""

    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    slices: PositiveInt = 1
    """Of each volume, spread evenly over its middle half; 1 is the middle one."""
    window: tuple[float, float] | None = None
    """Lowest and highest value shown; None for the 0.5 and 99.5 percentiles of each volume."""


def read(settings: Settings, folder: Path | None) -> Reading:
    """Read volumes; slices of one are a group."""
    del folder
    root = Path(settings.path).absolute()
    levels = find_levels(settings.levels, settings.elements, settings.factors, settings.subsets)
    levels.check()
    collector = Collector(levels, root.name)
    axis = AXES[settings.plane]
    if settings.window is not None and not settings.window[0] < settings.window[1]:
        raise UserError(f"data.window: {list(settings.window)} shows nothing; the lower value comes first")
    window = "".join(f"/{value:g}" for value in settings.window or ())
    paths = [path for path in walk(root, None, collector.tally.count) if path.lower().endswith((".nii", ".nii.gz"))]
    if not paths:
        raise UserError(f"data.path: no NIfTI file (.nii, .nii.gz) below '{root}'")
    parted = part_masks(paths)
    for mask in (mask for found in parted.masks.values() for mask in found):
        collector.tally.count("mask of the volume beside it, left out", mask)
    for line, path in enumerate(parted.images, 1):
        folders = path.split("/")[:-1]
        if len(folders) < len(levels.names):
            collector.tally.count(f"lies in fewer than {len(levels.names)} folders, left out", path)
            continue
        told = {**levels.elements, **dict(zip(levels.names, folders, strict=False))}
        told.pop("_", None)
        try:
            extent = read_extent(root / path)
        except UnreadableError as error:
            collector.tally.count(f"no volume, left out ({error})", path)
            continue
        if extent.volumes > 1:
            collector.tally.count("file has several volumes, the first is used", path)
        for number in choose_slices(extent.shape[axis], settings.slices):
            collector.add(line, f"{path}#{axis}/{number}{window}", told, path)
    return Reading(
        rows=collector.rows,
        place=Place(kind="volumes", root=str(root)),
        factors=levels.factors,
        subsets=collector.subsets,
        faults=collector.faults,
        notes=collector.tally.to_notes(),
        is_own=True,
    )


def choose_slices(depth: int, count: int) -> list[int]:
    """Choose slices evenly over the middle half of a volume.

    >>> choose_slices(100, 1), choose_slices(100, 3), choose_slices(2, 5)
    ([50], [37, 50, 62], [0, 1])
    """
    middle, half = depth / 2, depth / 4
    places = [middle + half * (2 * (number + 1) / (count + 1) - 1) for number in range(count)]
    return sorted({min(depth - 1, max(0, int(place))) for place in places})


def list_watched(settings: Settings) -> list[str]:
    """Watch every folder, and the catalogue."""
    return settings.list_watched()
