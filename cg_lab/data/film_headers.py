"""What a DICOM file says of itself: whether it is an image, of how many frames, and the few tags that are read."""

from __future__ import annotations

import hashlib
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragmented_frames
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ImplicitVRLittleEndian

from cg_lab.data.dicom_terms import NO_IMAGES
from cg_lab.data.pictures import MAX_BYTES, SUFFIXES, UnreadableError, check_size, is_film, lead_below

if TYPE_CHECKING:
    from cg_lab.data.rows import Reading

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


def hash_path(path: str) -> str:
    """Name a file without its path: the first 16 digits of its SHA-256."""
    return hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:16]


@contextmanager
def telling_in_words() -> Iterator[None]:
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


def read_dataset(payload: bytes) -> Dataset:
    """Read a data set whole, also one without its preamble.

    Raises
    ------
    UnreadableError
        If it is none, or if it unpacks to more than is read.

    """
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
    if claimed < there and not syntax.is_encapsulated:
        raise UnreadableError(f"claims {claimed} frames and has pixels for {there}; mend NumberOfFrames")
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
    if claimed == 1 and syntax.is_encapsulated:
        return 1
    data = next(dataset[name].value for name in PIXELS if name in dataset)
    if syntax.is_encapsulated:
        return sum(1 for _ in generate_fragmented_frames(data, number_of_frames=claimed))
    pixels = (
        _read_number(dataset, "Rows") * _read_number(dataset, "Columns") * _read_number(dataset, "SamplesPerPixel", 1)
    )
    bits = pixels * _read_number(dataset, "BitsAllocated", 8)
    return max(int(claimed == 1), len(data) * 8 // max(1, bits))  # of a file cut short pydicom tells


def _read_number(dataset: Dataset, name: str, default: int = 0) -> int:
    value = dataset.get(name)
    try:
        number = int(default if value in (None, "") else value)
    except (TypeError, ValueError):
        raise UnreadableError(f"{name} is no number; mend the tag, or leave the file out") from None
    if number < 0 or (number == 0 and default):
        return default or 0
    return number


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
    with telling_in_words():
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
                dataset, frames = read_dataset(path.read_bytes()), 2
        if frames > 1:
            frames = count_frames(read_dataset(path.read_bytes()))
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
        if PurePosixPath(origin).suffix.lower() not in SUFFIXES:  # a UID has a dot, too
            with suppress(UnreadableError, OSError):  # it is told when it is opened
                if lead_below(root / origin, root):
                    ids[origin] = read_tags(root / origin).ids
    if ids:
        reading.hides_groups = True
        for name in IDS:
            reading.columns[name] = [ids.get(origin, {}).get(name, "") for origin in reading.rows.origin]
