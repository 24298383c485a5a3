"""Tell whether anything has changed where a source's settings point, without opening an image."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

Entries = dict[str, tuple[int, int]]
"""Size and time of last change, in nanoseconds, of files by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Hashes of names, sizes and times of all that a table was made from."""

    listing: str
    """Over files and folders that list images, whose names may be personal."""
    folders: dict[str, str]
    """Of each folder that images lie in."""


def sign(watched: Iterable[str], folders: Iterable[str]) -> Signature:
    """Sign all that a table was made from, without opening anything.

    Parameters
    ----------
    watched
        Files and folders that list images.
    folders
        Folders that images lie in; those of them that are watched, too, are signed once.

    """
    digest = sha256()
    lying = list(folders)
    signed = {os.path.abspath(folder) for folder in lying}  # noqa: PTH100
    listing = [path for path in watched if os.path.abspath(path) not in signed]  # noqa: PTH100
    # Most of the time is the system's, and all of it is the network's where files lie behind one.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for line in pool.map(_sign_path, listing):
            digest.update(line.encode(errors="surrogateescape"))
        hashes = pool.map(lambda folder: sign_entries(list_entries(folder)), lying)
        return Signature(listing=digest.hexdigest(), folders=dict(zip(lying, hashes, strict=True)))


def list_folders(root: Path) -> list[str]:
    """List a folder and all below it, hidden ones left out, in order; none if there is no such folder."""
    found: list[str] = []
    for folder, folders, _ in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.append(folder)
    return found or [str(root)]


def list_entries(folder: str) -> Entries | None:
    """Give whatever a folder holds beside folders; None if there is no such folder."""
    found: Entries = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.is_dir():
                        continue  # the results folder may be one of them
                    status = entry.stat()
                except OSError:
                    continue  # a link to nothing
                found[entry.name] = status.st_size, status.st_mtime_ns
    except OSError:
        return None
    return found


def sign_entries(entries: Entries | None) -> str:
    """Hash what a folder holds."""
    if entries is None:
        return "absent"
    lines = sorted(f"{name}\t{size}\t{mtime_ns}\n" for name, (size, mtime_ns) in entries.items())
    return sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def _sign_path(path: str) -> str:
    return f"{path}\t{sign_entries(list_entries(path)) if Path(path).is_dir() else _stamp(path)}\n"


def _stamp(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return "absent"
    return f"{status.st_size}\t{status.st_mtime_ns}"
