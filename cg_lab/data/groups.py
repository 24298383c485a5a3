"""Which images belong to one patient, study, series or file, so that none of them stands on both sides of a split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cg_lab.catalog import UNGROUPED, Note
from cg_lab.data.identifier_columns import IDS, PERSONS, fold_name, is_unclear

if TYPE_CHECKING:
    from cg_lab.data.rows import Reading, Rows

NONE, FILE_NAME = "none", "file_name"
"""What `data.group` may be beside a column: nothing groups images, or their file names do."""
NOBODY = frozenset(
    {"", "anon", "anonym", "anonymous", "anonymized", "anonymised", "anonymize", "unknown", "none", "null", "na", "nan",
     "removed", "deidentified", "deid", "redacted", "noname", "notavailable", "missing", "test", "undefined"}
)  # fmt: skip
"""What stands where a patient was, folded."""
MOST_SHARE = 0.5
"""Of all images that one group may hold before its column is doubted."""
FEWEST_STEMS = 8
"""Different beginnings of file names, or values of a column, below which they are no patients, unless they say so."""
MOST_STEM_SHARE = 0.25

TCGA = re.compile(r"(tcga-\w\w-\w{4})(?!\w)", re.IGNORECASE)
WORDS = (
    r"patient|subject|subj|sub|case|pat|pt|participant|person|donor|scan|video|vid|clip|vol|volume|study|exam|slide|wsi"
)
NUMBERED = re.compile(rf"(?:{WORDS})[ _-]?\d+|[ps]\d{{5,}}", re.IGNORECASE)
LEADS = re.compile(rf"(?:{WORDS}|p|s)[ _-]?\d+[a-z]?", re.IGNORECASE)
_MARKS = """
frame fr f slice sl z view crop patch tile aug rot flip img im image part page left right
l r od os ap pa lat lateral frontal cc mlo lcc rcc lmlo rmlo axial sagittal coronal series
"""
MARKS = frozenset(_MARKS.split())
MARKED = re.compile(rf"({'|'.join(sorted(MARKS, key=len, reverse=True))})(\d*)", re.IGNORECASE)
PARTS = re.compile(r"[ _\-.()\[\]]+")


@dataclass(slots=True)
class _Found:
    """What was found out about one source's groups."""

    used: list[str] = field(default_factory=list)
    constant: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    """Of each row; empty where nothing tells."""


def group_rows(reading: Reading, asked: str | None) -> None:
    """Say of each row which group it belongs to, from all that the source tells; what is doubtful becomes a fault.

    Frames of one file are a group whatever else is said. Columns of persons, studies and series are joined: what shares
    any of them belongs together. Where none is there, the beginnings of file names are looked at.

    Parameters
    ----------
    reading
        Its rows may have a group of their own; `columns` holds what else is known. Groups, notes and faults are set.
    asked
        `data.group`: a column, `none`, `file_name`, or None to look for what is there.

    """
    rows = reading.rows
    found = _Found()
    columns = {"group": rows.group, **reading.columns} if any(rows.group) else dict(reading.columns)
    wanted = _choose_columns(columns, asked, reading, found)
    if asked == FILE_NAME or (asked is None and not wanted and reading.place.kind in {"files", "volumes"}):
        stems = _read_stems(rows, forced=asked == FILE_NAME)
        if any(stems):
            columns, wanted = {**columns, "file name": stems}, ["file name"]
    frames = [origin.partition("#")[0] if "#" in origin else "" for origin in rows.origin]
    joined = dict.fromkeys(wanted)
    pieces = [columns[name] for name in joined]
    has_frames = len(set(frames)) < len(set(rows.origin)) and any(frames)
    groups = join_groups([*pieces, frames] if has_frames else pieces, len(rows))
    persons = {name for name in joined if PERSONS.fullmatch(fold_name(name)) or asked is not None}
    known = [any(columns[name][row] for name in persons) for row in range(len(rows))]
    doubted = {group for group, is_known in zip(groups, known, strict=True) if group and not is_known}
    pairs = {pair for pair in zip(groups, rows.origin, strict=True) if pair[0] in doubted}
    sizes = Counter(group for group, _ in pairs)
    rows.group = [group if is_known or sizes[group] > 1 else "" for group, is_known in zip(groups, known, strict=True)]
    if asked is None and joined:
        _doubt(reading, list(joined), columns)
    found.used = [*joined, *(["frames of a file"] if has_frames else [])]
    _tell(reading, found, {name for name, values in columns.items() if name not in joined and any(values)})


def _choose_columns(
    columns: Mapping[str, Sequence[str]], asked: str | None, reading: Reading, found: _Found
) -> list[str]:
    """Choose the columns that group images."""
    if asked in {NONE, FILE_NAME}:
        return []
    if asked is not None:
        chosen = [name for name in columns if fold_name(name) == fold_name(asked)]
        if not chosen:
            known = ", ".join(dict.fromkeys([*columns, *reading.unused])) or "no column at all"
            reading.faults.append(f"data.group: no column '{asked}'; known: {known}; or {NONE}")
        return chosen
    likely = [name for name in columns if not is_unclear(name)]
    chosen = []
    for name in likely:
        different = set(columns[name])
        if len(different) == 1 and any(different) and len(set(reading.rows.origin)) > 1:
            found.constant.append(name)
        elif any(fold_name(value) not in NOBODY for value in different):
            chosen.append(name)
    unclear = [name for name in columns if name not in likely and _is_like_persons(reading.rows, name, columns[name])]
    if unclear and not any(PERSONS.fullmatch(fold_name(name)) for name in chosen):
        _ask(reading, unclear[0], columns[unclear[0]], "may name patients")
    return chosen


def _is_like_persons(rows: Rows, name: str, values: Sequence[str]) -> bool:
    """Tell whether there are fewer values than images, several images a value, and none is the label again."""
    fewest, most = (4, MOST_SHARE) if fold_name(name) in IDS else (FEWEST_STEMS, MOST_STEM_SHARE)
    images = dict(zip(rows.origin, values, strict=True))
    sizes = Counter(value for value in images.values() if value)
    return (
        len(sizes) >= fewest
        and sizes.total() >= 1.2 * len(sizes)
        and max(sizes.values()) <= most * sizes.total()
        and not _is_label(rows, values)
    )


def _is_label(rows: Rows, values: Sequence[str]) -> bool:
    """Tell whether a value says no more than the label, and the label no more than the value."""
    pairs = set(zip(values, zip(rows.subset, rows.label, strict=True), strict=True))
    return len(pairs) == len({value for value, _ in pairs}) == len({label for _, label in pairs})


def _doubt(reading: Reading, names: Sequence[str], columns: Mapping[str, Sequence[str]]) -> None:
    """Ask where what was found would put most images into one group, or is the label under another name."""
    if names in (["group"], ["file name"]) or reading.hides_origins:
        return
    rows = reading.rows
    images = dict(zip(rows.origin, rows.group, strict=True))
    sizes = Counter(group for group in images.values() if group)
    most = max(sizes.values(), default=0)
    if most > MOST_SHARE * len(images) and len(images) >= 8:
        _ask(reading, names[0], columns[names[0]], f"puts {most} of {len(images)} images into one group")
    elif len(sizes) > 1 and _is_label(rows, rows.group):
        _ask(reading, names[0], columns[names[0]], "says the same as the label")


def _ask(reading: Reading, name: str, values: Sequence[str], reason: str) -> None:
    different, images = len({value for value in values if value}), len(set(reading.rows.origin))
    typed = name if re.fullmatch(r"[\w.-]+", name) else f"'{name}'"
    told = (
        f"column '{name}' {reason} ({different} values for {images} images): say data.group={typed} if images that "
        f"share a value belong together, or data.group={NONE} if there is nothing of the kind"
    )
    reading.faults.append(told)


def join_groups(columns: Sequence[Sequence[str]], count: int) -> list[str]:
    """Join rows that share a value in any column; each group is called by its first value, in order of columns.

    >>> join_groups([["p1", "p1", "", ""], ["", "s1", "s1", ""]], 4)
    ['p1', 'p1', 'p1', '']
    """
    parent: dict[tuple[int, str], tuple[int, str]] = {}

    def find(node: tuple[int, str]) -> tuple[int, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    cleaned = [{value: value if fold_name(value) not in NOBODY else "" for value in set(column)} for column in columns]
    nodes: list[tuple[int, str] | None] = []
    seen: set[tuple[str, ...]] = set()
    for row in range(count):
        first: tuple[int, str] | None = None
        values = tuple(cleaned[place][column[row]] for place, column in enumerate(columns))
        for place, value in enumerate(values):
            if not value:
                continue
            if first is None:
                first = (place, value)
            if values not in seen:
                one, other = sorted((find(first), find((place, value))))
                parent[other] = one
        seen.add(values)
        nodes.append(first)
    roots = [find(node) if node is not None else (0, "") for node in nodes]
    return [value if place == 0 else f"{place}/{value}" for place, value in roots]


# File names


def _read_stems(rows: Rows, *, forced: bool) -> list[str]:
    """Give what file names say of whom they show, where that is safe; empty texts where it is not."""
    stems = {origin: read_stem(origin) for origin in set(rows.origin)}
    sure = [stem.key if (stem := stems[origin]) and (stem.is_sure or forced) else "" for origin in rows.origin]
    if forced or _are_usable(rows, sure, fewest=2, most=MOST_SHARE):
        return sure
    likely = [stem.key if (stem := stems[origin]) else "" for origin in rows.origin]
    if sum(map(bool, likely)) >= 0.8 * len(likely) and _are_usable(rows, likely, FEWEST_STEMS, MOST_STEM_SHARE):
        return likely
    return [""] * len(rows)


def _are_usable(rows: Rows, keys: Sequence[str], fewest: int, most: float) -> bool:
    sizes = Counter(key for _, key in set(zip(rows.origin, keys, strict=True)) if key)
    return (
        len(sizes) >= fewest
        and sizes.total() >= 1.2 * len(sizes)
        and max(sizes.values()) <= most * sizes.total()
        and not _is_label(rows, keys)
    )


@dataclass(frozen=True, slots=True)
class Stem:
    """The beginning of a file's name that it shares with others of the same patient."""

    key: str
    is_sure: bool
    """Whether it says so, as `patient12` and `frame03` do."""


def read_stem(origin: str) -> Stem | None:
    """Read what a path says of whom it shows: a folder, or the name in front of its last number or mark.

    >>> read_stem("train/patient00012/study1/view1_frontal.jpg")
    Stem(key='patient00012', is_sure=True)
    >>> read_stem("case_7_slice_012.png").key, read_stem("00000013_004.png"), read_stem("normal_012.png")
    ('case 7', Stem(key='00000013', is_sure=False), None)
    """
    *folders, name = origin.partition("#")[0].split("/")
    for text in (*folders, name):
        barcode = TCGA.match(text)
        if barcode:
            return Stem(barcode[1].casefold(), is_sure=True)
    for folder in folders:
        if NUMBERED.fullmatch(folder):
            return Stem(folder.casefold(), is_sure=True)
    stem = name.removesuffix(".gz").rpartition(".")[0] or name
    parts = [part for part in PARTS.split(stem) if part]
    kept, is_marked = _strip_ends(parts)
    if not kept or len(kept) == len(parts) or not any(character.isdigit() for part in kept for character in part):
        return None
    key = " ".join(kept).casefold()
    return Stem(key, is_sure=is_marked or bool(LEADS.fullmatch(key)))


def _strip_ends(parts: Sequence[str]) -> tuple[list[str], bool]:
    """Take a last number and all marks from the end; say whether there was a mark with a number or alone."""
    kept = list(parts)
    is_marked, has_number = False, False
    while len(kept) > 1:
        mark = MARKED.fullmatch(kept[-1])
        if mark and not (mark[2] and has_number):
            is_marked, has_number = True, has_number or bool(mark[2])
        elif kept[-1].isdecimal() and len(kept[-1]) <= 5 and not has_number:
            has_number = True
        else:
            break
        kept.pop()
    return kept, is_marked


def _tell(reading: Reading, found: _Found, left: set[str]) -> None:
    """Note how images were grouped, and which columns of the source serve nothing."""
    rows, subject = reading.rows, _name(reading)
    images = dict(zip(rows.origin, rows.group, strict=True))
    groups = {group for group in images.values() if group}
    without = sum(not group for group in images.values())
    how = f"others by {', '.join(found.used)}: {len(groups)} groups" if groups else "nothing tells who belongs together"
    reading.grouping.append(Note(subject=subject, reason=f"{UNGROUPED} ({how})", count=without))
    for name in found.constant:
        reason, examples = f"{name} is the same in all files, not used as groups", (f"{len(images)} images",)
        reading.grouping.append(Note(subject=subject, reason=reason, count=1, examples=examples))
    unused = [name for name in reading.unused if name not in found.used and name not in found.constant]
    unused += sorted(name for name in left - set(reading.unused) - set(found.constant) if name != "group")
    if unused:
        reading.grouping.append(
            Note(subject=subject, reason="column not used", count=len(unused), examples=tuple(unused))
        )


def _name(reading: Reading) -> str:
    return (reading.rows.sources or ["images"])[0]
