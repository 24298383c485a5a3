"""MedMNIST (Yang et al. 2023, arXiv 2110.14795): sets of small images in .npz files, read as they are."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from cg_lab.catalog import Note
from cg_lab.data.arrays import check_member
from cg_lab.data.places import Place
from cg_lab.data.rows import SIDES, Reading, Rows, clean_text, describe
from cg_lab.data.subset_names import make_subset
from cg_lab.data.tabular import read_cells
from cg_lab.data_settings import ImageSettings, NonEmptyText
from cg_lab.errors import UserError, list_faults, suggest

FACTS = Path(__file__).parents[1] / "medmnist" / "sets.csv"
SIZES = (28, 64, 128, 224)
COLUMNS = ("name", "modality", "area", "task", "labels")
OPTIONAL = ("title", "answer", *(f"md5_{size}" for size in SIZES))
MAX_LABEL_BYTES = 1_000_000_000
"""Of labels or groups, which are held in memory."""
NOTHING = "no finding"
"""The label of an image of a set with several labels that has none of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ImageSettings):
    """Which sets."""

    path: NonEmptyText
    """Folder of the files."""
    size: Literal[28, 64, 128, 224]
    """Pixels of one side."""
    sets: tuple[NonEmptyText, ...] | None
    """Names such as pathmnist; None for all that are in the folder."""
    facts: str | None
    """A CSV of sets with their elements and labels; None for the twelve published ones."""


def read(settings: Settings, folder: Path | None) -> Reading:
    """Read the sets of a folder."""
    assert folder is not None
    facts = Path(settings.facts) if settings.facts else None
    root = Path(settings.path).absolute()
    return read_medmnist(root, folder / "arrays", facts=facts, size=settings.size, names=settings.sets)


def list_watched(settings: Settings) -> list[str]:
    """Watch the files of the sets, and the table of them."""
    facts = Path(settings.facts) if settings.facts else None
    files = list_sets(Path(settings.path), facts, settings.size, settings.sets)
    return [*map(str, files), *([settings.facts] if settings.facts else [])]


def list_sets(root: Path, facts: Path | None, size: int, names: tuple[str, ...] | None) -> list[Path]:
    """List the files of the sets that are there.

    Raises
    ------
    UserError
        If there is none, or one that was named is missing.

    """
    known = [fact.name for fact in _read_facts(facts)]
    if not known:
        raise UserError(f"data.facts: no line below the header of '{facts}'; a line names a set and its labels")
    for name in names or ():
        if name not in known:
            raise UserError(f"data.sets: no set '{name}'; {suggest(name, known)}")
    files = [root / _file_name(name, size) for name in known if names is None or name in names]
    there = [file for file in files if file.is_file()]
    if names and len(there) < len(files):
        absent = ", ".join(file.name for file in files if not file.is_file())
        raise UserError(f"data.sets: no {absent} in '{root}'")
    if not there:
        raise UserError(
            f"data.path: no MedMNIST file of {size} pixels in '{root}'; it has files such as {files[0].name}, "
            f"and data.size is one of {', '.join(map(str, SIZES))}"
        )
    return there


def read_medmnist(
    root: Path, unpacked: Path, *, facts: Path | None, size: int, names: tuple[str, ...] | None
) -> Reading:
    """Read the sets of a folder; each is a subset, split as published.

    Parameters
    ----------
    root
        Holds `pathmnist.npz`, `pathmnist_64.npz`, ...
    unpacked
        Where arrays are unpacked to.
    facts
        A table of sets: name, modality, area, task, labels by number, and MD5 by size; None for the twelve published
        ones.
    size
        Pixels of one side.
    names
        Sets to read; None for all that are there.

    Raises
    ------
    UserError
        If a file is missing, damaged, or not the one that was published.

    """
    by_file = {_file_name(fact.name, size): fact for fact in _read_facts(facts)}
    rows = Rows()
    faults: list[str] = []
    notes: list[Note] = []
    subsets = {}
    for file in list_sets(root, facts, size, names):
        fact = by_file[file.name]
        published = fact.md5.get(size)
        if published and _hash_md5(file) != published:
            faults.append(f"{file.name}: its MD5 is not the published {published}; download it again")
            continue
        if not published:
            notes.append(Note(subject=file.name, reason="no published MD5 to compare with", count=1))
        try:
            _read_set(file, fact, rows)
        except Exception as error:  # noqa: BLE001  (numpy raises whatever it meets in a damaged header)
            faults.append(f"{file.name}: damaged, or no MedMNIST file ({describe(error)})")
        else:
            subsets[fact.name] = make_subset(fact.name, fact.elements)
    if faults:
        raise list_faults(f"data.path: files in '{root}' can't be used", faults)
    return Reading(
        rows=rows,
        place=Place(kind="arrays", root=str(root), unpacked=str(unpacked)),
        factors=("modality", "area", "task"),
        subsets=subsets,
        notes=notes,
        is_own=False,
    )


@dataclass(frozen=True, slots=True)
class _Fact:
    name: str
    elements: tuple[str, str, str]
    labels: tuple[str, ...]
    md5: dict[int, str]


def _read_facts(path: Path | None) -> list[_Fact]:
    return [
        _Fact(
            name=cells["name"].strip(),
            elements=(cells["modality"].strip(), cells["area"].strip(), cells["task"].strip()),
            labels=tuple(label.strip() for label in cells["labels"].split(";")),
            md5={size: cells.get(f"md5_{size}", "").strip() for size in SIZES if cells.get(f"md5_{size}", "").strip()},
        )
        for _, cells in read_cells(path or FACTS, COLUMNS, OPTIONAL, setting="data.facts")
    ]


def _file_name(name: str, size: int) -> str:
    return f"{name}.npz" if size == SIZES[0] else f"{name}_{size}.npz"


def _hash_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _read_set(file: Path, fact: _Fact, rows: Rows) -> None:
    rows.sources.append(file.name)
    with zipfile.ZipFile(file) as archive:
        for told in archive.infolist():
            check_member(told, file)
            if not told.filename.endswith("_images.npy") and told.file_size > MAX_LABEL_BYTES:
                raise ValueError(
                    f"{told.filename} unpacks to {told.file_size} bytes, at most {MAX_LABEL_BYTES} are read"
                )
    with np.load(file, allow_pickle=False) as arrays:
        if not any(f"{side}_labels" in arrays for side in SIDES):
            raise ValueError("no train_labels, val_labels or test_labels")
        for side in SIDES:
            if f"{side}_labels" not in arrays:
                continue
            labels = np.asarray(arrays[f"{side}_labels"])
            labels = labels[:, None] if labels.ndim == 1 else labels
            if labels.ndim != 2 or labels.dtype.fields:
                raise ValueError(f"{side}_labels is {labels.dtype} of shape {labels.shape}, not a number an image")
            groups = arrays.get(f"{side}_groups")
            counts = {"images": _count_images(file, side), "groups": len(labels) if groups is None else groups.size}
            for kind, count in counts.items():
                if count != len(labels):
                    raise ValueError(f"{count} {kind} for {len(labels)} labels of side {side}")
            groups = groups if groups is None else groups.reshape(-1)
            for number, values in enumerate(labels):
                group = clean_text(str(groups[number])) or "" if groups is not None else ""
                rows.add(
                    number + 1, f"{file.name}/{side}/{number}", fact.name, _name_label(fact, values),
                    group=group, side=side,
                )  # fmt: skip


def _count_images(file: Path, side: str) -> int:
    """Count the images of a side by what is written in front of them."""
    with zipfile.ZipFile(file) as archive, archive.open(f"{side}_images.npy") as member:
        is_first = npy_format.read_magic(member) == (1, 0)
        read_header = npy_format.read_array_header_1_0 if is_first else npy_format.read_array_header_2_0
        return read_header(member)[0][0]


def _name_label(fact: _Fact, values: NDArray[np.generic]) -> str:
    """Name an image's label, or all of them."""
    if len(values) == 1:
        number = int(values[0])
        if not 0 <= number < len(fact.labels):
            raise ValueError(f"label {number}, and {len(fact.labels)} names of labels")
        return fact.labels[number]
    if len(values) != len(fact.labels):
        raise ValueError(f"{len(values)} labels an image, and {len(fact.labels)} names of labels")
    return ", ".join(name for name, value in zip(fact.labels, values, strict=True) if value) or NOTHING
