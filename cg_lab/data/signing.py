"""Tell whether anything has changed where a source's settings point, without opening an image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

from cg_lab.data_settings import (
    CatalogSettings,
    DicomSettings,
    FolderSettings,
    HuggingFaceSettings,
    ImageSettings,
    ManifestSettings,
    MedMnistSettings,
)


def sign(parts: Iterable[ImageSettings], folders: tuple[str, ...] | None) -> str:
    """Hash names, sizes and times of all that a table was made from, without opening anything."""
    digest = sha256()
    for part in parts:
        for path in _list_files(part):
            digest.update(f"{path}\t{_stamp(path)}\n".encode(errors="surrogateescape"))
    roots = folders if folders is not None else _walk_folders(parts)
    for folder in roots:
        _sign_folder(folder, digest.update)
    return digest.hexdigest()


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


def _walk_folders(parts: Iterable[ImageSettings]) -> list[str]:
    roots = [part.path for part in parts if isinstance(part, FolderSettings | DicomSettings | ManifestSettings)]
    return sorted(
        folder for root in roots for folder, _, _ in os.walk(root if Path(root).is_dir() else Path(root).parent)
    )


def _stamp(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return "absent"
    return f"{status.st_size}\t{status.st_mtime_ns}"


def _list_files(settings: ImageSettings) -> list[str]:
    """List the files that name a source's images."""
    match settings:
        case ManifestSettings():
            return [settings.path, *([settings.boxes] if settings.boxes else [])]
        case CatalogSettings():
            from cg_lab.data.readers.med_mat import list_release

            released = [str(path) for path in list_release(Path(settings.release))] if settings.release else []
            return [settings.path, *filter(None, (settings.images, settings.boxes)), *released]
        case MedMnistSettings():
            from cg_lab.data.readers.medmnist import list_sets

            facts = Path(settings.facts) if settings.facts else None
            return [str(path) for path in list_sets(Path(settings.path), facts, settings.size, settings.sets)] + (
                [settings.facts] if settings.facts else []
            )
        case FolderSettings() | DicomSettings():
            return [folder for folder, _, _ in os.walk(settings.path)] + (
                [settings.subsets] if settings.subsets else []
            )
        case HuggingFaceSettings():
            return [settings.path, *([settings.subsets] if settings.subsets else [])]
        case _:
            raise AssertionError(settings)
