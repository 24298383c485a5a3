"""Images in .npz files, unpacked once within stated limits and mapped into memory."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cg_lab.data.pictures import MAX_PIXELS, Picture, Stamp, UnreadableError
from cg_lab.serialize import content_id, replacing

MAX_ARRAY_BYTES = 64_000_000_000
"""Larger arrays are refused before they are unpacked; those of MedMNIST have 27 GB at most."""

MAX_RATIO = 2000
"""Bytes unpacked for one packed, beyond `FREE_BYTES`; even images are alike here and there."""
FREE_BYTES = 1 << 28


@dataclass(slots=True)
class Arrays:
    """Images in .npz files; an origin is `file.npz/train/number`.

    Members of such a file can't be read in place: each is unpacked once into a file that is mapped into memory.
    """

    root: Path
    unpacked: Path
    """Folder of the unpacked arrays."""
    _stamps: dict[str, Stamp] = field(default_factory=dict)

    def find(self, origins: Iterable[str]) -> dict[str, Stamp]:
        """Give the stamps of those that are there: each that of its file."""
        found: dict[str, Stamp] = {}
        stamps: dict[str, Stamp | None] = {}
        for origin in origins:
            name = origin.partition("/")[0]
            if name not in stamps:
                stamps[name] = _stamp(self.root / name)
            stamp = stamps[name]
            if stamp is not None:
                found[origin] = stamp
        return found

    def open(self, origin: str) -> Picture:
        """Give one image of an array."""
        name, side, number = origin.split("/")
        try:
            stamp = _stamp(self.root / name)
            if stamp is None:
                raise UnreadableError("missing")
            pixels = np.array(_map_member(self.root / name, f"{side}_images", self.unpacked, stamp)[int(number)])
        except FileNotFoundError:
            raise UnreadableError("missing") from None
        except IndexError:
            raise UnreadableError("beyond the end of the array") from None
        except UnreadableError:
            raise
        except Exception as error:  # noqa: BLE001  (numpy raises whatever it meets in a damaged header)
            raise UnreadableError(f"damaged array ({error})") from None
        if (
            pixels.dtype != np.uint8
            or pixels.ndim not in {2, 3}
            or (pixels.ndim == 3 and pixels.shape[2] not in {1, 3})
        ):
            raise UnreadableError(f"{pixels.dtype} of shape {pixels.shape}, not 8-bit gray or RGB")
        if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS or not pixels.size:
            raise UnreadableError(f"{pixels.shape} pixels")
        plain = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
        payload = f"{plain.shape}".encode() + plain.tobytes()
        return Picture(
            image=Image.fromarray(plain), digest=hashlib.sha256(payload).hexdigest(), num_bytes=pixels.nbytes
        )


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _map_member(path: Path, member: str, unpacked: Path, stamp: Stamp) -> NDArray[np.uint8]:
    """Map one array of a file into memory, unpacking it first if that was not done before."""
    del stamp
    with zipfile.ZipFile(path) as archive:
        told = archive.getinfo(f"{member}.npy")
        check_member(told, path)
        name = content_id("array", 2, [member, told.CRC, told.file_size, told.compress_size])
        target = unpacked / f"{name}.npy"
        if not target.exists():
            with archive.open(told) as packed, replacing(target) as beside, beside.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
    return np.load(target, mmap_mode="r", allow_pickle=False)


def check_member(told: zipfile.ZipInfo, path: Path) -> None:
    """Refuse an array that unpacks to more than is read, or than there is room for, before it is unpacked.

    Raises
    ------
    ValueError
        With the size and the limit.

    """
    if told.file_size > MAX_ARRAY_BYTES:
        raise ValueError(f"{told.filename} unpacks to {told.file_size} bytes, at most {MAX_ARRAY_BYTES} are read")
    if told.file_size > MAX_RATIO * max(told.compress_size, 1) and told.file_size > FREE_BYTES:
        raise ValueError(f"{told.filename} unpacks to {told.file_size} bytes from {told.compress_size} in {path.name}")
