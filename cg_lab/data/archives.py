"""Zip and tar files, unpacked once into a folder that is named by what they hold, within stated limits."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file of an archive."""

    name: str
    size: int
    """Bytes that it claims to unpack to."""
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path, folder: Path, wanted: Callable[[str], bool], *, most_bytes: int | None = None, key: str = "data.path"
) -> Path:
    """Unpack the wanted files of an archive, unless that was done before.

    Parameters
    ----------
    archive
        A zip or tar file, by its content.
    folder
        Holds one folder for each archive, named by its SHA-256.
    wanted
        Tells by its name whether a file is.
    most_bytes
        Of one file; as of an image if not given.
    key
        What of the user's names the archive, for messages.

    Returns
    -------
    The archive's folder. Links, devices and names that lead out of it are left out.

    Raises
    ------
    UserError
        If there is no such file, it is damaged, or holds more than is read.

    """
    if not archive.is_file():
        raise UserError(f"{key}: no file '{archive}'; give a zip or tar file")
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = folder / content_id("archive", 1, [digest])
    with holding(folder / f"{target.name}.lock", wait=True):
        if not (target / DONE).exists():
            try:
                for member in _read_members(archive, wanted, most_bytes or MAX_BYTES):
                    with replacing(target / member.name) as beside:
                        _copy(archive, member, beside)
            except DAMAGED as error:
                raise UserError(f"{archive}: can't be unpacked ({error or type(error).__name__})") from None
            write_text(target / DONE, f"{archive.name}\n")
    return target


def _copy(archive: Path, member: Member, path: Path) -> None:
    """Write a member as far as it claims to go, so that one that lies about its size fills no disk."""
    left = member.size + 1
    with member.open() as source, path.open("wb") as target:
        while left and (payload := source.read(min(left, 1 << 20))):
            target.write(payload)
            left -= len(payload)
    if left != 1:
        raise UserError(f"{archive}: '{member.name}' has not the {member.size} bytes that it claims")


def _read_members(archive: Path, wanted: Callable[[str], bool], most_bytes: int) -> Iterator[Member]:
    total, packed = 0, archive.stat().st_size
    members = _list_zip(archive) if zipfile.is_zipfile(archive) else _list_tar(archive)
    for count, member in enumerate(members, 1):
        if count > MAX_MEMBERS:
            raise UserError(f"{archive}: more than {MAX_MEMBERS} files")
        clean = member.name.removeprefix("./").replace("\\", "/")
        if not lies_below(clean) or not clean.isprintable() or not wanted(clean):
            continue
        if member.size > most_bytes:
            raise UserError(f"{archive}: '{clean}' unpacks to {member.size} bytes, at most {most_bytes} are read")
        total += member.size
        if total > MAX_TOTAL_BYTES or (total > 1 << 30 and total > MAX_RATIO * packed):
            raise UserError(
                f"{archive}: unpacks to more than {total} bytes from {packed}; unpack it by hand if it is sound"
            )
        yield replace(member, name=clean)


def _list_zip(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        for told in file.infolist():
            if not told.is_dir() and (told.external_attr >> 28) != 0xA:  # a link
                yield Member(name=told.filename, size=told.file_size, open=lambda told=told: file.open(told))


def _list_tar(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive, "r|*") as file:
        for told in file:
            if told.isreg():
                opened = partial(file.extractfile, told)
                yield Member(name=told.name, size=told.size, open=cast("Callable[[], IO[bytes]]", opened))
