"""NIfTI volumes: single slices as images, with values scaled over a stated range."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cg_lab.data.pictures import MAX_BYTES, Folder, Picture, Stamp, UnreadableError, check_size, lead_below
from cg_lab.errors import UserError

MAX_VOXELS = 500_000_000
"""Of one volume, which is held in memory; larger ones are refused unread."""
PERCENTILES = (0.5, 99.5)
"""Between which values are shown where no window is given."""


@dataclass(slots=True)
class Volumes:
    """Slices of NIfTI files below a folder; an origin is `path#axis/number`, or `path#axis/number/low/high`."""

    root: Path
    _files: Folder = field(init=False)

    def __post_init__(self) -> None:
        """Look files up as those of images are."""
        self._files = Folder(self.root)

    def find(self, origins: Iterable[str]) -> dict[str, Stamp]:
        """Give the stamps of those that are there."""
        wanted = list(origins)
        found = self._files.find(dict.fromkeys(origin.partition("#")[0] for origin in wanted))
        return {origin: found[path] for origin in wanted if (path := origin.partition("#")[0]) in found}

    def open(self, origin: str) -> Picture:
        """Read one slice."""
        path, _, choice = origin.partition("#")
        axis, number, *window = choice.split("/")
        if not lead_below(self.root / path, self.root):
            raise UnreadableError("lies outside the data folder")
        volume, digest, size = _read_volume(self.root / path)
        if int(number) >= volume.shape[int(axis)]:
            raise UnreadableError(f"slice {number} of {volume.shape[int(axis)]}")
        pixels = np.rot90(volume.take(int(number), axis=int(axis)))
        low, high = map(float, window) if window else np.percentile(volume, PERCENTILES).tolist()
        shown = np.clip((pixels - low) / max(high - low, 1e-9), 0, 1)
        check_size(shown.shape[1], shown.shape[0])
        name = hashlib.sha256(f"{choice}/{digest}".encode()).hexdigest()
        return Picture(image=Image.fromarray(np.round(shown * 255).astype(np.uint8)), digest=name, num_bytes=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What a file's header says of its volumes."""

    shape: tuple[int, ...]
    """Of one, as it lies: right, front, up."""
    volumes: int


def read_extent(path: Path) -> Extent:
    """Read the size of a volume from the header alone.

    Raises
    ------
    UnreadableError
        If it is no volume, or larger than is read.

    """
    image = _open(path)
    places = [int(place) for place in _find_orientation(image)[:, 0]]
    shape = tuple(image.shape[places.index(axis)] for axis in range(3))
    return Extent(shape=shape, volumes=int(np.prod(image.shape[3:], dtype=object)))


def _find_orientation(image: Any) -> NDArray[np.floating[Any]]:  # noqa: ANN401 - nibabel's own
    """Say which way each axis runs, so that it can be turned right, front, up."""
    from nibabel.orientations import io_orientation

    try:
        found = io_orientation(image.affine)
    except np.linalg.LinAlgError:
        raise UnreadableError("its affine matrix has no numbers") from None
    if np.isnan(found).any():
        raise UnreadableError("its affine matrix does not say where all axes lead")
    return found


def _open(path: Path) -> Any:  # noqa: ANN401 - nibabel's own
    try:
        import nibabel
    except ImportError:
        raise UserError("data: NIfTI volumes need nibabel: pip install 'cg_lab[nifti]'") from None
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableError(f"more than {MAX_BYTES} bytes")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Any = nibabel.load(path)
            kind = image.get_data_dtype().kind
            if not 3 <= len(image.shape) <= 5 or 0 in image.shape or kind not in "iuf":
                raise UnreadableError(f"{image.get_data_dtype()} of shape {image.shape} is no volume of numbers")
            if int(np.prod(image.shape[:3], dtype=object)) > MAX_VOXELS:
                raise UnreadableError(f"shape {image.shape}, at most {MAX_VOXELS} voxels are read")
            return image
    except UnreadableError:
        raise
    except Exception as error:  # noqa: BLE001  (nibabel raises whatever it met)
        raise UnreadableError(f"no readable NIfTI file ({type(error).__name__})") from None


@lru_cache(maxsize=2)
def _read_volume(path: Path) -> tuple[NDArray[np.float32], str, int]:
    from nibabel.orientations import apply_orientation

    image = _open(path)
    orientation = _find_orientation(image)
    try:
        index = (slice(None),) * 3 + (0,) * (len(image.shape) - 3)
        values = np.nan_to_num(np.asarray(image.dataobj[index], np.float32), posinf=0, neginf=0)
        values = apply_orientation(values, orientation)
    except Exception as error:  # noqa: BLE001  (cut short, or packed otherwise than it says)
        raise UnreadableError(f"cut short or damaged ({type(error).__name__})") from None
    payload = path.read_bytes()
    return values, hashlib.sha256(payload).hexdigest(), len(payload)
