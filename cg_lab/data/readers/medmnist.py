"""MedMNIST (Yang et al. 2023, arXiv 2110.14795): sets of small images in .npz files, read as they are."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cg_lab.catalog import Note
from cg_lab.data.pictures import MAX_PIXELS, Picture, Stamp, UnreadableError
from cg_lab.data.places import Place
from cg_lab.data.readers.tables import make_subset, read_cells
from cg_lab.data.rows import SIDES, Reading, Rows, clean_text
from cg_lab.errors import UserError, list_faults, suggest
from cg_lab.serialize import content_id, replacing

FACTS = Path(__file__).parents[1] / "medmnist" / "sets.csv"
SIZES = (28, 64, 128, 224)
COLUMNS = ("name", "modality", "area", "task", "labels")
OPTIONAL = ("title", "answer", *(f"md5_{size}" for size in SIZES))
NOTHING = "no finding"
"""The label of an image of a set with several labels that has none of them."""
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError)


@dataclass(slots=True)
class Arrays:
    """Images in .npz files; an origin is `file.npz/train/number`.

    Members of such a file can't be read in place: each is unpacked once into a file that is mapped into memory.
    """

    root: Path
    unpacked: Path
    """Folder of the unpacked arrays."""
    _stamps: dict[str, Stamp] = field(default_factory=dict)

    def find(self, origins: Iterable[str]) -> dict[str, Stamp]:
        """Give the stamps of those that are there: each that of its file."""
        found: dict[str, Stamp] = {}
        stamps: dict[str, Stamp | None] = {}
        for origin in origins:
            name = origin.partition("/")[0]
            if name not in stamps:
                stamps[name] = _stamp(self.root / name)
            stamp = stamps[name]
            if stamp is not None:
                found[origin] = stamp
        return found

    def open(self, origin: str) -> Picture:
        """Give one image of an array."""
        name, side, number = origin.split("/")
        try:
            pixels = np.array(_map_member(self.root / name, f"{side}_images", self.unpacked)[int(number)])
        except FileNotFoundError:
            raise UnreadableError("missing") from None
        except IndexError:
            raise UnreadableError("beyond the end of the array") from None
        except DAMAGED as error:
            raise UnreadableError(f"damaged array ({error})") from None
        if (
            pixels.dtype != np.uint8
            or pixels.ndim not in {2, 3}
            or (pixels.ndim == 3 and pixels.shape[2] not in {1, 3})
        ):
            raise UnreadableError(f"{pixels.dtype} of shape {pixels.shape}, not 8-bit gray or RGB")
        if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS or not pixels.size:
            raise UnreadableError(f"{pixels.shape} pixels")
        plain = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
        payload = f"{plain.shape}".encode() + plain.tobytes()
        return Picture(
            image=Image.fromarray(plain), digest=hashlib.sha256(payload).hexdigest(), num_bytes=pixels.nbytes
        )


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _map_member(path: Path, member: str, unpacked: Path) -> NDArray[np.uint8]:
    """Map one array of a file into memory, unpacking it first if that was not done before."""
    status = path.stat()
    name = content_id("array", 1, [path.name, status.st_size, status.st_mtime_ns, member])
    target = unpacked / f"{name}.npy"
    if not target.exists():
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(f"{member}.npy") as packed,
            replacing(target) as beside,
            beside.open("wb") as file,
        ):
            shutil.copyfileobj(packed, file, 1 << 20)
    return np.load(target, mmap_mode="r", allow_pickle=False)


def list_sets(root: Path, facts: Path | None, size: int, names: tuple[str, ...] | None) -> list[Path]:
    """List the files of the sets that are there.

    Raises
    ------
    UserError
        If there is none, or one that was named is missing.

    """
    known = [fact.name for fact in _read_facts(facts)]
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
        except DAMAGED as error:
            faults.append(f"{file.name}: damaged, or no MedMNIST file ({error})")
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
    with np.load(file, allow_pickle=False) as arrays:
        for side in SIDES:
            if f"{side}_labels" not in arrays:
                continue
            labels = np.asarray(arrays[f"{side}_labels"])
            labels = labels[:, None] if labels.ndim == 1 else labels
            groups = arrays.get(f"{side}_groups")
            for number, values in enumerate(labels):
                group = clean_text(str(groups[number])) or "" if groups is not None else ""
                rows.add(
                    number + 1, f"{file.name}/{side}/{number}", fact.name, _name_label(fact, values),
                    group=group, side=side,
                )  # fmt: skip


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
