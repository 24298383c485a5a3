"""Zip and tar files, unpacked once into a folder that is named by what they hold, within stated limits."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from cg_lab.data.pictures import MAX_BYTES
from cg_lab.data.rows import lies_below
from cg_lab.errors import UserError
from cg_lab.locks import holding
from cg_lab.serialize import content_id, replacing, write_text

MAX_MEMBERS = 5_000_000
"""Files of an archive."""
MAX_TOTAL_BYTES = 500_000_000_000
"""All of an archive unpacked; a member may have as many as an image file."""
MAX_RATIO = 200
"""Bytes unpacked for one packed, over a whole archive, beyond 1 GB; images hardly shrink."""
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
DONE = "unpacked.txt"


def unpack(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> Path:
    """Unpack the wanted files of an archive, unless that was done before.

    Parameters
    ----------
    archive
        A zip or tar file, by its content.
    folder
        Holds one folder for each archive, named by its SHA-256.
    wanted
        Tells by its name whether a file is.

    Returns
    -------
    The archive's folder. Links, devices and names that lead out of it are left out.

    Raises
    ------
    UserError
        If there is no such file, it is damaged, or holds more than is read.

    """
    if not archive.is_file():
        raise UserError(f"data.path: no file '{archive}'; give a zip or tar file")
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = folder / content_id("archive", 1, [digest])
    with holding(folder / f"{target.name}.lock", wait=True):
        if not (target / DONE).exists():
            try:
                for name, payload in _read_members(archive, wanted):
                    with replacing(target / name) as beside:
                        beside.write_bytes(payload)
            except DAMAGED as error:
                raise UserError(f"{archive}: can't be unpacked ({error or type(error).__name__})") from None
            write_text(target / DONE, f"{archive.name}\n")
    return target


def _read_members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    total, packed = 0, archive.stat().st_size
    members = _list_zip(archive) if zipfile.is_zipfile(archive) else _list_tar(archive)
    for count, (name, size, opened) in enumerate(members, 1):
        if count > MAX_MEMBERS:
            raise UserError(f"{archive}: more than {MAX_MEMBERS} files")
        clean = name.removeprefix("./").replace("\\", "/")
        if not lies_below(clean) or not clean.isprintable() or not wanted(clean):
            continue
        if size > MAX_BYTES:
            raise UserError(f"{archive}: '{clean}' unpacks to {size} bytes, at most {MAX_BYTES} are read")
        total += size
        if total > MAX_TOTAL_BYTES or (total > 1 << 30 and total > MAX_RATIO * packed):
            raise UserError(
                f"{archive}: unpacks to more than {total} bytes from {packed}; unpack it by hand if it is sound"
            )
        with opened() as file:
            payload = file.read(size + 1)
        if len(payload) != size:
            raise UserError(f"{archive}: '{clean}' has not the {size} bytes that it claims")
        yield clean, payload


def _list_zip(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    with zipfile.ZipFile(archive) as file:
        for told in file.infolist():
            if not told.is_dir() and (told.external_attr >> 28) != 0xA:  # a link
                yield told.filename, told.file_size, lambda told=told: file.open(told)


def _list_tar(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    with tarfile.open(archive, "r|*") as file:
        for told in file:
            if told.isreg():
                yield told.name, told.size, lambda told=told: cast("IO[bytes]", file.extractfile(told))
