"""Image files: which are opened, and what becomes of their depth, colour and orientation."""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = 64_000_000
"""Larger images are refused unread: they are mistakes or decompression bombs."""
MAX_BYTES = 512_000_000
"""Larger files are refused unread."""


FORMATS = ("PNG", "JPEG", "JPEG2000", "BMP", "GIF", "TIFF", "WEBP", "PPM", "DIB")
"""Formats that are read; Pillow knows more, some of which start other programs."""
SEVERAL = frozenset({"GIF", "TIFF", "WEBP", "PNG", "MPO"})
"""Formats whose files may hold several frames."""
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm",
     ".jp2", ".j2k"}
)  # fmt: skip


class UnreadableError(Exception):
    """An image that can't be used; the text says why and names no path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One image, decoded: 8-bit gray (`L`) or `RGB`, upright."""

    image: Image.Image
    digest: str
    """SHA-256 of the bytes that it was decoded from."""
    num_bytes: int
    frames: int = 1
    """Of the file, the first one is used; of files other than DICOM 2 stands for two or more."""


class Stamp(NamedTuple):
    """Tells whether a file has changed, without reading it."""

    size: int
    mtime_ns: int
    inode: tuple[int, int] | None = None
    """Device and number of a file that may have several names; None where each name must be opened to tell."""


class Pictures(Protocol):
    """Where the images of a source lie; they are named by their origin within it."""

    def find(self, origins: Iterable[str]) -> dict[str, Stamp]:
        """Give the stamps of those that are there."""
        ...

    def open(self, origin: str) -> Picture:
        """Read and decode one.

        Raises
        ------
        UnreadableError
            If it is missing, no image, or larger than is read.

        """
        ...


@dataclass(slots=True)
class Folder:
    """Image files below a folder; an origin is a path relative to it."""

    root: Path

    def find(self, origins: Iterable[str]) -> dict[str, Stamp]:
        """Look folders through rather than single files: there may be a million, and most of them absent."""
        by_folder: dict[str, list[str]] = {}
        for origin in origins:
            by_folder.setdefault(origin.rpartition("/")[0], []).append(origin)
        found: dict[str, Stamp] = {}
        for head, wanted in by_folder.items():
            entries = list_folder(self.root / head, self.root)
            if not entries and not head.isascii():
                entries = list_folder(self.root / find_form(str(self.root), head), self.root)
            found |= {origin: entries[name] for origin in wanted if (name := origin.rpartition("/")[2]) in entries}
            foreign = [origin for origin in wanted if not origin.isascii() and origin not in found]
            composed = {unicodedata.normalize("NFC", name): entries[name] for name in entries if foreign}
            for origin in foreign:
                name = unicodedata.normalize("NFC", origin.rpartition("/")[2])
                if name in composed:
                    found[origin] = composed[name]
        return found

    def _locate(self, origin: str) -> str:
        """Give the path of a file; names may be written in another form of Unicode than the list of images has."""
        path = os.path.join(self.root, origin)  # noqa: PTH118  (pathlib takes ten times as long)
        if origin.isascii() or os.path.lexists(path):
            return path
        return os.path.join(self.root, find_form(str(self.root), origin))  # noqa: PTH118

    def open(self, origin: str) -> Picture:
        """Read and decode a file, which must lie below the folder once links are followed."""
        path = self._locate(origin)
        if not lead_below(path, self.root):
            raise UnreadableError("lies outside the data folder")
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
                raise UnreadableError("no file")
            with open(path, "rb") as file:  # noqa: PTH123
                if os.fstat(file.fileno()).st_size > MAX_BYTES:
                    raise UnreadableError(f"more than {MAX_BYTES} bytes")
                payload = file.read()
        except FileNotFoundError:
            raise UnreadableError("missing") from None
        except IsADirectoryError:
            raise UnreadableError("a folder") from None
        except OSError as error:
            raise UnreadableError(error.strerror or type(error).__name__) from None
        if is_film(payload) and origin.lower().endswith(tuple(SUFFIXES)):
            raise UnreadableError("a DICOM file with another ending, whose patient is not looked for; call it .dcm")
        return decode(payload)


def is_film(payload: bytes) -> bool:
    """Tell whether bytes are those of a DICOM file."""
    return payload[128:132] == b"DICM"


def lead_below(path: str | Path, root: str | Path) -> bool:
    """Tell whether a path lies below a folder once all links are followed."""
    try:
        return os.path.realpath(path).startswith(_find_real(str(root)).rstrip(os.sep) + os.sep)
    except ValueError:
        return False  # no name that a file can have


def find_form(root: str, path: str) -> str:
    """Give a path below a folder as it is written there, whichever form of Unicode each folder's name has."""
    found = ""
    for part in path.split("/"):
        here, name = os.path.join(root, found), part  # noqa: PTH118
        if not part.isascii() and not os.path.lexists(os.path.join(here, part)):  # noqa: PTH118
            wanted = unicodedata.normalize("NFC", part)
            try:
                name = next((one for one in os.listdir(here) if unicodedata.normalize("NFC", one) == wanted), part)  # noqa: PTH208
            except (OSError, ValueError):
                return path
        found = os.path.join(found, name)  # noqa: PTH118
    return found


@lru_cache(maxsize=64)
def _find_real(root: str) -> str:
    return os.path.realpath(root)


def list_folder(folder: Path, root: Path) -> dict[str, Stamp]:
    """Give the files of one folder below `root` with their stamps; links count as what they lead to."""
    found: dict[str, Stamp] = {}
    kept: dict[Stamp, Stamp] = {}
    is_below = folder == root or lead_below(folder, root)
    try:
        entries = os.scandir(folder)
    except (OSError, ValueError):
        return found
    with entries:
        for entry in entries:
            try:
                status = entry.stat()
            except OSError:
                continue  # a link to nothing
            if stat.S_ISREG(status.st_mode):
                has_names = is_below and status.st_nlink > 1 and not entry.is_symlink()
                inode = (status.st_dev, status.st_ino) if has_names else None
                stamp = Stamp(status.st_size, status.st_mtime_ns, inode)
                found[entry.name] = kept.setdefault(stamp, stamp) if has_names else stamp
    return found


def decode(payload: bytes) -> Picture:
    """Decode an image file.

    Turned upright as its EXIF says; palettes and CMYK become RGB; what is transparent becomes black; more than eight
    bits are scaled from the darkest to the brightest pixel; of several frames the first is taken.

    Raises
    ------
    UnreadableError
        If it is no image, cut short, or larger than is read.

    """
    if not payload:
        raise UnreadableError("zero bytes")
    if is_film(payload):
        from cg_lab.data.films import decode_film

        return decode_film(payload, 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow warns about is handled by rule below
            with Image.open(BytesIO(payload), formats=FORMATS) as image:
                check_size(image.width, image.height)
                has_more = image.format in SEVERAL and _has_more(payload)
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                plain = _to_plain(image)
    except UnreadableError:
        raise
    except Exception as error:  # noqa: BLE001  (Pillow's decoders raise whatever they meet in a damaged file)
        raise UnreadableError(_describe(error)) from None
    return Picture(image=plain, digest=hashlib.sha256(payload).hexdigest(), num_bytes=len(payload), frames=1 + has_more)


def _has_more(payload: bytes) -> bool:
    """Tell whether a file has a second frame; to count millions of them would take minutes."""
    with Image.open(BytesIO(payload), formats=FORMATS) as image:
        try:
            image.seek(1)
        except (EOFError, OSError, ValueError, SyntaxError):
            return False
        return True


def check_size(width: int, height: int) -> None:
    """Refuse what is too large to be read, before any of it is."""
    if width * height > MAX_PIXELS:
        raise UnreadableError(f"{width} x {height} pixels, at most {MAX_PIXELS} are read")


def _describe(error: BaseException) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"too many pixels, at most {MAX_PIXELS} are read"
    text = str(error)
    return "not an image" if text.startswith("cannot identify") else text or type(error).__name__


def _to_plain(image: Image.Image) -> Image.Image:
    if image.mode in {"L", "RGB"} and "transparency" not in image.info:
        return image.copy() if image.readonly else image
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(stretch(np.asarray(image)))
    if image.mode in {"LA", "La", "RGBA", "RGBa", "PA"} or "transparency" in image.info:
        colour = image.convert("RGBA")
        black = Image.new("RGBA", colour.size, (0, 0, 0, 255))
        flat = Image.alpha_composite(black, colour)
        return flat.convert("L" if image.mode in {"L", "LA", "La"} else "RGB")
    return image.convert("L" if image.mode == "1" else "RGB")


def stretch(values: np.ndarray) -> np.ndarray:
    """Scale numbers from the smallest to the largest to 0 to 255; an even image is black, and what is no number too."""
    numbers = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(numbers.min()), float(numbers.max())
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return np.round((numbers - low) * (255.0 / (high - low))).astype(np.uint8)


def hash_pixels(image: Image.Image) -> str:
    """Hash what is seen; a colour image without colour counts as gray, and how it was stored does not count at all."""
    pixels = np.asarray(image)
    if pixels.ndim == 3 and (pixels[..., :1] == pixels[..., 1:]).all():
        pixels = pixels[..., 0]
    head = f"{pixels.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()
