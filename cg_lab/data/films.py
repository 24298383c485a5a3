"""DICOM files: their pixels as a reader of films sees them, and the few tags that are read."""

from __future__ import annotations

import hashlib
import logging
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragmented_frames
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ImplicitVRLittleEndian

from cg_lab.data.dicom_terms import NO_IMAGES
from cg_lab.data.folder_levels import walk
from cg_lab.data.pictures import MAX_BYTES, Picture, Stamp, UnreadableError, check_size, lead_below, stretch

if TYPE_CHECKING:
    from cg_lab.data.rows import Reading

SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima", ""})
"""Endings of DICOM files in a table of images."""
MAX_FRAMES = 20_000
"""Frames of one file; more are refused unread."""
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
PIXEL_TAGS = frozenset(struct.pack(f"{order}HH", 0x7FE0, part) for order in "<>" for part in (0x10, 0x8, 0x9))
"""Those of `PIXELS`, in either byte order."""
DEFLATED = b"1.2.840.10008.1.2.1.99"
"""Transfer syntax of a data set that is packed as a whole."""
IDS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
"""What says who belongs together."""
KEYS = (*IDS, "SOPInstanceUID", "AccessionNumber")
"""What a table may name a file by."""
TAGS = (
    "SOPClassUID", "Modality", "BodyPartExamined", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel",
    "BitsAllocated", *KEYS,
)  # fmt: skip
"""All that is read while folders are looked through; of them only terms for modality and body part are written down."""
DERIVED = {
    "1.2.840.10008.5.1.4.1.1.66": "a registration or a raw object",
    "1.2.840.10008.5.1.4.1.1.481": "of a radiotherapy plan",
    "1.2.840.10008.5.1.4.1.1.30": "a parametric map",
    "1.2.840.10008.5.1.4.1.1.11": "a presentation state",
    "1.2.840.10008.5.1.4.1.1.88": "a report",
    "1.2.840.10008.5.1.4.1.1.104": "a document",
    "1.2.840.10008.1.3.10": "a directory of other files",
}
"""Classes of what is no image although it may have pixels; an RT image (481.1) is one."""
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


def hash_path(path: str) -> str:
    """Name a file without its path: the first 16 digits of its SHA-256."""
    return hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:16]


def is_film(payload: bytes) -> bool:
    """Tell whether bytes are those of a DICOM file."""
    return payload[128:132] == b"DICM"


@contextmanager
def _in_words() -> Iterator[None]:
    """Tell in words of ours what pydicom and its decoders raise or log, whose texts may quote tags."""
    log = logging.getLogger("pydicom")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnreadableError:
        raise
    except RecursionError:
        raise UnreadableError("not a readable DICOM image (nested too deeply)") from None
    except MemoryError:
        raise UnreadableError("not a readable DICOM image (too large)") from None
    except Exception as error:  # noqa: BLE001  (whatever a damaged file makes pydicom raise)
        raise UnreadableError(
            f"damaged or cut short, get the file anew ({type(error).__name__} while it was decoded)"
        ) from None
    finally:
        log.disabled = before


def decode_film(payload: bytes, frame: int) -> Picture:
    """Decode one frame of a DICOM file.

    Modality LUT or rescale, then VOI LUT or window, then 8 bits, bright where film is bright; all of them of the file
    or of the frame's functional groups. Padding is black and sets no range.

    Raises
    ------
    UnreadableError
        If it is no image or can't be decoded; the text names the cure, and nothing of the file.

    """
    with _in_words():
        dataset = _read_dataset(payload)
        frames = count_frames(dataset)
        if frame >= frames:
            raise UnreadableError(f"frame {frame + 1} of {frames}")
        pixels = _read_frame(dataset, frame)
    digest = hashlib.sha256(f"{frame}/".encode() + payload).hexdigest()
    return Picture(image=Image.fromarray(pixels), digest=digest, num_bytes=len(payload), frames=frames)


def _read_dataset(payload: bytes) -> Dataset:
    _check_deflated(payload)
    try:
        return pydicom.dcmread(BytesIO(payload), force=False)
    except InvalidDicomError:
        if not _begins_like_one(payload):
            raise UnreadableError("no DICOM file") from None
    dataset = pydicom.dcmread(BytesIO(payload), force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return dataset


def _begins_like_one(payload: bytes) -> bool:
    """Tell whether bytes are a data set without its preamble: groups 2 or 8 come first, in either byte order."""
    return len(payload) > 8 and payload[:2] in {b"\x08\x00", b"\x00\x08", b"\x02\x00"}


def _check_deflated(payload: bytes) -> None:
    """Refuse a deflated data set that unpacks to more than is read, before pydicom unpacks it."""
    if not is_film(payload) or DEFLATED not in payload[:2048]:
        return
    (length,) = struct.unpack("<I", payload[140:144])
    unpacked = zlib.decompressobj(-zlib.MAX_WBITS)
    data = payload[144 + length :]
    total = 0
    while data and not unpacked.eof:
        total += len(unpacked.decompress(data, 1 << 24))
        data = unpacked.unconsumed_tail
        if total > MAX_BYTES:
            raise UnreadableError(f"unpacks to more than {MAX_BYTES} bytes")


def count_frames(dataset: Dataset) -> int:
    """Count the frames that the pixels are enough for, and refuse a file that claims more.

    Raises
    ------
    UnreadableError
        If it has no pixels, is made from images rather than one, or the numbers in it can't be.

    """
    claimed = _read_claim(dataset, has_pixels=any(name in dataset for name in PIXELS))
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)))
    there = _count_frames(dataset, syntax, claimed)
    if claimed > there:
        raise UnreadableError(f"claims {claimed} frames and has pixels for {there}; get the file anew")
    return claimed


def _read_claim(dataset: Dataset, *, has_pixels: bool) -> int:
    """Give the frames that a file claims to have, once it is known to be an image."""
    kind = str(dataset.get("SOPClassUID", "") or dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    modality = str(dataset.get("Modality", "") or "").strip().upper()
    derived = next((words for uid, words in DERIVED.items() if kind.startswith(uid)), None)
    if kind.startswith("1.2.840.10008.5.1.4.1.1.66.4") or modality == "SEG":
        raise UnreadableError("a segmentation, no image; leave it out, or give it as masks of its images")
    if (derived and kind != "1.2.840.10008.5.1.4.1.1.481.1") or modality in NO_IMAGES:
        raise UnreadableError(f"{derived or 'made from images'}, no image; leave it out")
    if not dataset.get("Rows") or not has_pixels:
        raise UnreadableError("no pixels in it (a report, plan or waveform); leave it out")
    check_size(_read_number(dataset, "Columns"), _read_number(dataset, "Rows"))
    claimed = _read_number(dataset, "NumberOfFrames", 1)
    if claimed > MAX_FRAMES:
        raise UnreadableError(f"claims {claimed} frames, at most {MAX_FRAMES} are read; split the file")
    return claimed


def _count_frames(dataset: Dataset, syntax: UID, claimed: int) -> int:
    if claimed == 1:
        return 1
    data = next(dataset[name].value for name in PIXELS if name in dataset)
    if syntax.is_encapsulated:
        return sum(1 for _ in generate_fragmented_frames(data, number_of_frames=claimed))
    pixels = (
        _read_number(dataset, "Rows") * _read_number(dataset, "Columns") * _read_number(dataset, "SamplesPerPixel", 1)
    )
    bits = pixels * _read_number(dataset, "BitsAllocated", 8)
    return len(data) * 8 // max(1, bits)


def _read_number(dataset: Dataset, name: str, default: int = 0) -> int:
    value = dataset.get(name)
    try:
        number = int(default if value in (None, "") else value)
    except (TypeError, ValueError):
        raise UnreadableError(f"{name} is no number; mend the tag, or leave the file out") from None
    if number < 0 or (number == 0 and default):
        return default or 0
    return number


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


# Tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """What is read of a file while folders are looked through."""

    modality: str
    body_part: str
    frames: int
    ids: dict[str, str]
    """`KEYS` that the file has."""


def read_tags(path: Path) -> Tags:
    """Read the tags of a DICOM image, and count its frames.

    Raises
    ------
    UnreadableError
        If it is none; the text names the cure, and nothing of the file.

    """
    with _in_words():
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableError(f"more than {MAX_BYTES} bytes")
        with path.open("rb") as file:
            start = file.read(2048)
            if not is_film(start) and not _begins_like_one(start):
                raise UnreadableError("no DICOM file")
            if is_film(start) and DEFLATED not in start:
                file.seek(0)
                head = _Head(file, path.stat().st_size)
                dataset = pydicom.dcmread(cast("BinaryIO", head), stop_before_pixels=True, specific_tags=list(TAGS))
                frames = _read_claim(dataset, has_pixels=head.read(4) in PIXEL_TAGS)
            else:
                dataset, frames = _read_dataset(path.read_bytes()), 2
        if frames > 1:
            frames = count_frames(_read_dataset(path.read_bytes()))
        return Tags(
            modality=str(dataset.get("Modality", "") or ""),
            body_part=str(dataset.get("BodyPartExamined", "") or ""),
            frames=frames,
            ids={name: text for name in KEYS if (text := str(dataset.get(name, "") or "").strip())},
        )


class _Head:
    """A file of which no more is asked for than there is, whatever length it claims for an element."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        """Read some bytes, at most those that are left."""
        left = max(0, self.size - self.file.tell())
        return self.file.read(left if count < 0 else min(count, left))


def read_ids(reading: Reading) -> None:
    """Say of rows that name DICOM files which patient, study and series these belong to; the names go no further."""
    if reading.place.kind != "files":
        return
    root = Path(reading.place.root)
    ids: dict[str, dict[str, str]] = {}
    for origin in dict.fromkeys(reading.rows.origin):
        if PurePosixPath(origin).suffix.lower() in SUFFIXES:
            with suppress(UnreadableError, OSError):  # it is told when it is opened
                if lead_below(root / origin, root):
                    ids[origin] = read_tags(root / origin).ids
    if ids:
        reading.hides_groups = True
        for name in IDS:
            reading.columns[name] = [ids.get(origin, {}).get(name, "") for origin in reading.rows.origin]
