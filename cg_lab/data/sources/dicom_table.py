"""DICOM files with a table of labels, as RSNA, SIIM, VinDr and MIMIC-CXR give them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cg_lab.data.box_tables import BoxTable, read_boxes
from cg_lab.data.dicom_terms import name_area, name_modality
from cg_lab.data.film_headers import IDS, KEYS, Tags, hash_path
from cg_lab.data.label_columns import LabelColumns, LabelSettings
from cg_lab.data.named_files import FileNames
from cg_lab.data.places import Place
from cg_lab.data.records import RecordChecker
from cg_lab.data.rows import Reading, Tally, clean_text
from cg_lab.data.signing import list_folders
from cg_lab.data.sources.dicom import list_films
from cg_lab.data.subset_names import name_subset
from cg_lab.data.tabular import find_columns, read_lines
from cg_lab.data_settings import NonEmptyText
from cg_lab.errors import UserError

By = Literal["path", "name", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "AccessionNumber"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(LabelSettings):
    """Which table, and where the films are."""

    by: By | None = None
    """What the table's column `image` names: a path, a file name with or without ending, or a tag; None finds out."""
    boxes: str | None = None
    """A table of boxes of the same images."""
    box_columns: dict[str, NonEmptyText | None] | None = None
    """Columns of the table of boxes, where they are not called so."""


@dataclass(frozen=True, slots=True)
class _Film:
    path: str
    tags: Tags


def read(settings: Settings, folder: Path | None) -> Reading:
    """Read films, and what a table says of each; Modality and BodyPartExamined fill in what it does not say."""
    del folder
    path = Path(settings.path).absolute()
    root = Path(settings.root).absolute() if settings.root else path.parent
    table = read_lines(path, setting="data.path")
    lines = list(table.cells)
    labels = LabelColumns(settings, table.header, [cells for _, cells in lines])
    told = settings.factors[:2]
    boxes = read_boxes(Path(settings.boxes), settings.box_columns) if settings.boxes else None
    plain = RecordChecker(path.name, settings.factors, elements=settings.elements, told=told)
    named = {role: column for role, column in (settings.columns or {}).items() if role != "label"}
    needed = [role for role in plain.needed if role != "label"]
    header = find_columns(path, table.header, needed, plain.optional, named)
    unused = tuple(name for name in header.unused if name not in labels.used)
    tally = Tally("dicom")
    films = [_Film(path=name, tags=tags) for name, tags in list_films(root, tally)]
    names = [cells[header.columns["image"]].strip() for _, cells in lines]
    match = _match(films, names, settings.by)
    found = match.films
    by_origin = {
        f"{hash_path(film.path)}#{frame}": name
        for name, matched in found.items()
        for film in matched
        for frame in range(film.tags.frames)
    }
    checker = RecordChecker(
        path.name, settings.factors, elements=settings.elements, told=told, group=settings.group,
        boxes=_rename(boxes, by_origin) if boxes else None,
    )  # fmt: skip
    checker.open_columns([*unused, *IDS])
    checker.tally = tally
    boxed: set[str] = set()
    for (line, cells), name in zip(lines, names, strict=True):
        try:
            label, reason = labels.read(cells)
        except ValueError as error:
            checker.faults.append(f"line {line}: {error}")
            continue
        if label is None or name not in found:
            reason = reason if label is None else "line names no DICOM image that is there"
            tally.count(f"{reason}, left out", f"{path.name}, {line}")
            continue
        if len(found[name]) > 1 and match.is_by_name:
            checker.faults.append(f"line {line}: its image is the name of {len(found[name])} files; give the path")
            continue
        for film in found[name]:
            elements = dict(
                zip(told, (name_modality(film.tags.modality), name_area(film.tags.body_part)), strict=False)
            )
            roles = {**elements, **{role: text for role, text in header.take(cells).items() if text.strip()}}
            for frame in range(film.tags.frames):
                roles |= {"image": f"{hash_path(film.path)}#{frame}", "label": label}
                _check(checker, line, roles, {**cells, **film.tags.ids}, boxed)
    absent = len(films) - len({film.path for matched in found.values() for film in matched})
    for _ in range(absent):
        tally.count("DICOM image that no line names, left out", "not shown: its name may be personal")
    reading = checker.finish(Place(kind="films", root=str(root)), unused)
    reading.hides_origins = True
    reading.hides_groups = any(name in film.tags.ids for film in films for name in IDS)
    return reading


def _check(
    checker: RecordChecker, line: int, roles: dict[str, str], others: Mapping[str, str], boxed: set[str]
) -> None:
    """Check a line; where there are boxes, every subset asks for them."""
    if checker.boxes is not None:
        subset = clean_text(roles.get("subset", "")) or name_subset(
            checker.given.get(factor) or roles.get(factor, "") for factor in checker.factors
        )
        if subset not in boxed:
            boxed.add(subset)
            checker.boxed |= {subset}
            checker.located[subset] = (True, line)
    checker.check(line, roles, others)


def _rename(boxes: BoxTable, by_origin: Mapping[str, str]) -> BoxTable:
    """Give boxes by the origins that images have here."""
    renamed = {origin: found for origin, name in by_origin.items() if (found := boxes.find(name)) is not None}
    if (fault := boxes.find_fault()) is not None:
        raise UserError(fault)
    return BoxTable(boxes=renamed, tally=boxes.tally, unused=boxes.unused)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    """The films that each name of a table stands for."""

    films: dict[str, list[_Film]]
    is_by_name: bool = False
    """Whether it names files, so that it may stand for one alone."""

    def count(self) -> int:
        """Count the names that say what is meant."""
        return sum(len(found) == 1 or not self.is_by_name for found in self.films.values())


def _match(films: Sequence[_Film], names: Iterable[str], by: By | None) -> _Match:
    """Find the films that each name of the table stands for.

    Raises
    ------
    UserError
        If none does.

    """
    wanted = dict.fromkeys(name for name in names if name)
    kinds: list[str] = [by] if by else ["path", *reversed(KEYS)]
    matches = [
        _match_names(films, wanted) if kind in {"path", "name"} else _match_tags(films, wanted, kind) for kind in kinds
    ]
    best = max(matches, key=lambda match: (match.count(), len(match.films)))
    if wanted and not best.films:
        raise UserError(
            f"data.by: what the table's column of images names is neither a path, a file name, nor {', '.join(KEYS)} "
            f"of any of {len(films)} DICOM images; give data.columns.image=COLUMN or data.root=FOLDER"
        )
    return best


def _match_names(films: Sequence[_Film], wanted: Iterable[str]) -> _Match:
    by_path = {film.path: film for film in films}
    files = FileNames(by_path)
    found = {name: [by_path[path] for path in paths] for name in wanted if (paths := files.find(name))}
    return _Match(films=found, is_by_name=True)


def _match_tags(films: Sequence[_Film], wanted: Iterable[str], tag: str) -> _Match:
    index: dict[str, list[_Film]] = defaultdict(list)
    for film in films:
        if tag in film.tags.ids:
            index[film.tags.ids[tag]].append(film)
    return _Match(films={name: index[name] for name in wanted if name in index})


def list_watched(settings: Settings) -> list[str]:
    """Watch the tables, and every folder of films."""
    root = Path(settings.root) if settings.root else Path(settings.path).parent
    return [settings.path, *([settings.boxes] if settings.boxes else []), *list_folders(root)]
