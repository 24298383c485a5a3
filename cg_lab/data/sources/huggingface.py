"""Sets of the Hugging Face hub or in its formats, read with the datasets library and copied once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt

from cg_lab.data.folder_levels import Collector, Levels, find_levels
from cg_lab.data.identifier_columns import is_unclear, may_group
from cg_lab.data.pictures import MAX_BYTES, lead_below
from cg_lab.data.places import Place
from cg_lab.data.rows import Reading, describe
from cg_lab.data.signing import list_folders
from cg_lab.data_settings import ImageSettings, NonEmptyText
from cg_lab.errors import UserError, suggest
from cg_lab.locks import holding
from cg_lab.serialize import content_id, replacing, write_text

LISTING, UNUSED = "rows.jsonl", "unused.json"
Tell = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ImageSettings):
    """Which rows of which set."""

    path: NonEmptyText
    config: str | None
    revision: str | None
    """Commit or tag; None for the newest at the time of the copy."""
    splits: Annotated[tuple[NonEmptyText, ...], Field(min_length=1)]
    streaming: bool
    """Read row by row rather than download whole first."""
    max_rows: PositiveInt | None
    """Of each split; None for all."""
    columns: dict[str, NonEmptyText | None]
    """Columns by what they hold: image, label, and perhaps subset, group and factors."""
    elements: dict[str, NonEmptyText] | None
    """Factors that are the same for all images."""
    subsets: str | None
    """A catalogue that says the elements of each subset; None where columns or `elements` do."""


def read(settings: Settings, folder: Path | None) -> Reading:
    """Read a set, copying it first."""
    assert folder is not None
    wanted = HubSet(
        path=settings.path,
        config=settings.config,
        revision=settings.revision,
        splits=settings.splits,
        streaming=settings.streaming,
        max_rows=settings.max_rows,
        columns={role: column for role, column in settings.columns.items() if column is not None},
        group=settings.group,
    )
    levels = find_levels((), settings.elements, settings.factors, settings.subsets)
    return read_hub_set(wanted, folder / "copies", levels)


def list_watched(settings: Settings) -> list[str]:
    """Watch the folders of a set that lies in one, and the catalogue."""
    folders = list_folders(Path(settings.path)) if Path(settings.path).is_dir() else [settings.path]
    return [*folders, *([settings.subsets] if settings.subsets else [])]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSet:
    """Which rows of which set."""

    path: str
    """Name on the hub, or a folder."""
    config: str | None
    revision: str | None
    """Commit or tag; None for the newest."""
    splits: tuple[str, ...]
    streaming: bool
    """Read row by row rather than download whole first."""
    max_rows: int | None
    """Of each split; None for all."""
    columns: Mapping[str, str]
    """Columns by what they hold: image, label, and perhaps subset, group and factors."""
    group: str | None = None
    """`data.group`."""


def copy_rows(wanted: HubSet, folder: Path, tell: Tell | None = None) -> Path:
    """Copy the wanted rows into a folder of image files with a listing, unless that was done before.

    Afterwards neither the hub nor the library is needed. A copy that was stopped begins anew.

    Parameters
    ----------
    wanted
        Which rows.
    folder
        Holds one folder for each set that was copied.
    tell
        Told how many rows are done.

    Returns
    -------
    The folder of this set.

    Raises
    ------
    UserError
        If the set, a split or a column is not there, with what is.

    """
    told = [wanted.config, wanted.revision, wanted.splits, wanted.max_rows, dict(wanted.columns), wanted.group]
    target = folder / content_id("hub", 2, [wanted.path, _hash_folder(Path(wanted.path)), *told])
    with holding(folder / f"{target.name}.lock", wait=True):
        if not (target / LISTING).exists():
            lines = [json.dumps(row) for split in wanted.splits for row in _copy_split(wanted, split, target, tell)]
            write_text(target / LISTING, "\n".join(lines) + "\n")
    return target


def _hash_folder(root: Path) -> str:
    """Hash what the files of a folder hold, so that its copy is known by its content; empty for a set of the hub."""
    if not root.is_dir():
        return ""
    digest = hashlib.sha256()
    for folder in list_folders(root):
        for path in sorted(Path(folder).iterdir()):
            if path.is_file() and not path.name.startswith("."):
                with path.open("rb") as file:
                    inner = hashlib.file_digest(file, "sha256").hexdigest()
                digest.update(f"{path.relative_to(root)}\t{inner}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _copy_split(wanted: HubSet, split: str, target: Path, tell: Tell | None) -> Iterable[dict[str, str]]:
    rows, features = _open_split(wanted, split)
    names = {role: features[column] for role, column in wanted.columns.items()}
    used = set(wanted.columns.values())
    kept = [
        column
        for column, feature in features.items()
        if column not in used and may_group(column, wanted.group) and (not is_unclear(column) or _may_be_code(feature))
    ]
    write_text(target / UNUSED, json.dumps([column for column in features if column not in used]))
    (target / split).mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        if wanted.max_rows is not None and number >= wanted.max_rows:
            break
        path = f"{split}/{number:07d}"
        image = row[wanted.columns["image"]] or {}
        payload = image.get("bytes")
        if payload is None and image.get("path"):
            payload = _read_named(wanted, str(image["path"]))
        if payload is not None:
            with replacing(target / path) as beside:
                beside.write_bytes(payload)
        told = {role: _to_text(row[column], names[role]) for role, column in wanted.columns.items() if role != "image"}
        others = {column: _to_text(row[column], features[column]) for column in kept}
        if tell is not None and number % 1000 == 999:
            tell(number + 1)
        yield {"image": path, "split": split, **told, **{f"column {name}": text for name, text in others.items()}}


def _may_be_code(feature: object) -> bool:
    return str(getattr(feature, "dtype", "")).startswith(("string", "int", "uint"))


def _read_named(wanted: HubSet, path: str) -> bytes | None:
    """Read an image that a set only names: below its own folder or the library's cache, and nowhere else."""
    from datasets import config

    own = [Path(wanted.path)] if Path(wanted.path).is_dir() else []
    roots = [*own, Path(config.HF_CACHE_HOME), Path(config.HF_DATASETS_CACHE)]
    if not any(lead_below(path, root) for root in roots):
        return None
    try:
        return Path(path).read_bytes() if Path(path).stat().st_size <= MAX_BYTES else None
    except OSError:
        return None


def _open_split(wanted: HubSet, split: str) -> tuple[Any, Mapping[str, Any]]:
    import datasets

    try:
        rows = datasets.load_dataset(
            wanted.path, wanted.config, split=split, revision=wanted.revision, streaming=wanted.streaming
        )
    except Exception as error:  # noqa: BLE001  (its formats raise whatever they meet in a damaged file)
        reason = describe(error)
        raise UserError(
            f"data.path: set '{wanted.path}', split '{split}' can't be opened ({reason}); "
            "without a network it must stand in the library's cache, or data.path be a folder"
        ) from None
    features = rows.features or {}
    for role, column in wanted.columns.items():
        if column not in features:
            raise UserError(
                f"data.columns.{role}: no column '{column}' in '{wanted.path}'; {suggest(column, features)}"
            )
    image = features[wanted.columns["image"]]
    if not isinstance(image, datasets.Image):
        raise UserError(f"data.columns.image: '{wanted.columns['image']}' is {image}, not a column of images")
    return rows.cast_column(wanted.columns["image"], datasets.Image(decode=False)), features


def _to_text(value: object, feature: object) -> str:
    """Name a class; lists of classes are joined with commas."""
    if isinstance(value, list):
        inner = getattr(feature, "feature", None)
        return ", ".join(_to_text(part, inner) for part in value)
    names = getattr(feature, "names", None)
    if isinstance(names, list) and isinstance(value, int):
        return str(names[value]) if 0 <= value < len(names) else ""
    return "" if value is None else str(value)


def read_hub_set(wanted: HubSet, folder: Path, levels: Levels, tell: Tell | None = None) -> Reading:
    """Read a set of the Hugging Face hub, copying it first.

    Parameters
    ----------
    wanted, folder, tell
        As of `copy_rows`.
    levels
        Factors, those that are the same for all images, and a catalogue; columns take the place of folders.

    Raises
    ------
    UserError
        If the set can't be read.

    """
    roles = tuple(role for role in wanted.columns if role != "image")
    Levels(names=roles, elements=levels.elements, factors=levels.factors, known=levels.known).check(
        setting="data.columns"
    )
    target = copy_rows(wanted, folder, tell)
    unused = tuple(json.loads((target / UNUSED).read_text(encoding="utf-8")))
    collector = Collector(levels, wanted.path, wanted.group)
    collector.open_columns(unused)
    for line, text in enumerate((target / LISTING).read_text(encoding="utf-8").splitlines(), 1):
        row: dict[str, str] = json.loads(text)
        image = row.pop("image")
        others = {name: row.pop(f"column {name}", "") for name in unused}
        collector.add(line, image, {**levels.elements, **row}, f"{wanted.path}, {image}", others)
    return Reading(
        rows=collector.rows,
        place=Place(kind="files", root=str(target)),
        factors=levels.factors,
        subsets=collector.subsets,
        faults=collector.faults,
        notes=collector.tally.to_notes(),
        is_own=False,
        columns=collector.columns.values,
        unused=unused,
    )
