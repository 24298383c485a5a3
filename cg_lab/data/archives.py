"""Zip and tar files, unpacked once into a folder that is named by what they hold, within stated limits."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from cg_lab.data.pictures import MAX_BYTES
from cg_lab.data.rows import Tally, describe, lies_below
from cg_lab.errors import UserError, is_denied, is_disk_trouble
from cg_lab.locks import holding
from cg_lab.serialize import content_id, parse_json, replacing, write_json

MAX_MEMBERS = 5_000_000
"""Files of an archive."""
MAX_TOTAL_BYTES = 500_000_000_000
"""All of an archive unpacked; a member may have as many as an image file."""
MAX_RATIO = 200
"""Bytes unpacked for one packed, over a whole archive, beyond 1 GB; images hardly shrink."""
FREE_BYTES = 1 << 30
"""Unpacked bytes whose ratio is not looked at."""
MAX_HEADER_BYTES = 1 << 26
"""What a tar file may say of one member, which is held in memory."""
LONGEST_NAME = 200
"""Bytes of a file's or folder's name."""
PACKED: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""What unpacks a tar file, by how it begins."""
DONE = ".unpacked.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file of an archive."""

    name: str
    size: int
    """Bytes that it claims to unpack to."""
    open: Callable[[], IO[bytes]]
    fault: str = ""
    """Why it is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unpacked:
    """What became of an archive's wanted files; written when all of it is done."""

    archive: str
    counts: dict[str, int]
    examples: dict[str, tuple[str, ...]]


def unpack(
    archive: Path,
    folder: Path,
    wanted: Callable[[str], bool],
    *,
    most_bytes: int | None = None,
    key: str = "data.path",
    tally: Tally | None = None,
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
    tally
        Counts the wanted files that are left out: links, names that lead out of the archive or are too long.

    Returns
    -------
    The archive's folder.

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
        done = parse_json(_Unpacked, target / DONE)
        if done is None:
            left_out = _write_members(archive, target, wanted, most_bytes or MAX_BYTES)
            examples = {reason: tuple(shown) for reason, shown in left_out.examples.items()}
            done = _Unpacked(archive=archive.name, counts=left_out.counts, examples=examples)
            write_json(target / DONE, done)
    if tally is not None:
        for reason, count in done.counts.items():
            tally.counts[reason] = tally.counts.get(reason, 0) + count
            tally.examples.setdefault(reason, []).extend(done.examples[reason])
    return target


def _write_members(archive: Path, target: Path, wanted: Callable[[str], bool], most_bytes: int) -> Tally:
    """Write the wanted files, and count those that are left out."""
    left_out, seen = Tally(archive.name), set[int]()
    try:
        for member in _read_members(archive, wanted, most_bytes):
            if member.fault:
                left_out.count(member.fault, member.name)
                continue
            if hash(member.name) in seen:
                left_out.count("name is in the archive again, the last file counts", member.name)
            seen.add(hash(member.name))
            with replacing(target / member.name) as beside:
                _copy(archive, member, beside)
    except UserError:
        raise
    except Exception as error:  # what zipfile and tarfile raise at a damaged file is no short list
        if isinstance(error, OSError) and (is_disk_trouble(error) or is_denied(error)):
            raise  # not the archive's fault
        raise UserError(f"{archive}: can't be unpacked ({describe(error)})") from None
    return left_out


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
    total, most = 0, _limit(archive)
    members = _list_zip(archive) if zipfile.is_zipfile(archive) else _list_tar(archive)
    for count, member in enumerate(members, 1):
        if count > MAX_MEMBERS:
            raise UserError(f"{archive}: more than {MAX_MEMBERS} files")
        clean = member.name.removeprefix("./").replace("\\", "/")
        if not wanted(clean):
            continue
        fault = member.fault or _find_fault(clean)
        if member.size > most_bytes and not fault:
            raise UserError(f"{archive}: '{clean}' unpacks to {member.size} bytes, at most {most_bytes} are read")
        total += member.size
        if total > most:
            raise _tell_excess(archive, most)
        yield replace(member, name=clean, fault=fault)


def _find_fault(name: str) -> str:
    if not lies_below(name) or not name.isprintable() or re.match(r"[A-Za-z]:", name):
        return "name leads out of the archive, left out"
    too_long = any(len(part.encode(errors="replace")) > LONGEST_NAME for part in name.split("/"))
    return f"name has more than {LONGEST_NAME} bytes, left out" if too_long else ""


def _limit(archive: Path) -> int:
    """Give the bytes that an archive may unpack to."""
    return min(MAX_TOTAL_BYTES, max(FREE_BYTES, MAX_RATIO * archive.stat().st_size))


def _tell_excess(archive: Path, most: int) -> UserError:
    packed = archive.stat().st_size
    return UserError(f"{archive}: unpacks to more than {most} bytes from {packed}; unpack it by hand if it is sound")


def _list_zip(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        for told in file.infolist():
            if not told.filename.endswith("/"):
                fault = "link in an archive, left out" if (told.external_attr >> 28) == 0xA else ""
                yield Member(
                    name=told.filename, size=told.file_size, open=lambda told=told: file.open(told), fault=fault
                )


class _Unpacking:
    """A tar file's unpacked bytes, which end in an error where they are more than is read."""

    def __init__(self, archive: Path, file: IO[bytes]) -> None:
        self.archive, self.file, self.most = archive, file, _limit(archive)

    def _check(self, place: int) -> None:
        if place > self.most:
            raise _tell_excess(self.archive, self.most)

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes; headers that ask for more than is held are refused."""
        if size > MAX_HEADER_BYTES:
            raise UserError(f"{self.archive}: says {size} bytes of one file, at most {MAX_HEADER_BYTES} are read")
        payload = self.file.read(size)
        self._check(self.file.tell())
        return payload

    def seek(self, place: int) -> int:
        """Go on to a place, over all that lies between."""
        self._check(place)
        return self.file.seek(place)

    def tell(self) -> int:
        """Say where the next byte lies."""
        return self.file.tell()


def _list_tar(archive: Path) -> Iterator[Member]:
    with archive.open("rb") as file:
        start = file.read(8)
    unpacker = next((one for begin, one in PACKED.items() if start.startswith(begin)), None)
    with unpacker(archive) if unpacker else archive.open("rb") as unpacked:
        stream = _Unpacking(archive, unpacked)
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:") as file:
            while (told := file.next()) is not None:
                cast("Any", file).members.clear()  # millions of them would be held
                fault = "link in an archive, left out" if told.issym() or told.islnk() else ""
                if told.isreg() or fault:
                    opened = cast("Callable[[], IO[bytes]]", partial(file.extractfile, told))
                    yield Member(name=told.name, size=told.size, open=opened, fault=fault)
            stream.seek(file.offset)
            if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"damaged at byte {file.offset}")
