"""WebDataset shards: tar files in which files of one name before the first dot make a sample."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cg_lab.data.archives import unpack
from cg_lab.data.identifier_columns import fold_name
from cg_lab.data.pictures import SUFFIXES
from cg_lab.data.places import Place
from cg_lab.data.records import RecordChecker
from cg_lab.data.rows import Reading, clean_text
from cg_lab.data.signing import list_folders
from cg_lab.data_settings import ImageSettings, NonEmptyText
from cg_lab.errors import UserError

TEXTS = frozenset({".cls", ".txt", ".json"})
MAX_TEXT = 1_000_000
"""Bytes of one of them."""
SHARDS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MASK = re.compile(r".*\b(mask|seg|segmentation|label|gt)\b.*")
"""What stands between a sample's name and the ending of an image that is none of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ImageSettings):
    """Which shards."""

    path: NonEmptyText
    """A folder of tar files, or one of them."""
    labels: tuple[NonEmptyText, ...] | None = None
    """Names of the classes that `.cls` numbers, from 0."""
    elements: dict[str, NonEmptyText] | None = None
    """Factors that are the same for all images; others stand in each sample's `.json`."""


def read(settings: Settings, folder: Path | None) -> Reading:
    """Read samples: an image, its label in `.cls` or `.txt` or as `label` in `.json`, and what else stands there."""
    assert folder is not None
    checker = RecordChecker(
        Path(settings.path).name, settings.factors, elements=settings.elements, group=settings.group
    )
    copies = folder / "copies"
    samples: list[tuple[str, str, dict[str, str]]] = []
    for shard in _list_shards(settings):
        root = unpack(shard.absolute(), copies, _is_wanted, tally=checker.tally)
        samples += _read_shard(shard, root, copies, settings, checker)
    roles = {fold_name(role): role for role in (*checker.needed, *checker.optional, "label")}
    others = list(dict.fromkeys(name for *_, told in samples for name in told if fold_name(name) not in roles))
    checker.open_columns(others)
    for number, (image, label, told) in enumerate(samples, 1):
        cells = dict.fromkeys((*checker.needed, *checker.optional), "")
        cells |= {roles[fold_name(name)]: text for name, text in told.items() if fold_name(name) in roles}
        checker.check(number, {**cells, "image": image, "label": label or cells["label"]}, told)
    return checker.finish(Place(kind="files", root=str(copies)), others)


def list_watched(settings: Settings) -> list[str]:
    """Watch the shards."""
    return list_folders(Path(settings.path)) if Path(settings.path).is_dir() else [settings.path]


def _is_wanted(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.name.startswith(".") and path.suffix.lower() in SUFFIXES | TEXTS


def _list_shards(settings: Settings) -> list[Path]:
    path = Path(settings.path)
    found = [path] if path.is_file() else sorted(one for one in path.glob("*") if one.name.lower().endswith(SHARDS))
    if not found:
        raise UserError(f"data.path: no tar file in '{path}'; known endings: {', '.join(SHARDS)}")
    return found


def _read_shard(
    shard: Path, root: Path, copies: Path, settings: Settings, checker: RecordChecker
) -> list[tuple[str, str, dict[str, str]]]:
    """Give image, label and other fields of each sample of an unpacked shard."""
    files: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(path for path in root.rglob("*.*") if path.is_file() and _is_wanted(path.name)):
        head, _, ending = path.name.partition(".")
        files[str(path.parent / head)][f".{ending.lower()}"] = path
    found: list[tuple[str, str, dict[str, str]]] = []
    for name, members in files.items():
        shown = {ending: path for ending, path in members.items() if PurePosixPath(f"a{ending}").suffix in SUFFIXES}
        images = [path for ending, path in shown.items() if not MASK.fullmatch(ending)] or [*shown.values()]
        where = f"{shard.name}, {Path(name).name}"
        if len(images) != 1:
            checker.tally.count(f"sample {'with several images' if images else 'without an image'}, left out", where)
            continue
        if len(shown) > 1:
            checker.tally.count("mask of a sample, left out", where)
        told = _read_json(members[".json"], where, checker) if ".json" in members else {}
        text = next((_read_text(members[ending]) for ending in (".cls", ".txt") if ending in members), "")
        if ".cls" in members and settings.labels is not None:
            if not text.isdecimal() or int(text) >= len(settings.labels):
                checker.faults.append(f"{where}: class '{text}', and {len(settings.labels)} names of classes")
                continue
            text = settings.labels[int(text)]
        found.append((str(images[0].relative_to(copies)), text, told))
    return found


def _read_text(path: Path) -> str:
    if path.stat().st_size > MAX_TEXT:
        return ""
    return clean_text(path.read_bytes().decode("utf-8", "replace")) or ""


def _read_json(path: Path, where: str, checker: RecordChecker) -> dict[str, str]:
    try:
        fields: Any = json.loads(path.read_bytes()) if path.stat().st_size <= MAX_TEXT else None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        checker.faults.append(f"{where}: its .json is no object")
        return {}
    return {name: text for name, value in fields.items() if (text := clean_text(value)) is not None}
