"""Sets of the Hugging Face hub or in its formats, read with the datasets library and copied once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cg_lab.data.places import Place
from cg_lab.data.readers.folders import Collector, Levels
from cg_lab.data.rows import Reading
from cg_lab.errors import UserError, suggest
from cg_lab.locks import holding
from cg_lab.serialize import content_id, replacing, write_text

LISTING = "rows.jsonl"
Tell = Callable[[int], None]


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
    target = folder / content_id("hub", 1, [wanted.path, wanted.config, wanted.revision, wanted.splits,
                                            wanted.max_rows, dict(wanted.columns)])  # fmt: skip
    with holding(folder / f"{target.name}.lock", wait=True):
        if not (target / LISTING).exists():
            lines = [json.dumps(row) for split in wanted.splits for row in _copy_split(wanted, split, target, tell)]
            write_text(target / LISTING, "\n".join(lines) + "\n")
    return target


def _copy_split(wanted: HubSet, split: str, target: Path, tell: Tell | None) -> Iterable[dict[str, str]]:
    rows, features = _open_split(wanted, split)
    names = {role: features[column] for role, column in wanted.columns.items()}
    (target / split).mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        if wanted.max_rows is not None and number >= wanted.max_rows:
            break
        path = f"{split}/{number:07d}"
        image = row[wanted.columns["image"]] or {}
        payload = image.get("bytes")
        if payload is None and image.get("path"):
            try:
                payload = Path(image["path"]).read_bytes()
            except OSError:
                payload = None
        if payload is not None:
            with replacing(target / path) as beside:
                beside.write_bytes(payload)
        told = {role: _to_text(row[column], names[role]) for role, column in wanted.columns.items() if role != "image"}
        if tell is not None and number % 1000 == 999:
            tell(number + 1)
        yield {"image": path, "split": split, **told}


def _open_split(wanted: HubSet, split: str) -> tuple[Any, Mapping[str, Any]]:
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        rows = datasets.load_dataset(
            wanted.path, wanted.config, split=split, revision=wanted.revision, streaming=wanted.streaming
        )
    except (OSError, ValueError, DatasetsError) as error:
        raise UserError(
            f"data.path: set '{wanted.path}', split '{split}' can't be opened ({str(error).splitlines()[0]}); "
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
    collector = Collector(levels, wanted.path)
    for line, text in enumerate((target / LISTING).read_text(encoding="utf-8").splitlines(), 1):
        row: dict[str, str] = json.loads(text)
        image = row.pop("image")
        collector.add(line, image, {**levels.elements, **row}, f"{wanted.path}, {image}")
    return Reading(
        rows=collector.rows,
        place=Place(kind="files", root=str(target)),
        factors=levels.factors,
        subsets=collector.subsets,
        faults=collector.faults,
        notes=collector.tally.to_notes(),
        is_own=False,
    )
