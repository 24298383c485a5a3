"""DICOM images as a reader of films sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ImplicitVRLittleEndian

from cg_lab.data.film_headers import count_frames, hash_path, read_dataset, telling_in_words
from cg_lab.data.folder_levels import walk
from cg_lab.data.pictures import MAX_BYTES, Picture, Stamp, UnreadableError, lead_below, stretch

if TYPE_CHECKING:
    pass

EXTRA = "pip install 'cg_lab[dicom]'"


@dataclass(slots=True)
class Films:
    """Images in DICOM files; an origin is a hash of the file's path, which may name a patient, and a frame's number."""

    root: Path
    _paths: dict[str, str] = field(default_factory=dict)

    def find(self, origins: Iterable[str]) -> dict[str, Stamp]:
        """Give the stamps of those that are there."""
        found: dict[str, Stamp] = {}
        stamps: dict[str, Stamp] = {}
        _hash_paths.cache_clear()  # files may have come since
        for origin in origins:
            path = self._resolve(origin)
            if path is not None:
                if path not in stamps:
                    status = (self.root / path).stat()
                    stamps[path] = Stamp(status.st_size, status.st_mtime_ns)
                found[origin] = stamps[path]
        return found

    def open(self, origin: str) -> Picture:
        """Read one frame."""
        path = self._resolve(origin)
        if path is None:
            raise UnreadableError("missing")
        if not lead_below(self.root / path, self.root):
            raise UnreadableError("lies outside the data folder")
        try:
            if (self.root / path).stat().st_size > MAX_BYTES:
                raise UnreadableError(f"more than {MAX_BYTES} bytes")
            payload = (self.root / path).read_bytes()
        except OSError as error:
            raise UnreadableError(error.strerror or "can't be read") from None
        return decode_film(payload, int(origin.partition("#")[2] or 0))

    def _resolve(self, origin: str) -> str | None:
        if not self._paths:
            self._paths |= _hash_paths(self.root)
        return self._paths.get(origin.partition("#")[0])


@lru_cache(maxsize=4)
def _hash_paths(root: Path) -> dict[str, str]:
    return {hash_path(path): path for path in walk(root, None)}


def decode_film(payload: bytes, frame: int) -> Picture:
    """Decode one frame of a DICOM file.

    Modality LUT or rescale, then VOI LUT or window, then 8 bits, bright where film is bright; all of them of the file
    or of the frame's functional groups. Padding is black and sets no range.

    Raises
    ------
    UnreadableError
        If it is no image or can't be decoded; the text names the cure, and nothing of the file.

    """
    with telling_in_words():
        dataset = read_dataset(payload)
        frames = count_frames(dataset)
        if frame >= frames:
            raise UnreadableError(f"frame {frame + 1} of {frames}")
        dataset.NumberOfFrames = frames  # that of the file may be none
        pixels = _read_frame(dataset, frame)
    digest = hashlib.sha256(f"{frame}/".encode() + payload).hexdigest()
    return Picture(image=Image.fromarray(pixels), digest=digest, num_bytes=len(payload), frames=frames)


def _read_frame(dataset: Dataset, frame: int) -> NDArray[np.uint8]:
    """Read one frame as 8-bit gray or RGB."""
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)))
    try:
        values = pixel_array(dataset, index=frame)  # YBR becomes RGB
    except (NotImplementedError, RuntimeError, ValueError):
        if syntax.is_encapsulated and find_spec("libjpeg") is None:
            raise UnreadableError(f"packed as {syntax.name}, which needs a decoder: {EXTRA}") from None
        raise
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if photometric == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
        return (values >> 8 if values.dtype == np.uint16 else values).astype(np.uint8)
    if values.ndim == 3:
        return values if values.dtype == np.uint8 else stretch(values)
    _take_groups(dataset, frame)
    padding = _find_padding(values, dataset)
    gray = _apply_window(apply_modality_lut(values, dataset), dataset, padding)
    gray = 255 - gray if photometric == "MONOCHROME1" else gray
    return gray if padding is None else np.where(padding, np.uint8(0), gray)


def _take_groups(dataset: Dataset, frame: int) -> None:
    """Say how stored values are shown as the frame's functional groups do, where the file has any."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for groups in (*shared[:1], *frames[frame : frame + 1]):
        for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for element in (groups.get(macro) or [Dataset()])[0]:
                dataset[element.tag] = element


def _find_padding(values: NDArray[Any], shown: Dataset) -> NDArray[np.bool_] | None:
    """Say which pixels only fill up the frame."""
    padding = shown.get("PixelPaddingValue")
    if padding is None:
        return None
    limit = shown.get("PixelPaddingRangeLimit")
    ends = sorted((int(padding), int(padding if limit is None else limit)))
    found = (values >= ends[0]) & (values <= ends[1])
    return found if found.any() and not found.all() else None


def _apply_window(values: NDArray[Any], shown: Dataset, padding: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Scale to 8 bits: over the range of the VOI LUT or window where there is one, else from darkest to brightest.

    A window that has no width is none; one narrower than 1 is taken exactly (PS3.3, C.11.2.1.3).
    """
    if shown.get("VOILUTSequence"):
        low, high = 0.0, 2.0 ** int(shown.VOILUTSequence[0].LUTDescriptor[2]) - 1
        return _scale(apply_voi_lut(values, shown), low, high)
    width = _first(shown.get("WindowWidth"))
    if _first(shown.get("WindowCenter")) is None or width is None or not 0 < width < 1e9:
        return _stretch(values, padding)
    if width < 1 or (width == 1 and shown.get("VOILUTFunction", "LINEAR") != "SIGMOID"):
        shown.VOILUTFunction = "LINEAR_EXACT"
    low, high = apply_voi_lut(np.asarray([-1e9, 1e9]), shown).tolist()
    return _scale(apply_voi_lut(values, shown), low, high) if high > low else _stretch(values, padding)


def _first(value: Any) -> float | None:  # noqa: ANN401 - one number or several
    if value is None or value == "":
        return None
    number = float(value[0] if isinstance(value, MultiValue) else value)
    return number if np.isfinite(number) else None


def _stretch(values: NDArray[Any], padding: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    if padding is None:
        return stretch(values)
    kept = values[~padding]
    return stretch(np.clip(values, kept.min(), kept.max()))


def _scale(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    shown = np.nan_to_num(values.astype(np.float64))
    return np.round((np.clip(shown, low, high) - low) * (255.0 / (high - low))).astype(np.uint8)
