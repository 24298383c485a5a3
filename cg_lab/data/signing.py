"""Tell whether anything has changed where a source's settings point, without opening an image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path


def sign(watched: Iterable[str], folders: Iterable[str]) -> str:
    """Hash names, sizes and times of all that a table was made from, without opening anything.

    Parameters
    ----------
    watched
        Files and folders that list images.
    folders
        Folders that images lie in.

    """
    digest = sha256()
    for path in watched:
        if Path(path).is_dir():
            _sign_folder(path, digest.update)
        else:
            digest.update(f"{path}\t{_stamp(path)}\n".encode(errors="surrogateescape"))
    for folder in folders:
        _sign_folder(folder, digest.update)
    return digest.hexdigest()


def list_folders(root: Path) -> list[str]:
    """List a folder and all below it, hidden ones left out, in order; none if there is no such folder."""
    found: list[str] = []
    for folder, folders, _ in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.append(folder)
    return found or [str(root)]


def _sign_folder(folder: str, update: Callable[[bytes], None]) -> None:
    lines: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.is_dir():
                        continue  # the results folder may be one of them
                    status = entry.stat()
                except OSError:
                    continue  # a link to nothing
                lines.append(f"{entry.name}\t{status.st_size}\t{status.st_mtime_ns}\n")
    except OSError:
        lines = ["absent"]
    lines.sort()
    update(folder.encode(errors="surrogateescape") + b"\n" + "".join(lines).encode(errors="surrogateescape"))


def _stamp(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return "absent"
    return f"{status.st_size}\t{status.st_mtime_ns}"
