"""DICOM folders: pixels as a reader of films sees them, and nothing that names a patient."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from cg_lab.data.pictures import MAX_BYTES, Picture, Stamp, UnreadableError, check_size, stretch
from cg_lab.data.places import Place
from cg_lab.data.readers.folders import Collector, Levels, walk
from cg_lab.data.rows import Reading
from cg_lab.errors import UserError

TAGS = ("Modality", "BodyPartExamined", "PatientID", "NumberOfFrames", "Rows")
"""All that is read while folders are looked through; of them only modality and body part are ever written down."""
MODALITIES = {
    "CR": "X-ray", "DX": "X-ray", "RF": "X-ray", "XA": "X-ray", "MG": "X-ray", "CT": "CT", "MR": "MRI", "US": "US",
    "OP": "FP", "OPT": "OCT", "ES": "End", "SM": "Mic", "GM": "Mic", "PT": "PET", "NM": "NM", "XC": "Photo",
}  # fmt: skip
"""Defined terms of the attribute Modality (DICOM PS3.3, C.7.3.1.1.1) by the names used here."""


@dataclass(slots=True)
class Films:
    """Images in DICOM files; an origin is a hash of the file's path, which may name a patient, and a frame's number."""

    root: Path
    _paths: dict[str, str] = field(default_factory=dict)

    def find(self, origins: Iterable[str]) -> dict[str, Stamp]:
        """Give the stamps of those that are there."""
        found: dict[str, Stamp] = {}
        for origin in origins:
            path = self._resolve(origin)
            if path is not None:
                status = (self.root / path).stat()
                found[origin] = Stamp(status.st_size, status.st_mtime_ns)
        return found

    def open(self, origin: str) -> Picture:
        """Read one frame: modality LUT or rescale, then VOI LUT or window, then 8 bits, bright where film is bright."""
        path = self._resolve(origin)
        if path is None:
            raise UnreadableError("missing")
        try:
            payload = (self.root / path).read_bytes()
        except OSError as error:
            raise UnreadableError(error.strerror or "can't be read") from None
        frame = int(origin.partition("#")[2])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pixels, frames = _read_frame(self.root / path, frame)
        except UnreadableError:
            raise
        except Exception as error:  # noqa: BLE001  (pydicom and its decoders raise whatever they met; texts may quote tags)
            raise UnreadableError(f"not a readable DICOM image ({type(error).__name__})") from None
        digest = hashlib.sha256(f"{frame}/".encode() + payload).hexdigest()
        return Picture(image=Image.fromarray(pixels), digest=digest, num_bytes=len(payload), frames=frames)

    def _resolve(self, origin: str) -> str | None:
        if not self._paths:
            self._paths |= _hash_paths(self.root)
        return self._paths.get(origin.partition("#")[0])


@lru_cache(maxsize=4)
def _hash_paths(root: Path) -> dict[str, str]:
    return {hash_path(path): path for path in walk(root, None)}


def hash_path(path: str) -> str:
    """Name a file without its path: the first 16 digits of its SHA-256."""
    return hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:16]


def _read_frame(path: Path, frame: int) -> tuple[NDArray[np.uint8], int]:
    """Read one frame as 8-bit gray or RGB, and say how many there are."""
    if path.stat().st_size > MAX_BYTES:
        raise UnreadableError(f"more than {MAX_BYTES} bytes")
    dataset = pydicom.dcmread(path, force=False)
    check_size(int(dataset.Columns), int(dataset.Rows))
    frames = int(dataset.get("NumberOfFrames") or 1)
    values = pixel_array(dataset, index=frame)  # YBR becomes RGB
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if photometric == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
        return (values >> 8 if values.dtype == np.uint16 else values).astype(np.uint8), frames
    if values.ndim == 3:
        return values if values.dtype == np.uint8 else stretch(values), frames
    gray = _apply_window(apply_modality_lut(values, dataset), dataset)
    return (255 - gray if photometric == "MONOCHROME1" else gray), frames


def _apply_window(values: NDArray[Any], dataset: Dataset) -> NDArray[np.uint8]:
    """Scale to 8 bits: over the range of the VOI LUT or window where there is one, else from darkest to brightest."""
    if dataset.get("VOILUTSequence"):
        low, high = 0.0, 2.0 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
    elif dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        low, high = apply_voi_lut(np.asarray([-1e9, 1e9]), dataset).tolist()
    else:
        return stretch(values)
    shown = apply_voi_lut(values, dataset).astype(np.float64)
    return np.round((np.clip(shown, low, high) - low) * (255.0 / (high - low))).astype(np.uint8)


def read_films(root: Path, levels: Levels) -> Reading:
    """Read DICOM folders.

    Modality and BodyPartExamined fill in the first two factors where neither folders nor `data.elements` say them.
    PatientID makes groups and goes no further; neither paths nor any other tag leave this module.

    Parameters
    ----------
    root
        The outermost folder.
    levels
        What the folders above an image mean.

    Raises
    ------
    UserError
        If there is no such folder, no DICOM file in it, or the levels can't be used.

    """
    given = tuple(factor for factor in levels.factors[:2] if levels.known is None)
    levels.check(given)
    collector = Collector(levels, "dicom")
    patients: dict[str, str] = {}
    count = 0
    for line, path in enumerate(walk(root, None), 1):
        folders = path.split("/")[:-1]
        origin = hash_path(path)
        tags = _read_tags(root / path)
        if tags is None or not tags.get("Rows"):
            collector.tally.count("no DICOM image, left out", origin)
            continue
        count += 1
        if len(folders) < len(levels.names):
            collector.tally.count(f"lies in fewer than {len(levels.names)} folders, left out", origin)
            continue
        told: dict[str, str] = {}
        if levels.known is None:
            told |= dict(zip(levels.factors, _read_elements(tags), strict=False))
        told |= {**levels.elements, **dict(zip(levels.names, folders, strict=False))}
        told.pop("_", None)
        patient = told.get("group") or str(tags.get("PatientID", "") or "")
        told["group"] = patients.setdefault(patient, f"patient {len(patients)}") if patient else ""
        for frame in range(max(1, int(tags.get("NumberOfFrames") or 1))):
            collector.add(line, f"{origin}#{frame}", told, origin)
    if not count:
        raise UserError(f"data.path: no DICOM file below '{root}'")
    if len(patients) == 1 and count > 1:
        collector.rows.group = [""] * len(collector.rows)
        collector.tally.count("PatientID is the same in all files, not used as groups", f"{count} files")
    return Reading(
        rows=collector.rows,
        place=Place(kind="films", root=str(root)),
        factors=levels.factors,
        subsets=collector.subsets,
        faults=collector.faults,
        notes=collector.tally.to_notes(),
        is_own=True,
        hides_origins=True,
    )


def _read_tags(path: Path) -> Dataset | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
    except Exception:  # noqa: BLE001  (whatever a damaged file makes pydicom raise, it is none that can be used)
        return None


def _read_elements(tags: Dataset) -> tuple[str, str]:
    """Give modality and area; what a file does not say is called so."""
    modality = str(tags.get("Modality", "") or "").strip().upper()
    area = " ".join(str(tags.get("BodyPartExamined", "") or "").split()).capitalize()
    return MODALITIES.get(modality, modality) or "unknown modality", area or "unknown area"
