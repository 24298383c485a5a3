"""DICOM folders; Modality and BodyPartExamined say the first two factors unless folders or `elements` do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cg_lab.data.dicom_terms import name_area, name_modality
from cg_lab.data.film_headers import IDS, Tags, hash_path, read_tags
from cg_lab.data.folder_levels import Collector, FolderSettings, Levels, find_levels, walk
from cg_lab.data.pictures import UnreadableError, lead_below
from cg_lab.data.places import Place
from cg_lab.data.rows import Reading, Tally
from cg_lab.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(FolderSettings):
    """Which folders."""


def read(settings: Settings, folder: Path | None) -> Reading:
    """Read DICOM folders."""
    del folder
    levels = find_levels(settings.levels, settings.elements, settings.factors, settings.subsets)
    return read_films(Path(settings.path).absolute(), levels)


def list_watched(settings: Settings) -> list[str]:
    """Watch every folder, and the catalogue."""
    return settings.list_watched()


def list_films(root: Path, tally: Tally) -> Iterator[tuple[str, Tags]]:
    """List the DICOM images below a folder with their tags; what is none is counted, with its reason.

    Raises
    ------
    UserError
        If there is no such folder, or no DICOM image in it.

    """
    count = 0
    for path in walk(root, None, lambda reason, path: tally.count(reason, hash_path(path))):
        try:
            if not lead_below(root / path, root):
                raise UnreadableError("lies outside the data folder")
            tags = read_tags(root / path)
        except UnreadableError as error:
            tally.count(f"no DICOM image, left out ({error})", hash_path(path))
            continue
        count += 1
        yield path, tags
    if not count:
        reasons = "; ".join(f"{number} x {reason}" for reason, number in tally.counts.items())
        raise UserError(f"data.path: no DICOM file below '{root}'{f' ({reasons})' if reasons else ''}")


def read_films(root: Path, levels: Levels) -> Reading:
    """Read DICOM folders.

    Modality and BodyPartExamined fill in the first two factors where neither folders nor `data.elements` say them.
    Ids make groups and go no further; neither paths nor any other tag leave this module.

    Parameters
    ----------
    root
        The outermost folder.
    levels
        What the folders above an image mean.

    Raises
    ------
    UserError
        If there is no such folder, no DICOM file in it, or the levels can't be used.

    """
    given = tuple(factor for factor in levels.factors[:2] if levels.known is None)
    levels.check(given)
    collector = Collector(levels, "dicom")
    collector.open_columns(IDS)
    for line, (path, tags) in enumerate(list_films(root, collector.tally), 1):
        folders = path.split("/")[:-1]
        origin = hash_path(path)
        if len(folders) < len(levels.names):
            collector.tally.count(f"lies in fewer than {len(levels.names)} folders, left out", origin)
            continue
        told: dict[str, str] = {}
        if levels.known is None:
            elements = (name_modality(tags.modality), name_area(tags.body_part))
            told |= dict(zip(levels.factors, elements, strict=False))
        told |= {**levels.elements, **dict(zip(levels.names, folders, strict=False))}
        told.pop("_", None)
        for frame in range(tags.frames):
            collector.add(line, f"{origin}#{frame}", told, origin, tags.ids)
    return Reading(
        rows=collector.rows,
        place=Place(kind="films", root=str(root)),
        factors=levels.factors,
        subsets=collector.subsets,
        faults=collector.faults,
        notes=collector.tally.to_notes(),
        is_own=True,
        columns=collector.columns.values,
        hides_origins=True,
        hides_groups=True,
    )
