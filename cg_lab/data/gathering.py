"""From what readers found to rows that can be used: images opened, rare labels and duplicates left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from cg_lab.data.facts import Tell, facts_folder, find_places, measure_images
from cg_lab.data.outlines import Outlines
from cg_lab.data.rows import Reading, Tally, fold, quote
from cg_lab.data.splitting import Rules
from cg_lab.errors import list_faults

FAULTS_SHOWN = 30
Texts = Any
"""Array of objects; an element of one is no array, which type checkers can't know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One source of a catalogue with how it is used."""

    name: str
    """Empty where there is only one."""
    reading: Reading
    rules: Rules
    instructions: Mapping[str, tuple[str, ...]]
    least: int
    """Images that a label must have."""


@dataclass(slots=True)
class Usable:
    """Rows whose image can be used, in columns, those of one part after those of another."""

    part: NDArray[np.int32]
    row: NDArray[np.int64]
    fact: NDArray[np.int64]
    """Number of the image's facts."""
    boxes: Texts
    """Tuples of boxes; None where there are none."""
    subset: Texts
    label: Texts

    def select(self, keep: NDArray[np.bool_]) -> Usable:
        """Keep some."""
        return Usable(*(getattr(self, column.name)[keep] for column in fields(self)))


def number_rows(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """Give equal rows equal numbers, counted on in the order in which they come first.

    >>> number_rows(np.array(["b", "a", "b"], object), np.array([1, 1, 1])).tolist()
    [0, 1, 0]
    """
    numbers = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        codes, names = pd.factorize(column)
        numbers = pd.factorize(numbers * max(1, len(names)) + codes)[0]
    return numbers


def refuse(part: Part, faults: Sequence[str]) -> None:
    """Raise all faults of a source at once, if there are any."""
    if faults:
        plural = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        shown = list(faults[:FAULTS_SHOWN])
        if len(faults) > FAULTS_SHOWN:
            shown.append(f"... and {len(faults) - FAULTS_SHOWN} more")
        raise list_faults(f"{name_sources(part)} has {plural}", shown)


def name_sources(part: Part) -> str:
    """Name the files that list a source's images."""
    first, *others = part.reading.rows.sources or ["the listing"]
    return f"{first} and {len(others)} more" if others else first


class Gathering:
    """The rows of all parts that can be used, and what was left out on the way."""

    def __init__(self, parts: Sequence[Part], folder: Path, tell: Tell | None, workers: int | None) -> None:
        self.parts, self.folder, self.tell, self.workers = parts, folder, tell, workers
        self.tallies = [Tally(part.name or name_sources(part)) for part in parts]
        self.facts = pa.table({})

    def open_images(self) -> None:
        """Measure the images of all parts; rows without a usable one are counted."""
        tables: list[pa.Table] = []
        used: list[Usable] = []
        offset = 0
        for number, part in enumerate(self.parts):
            table = self._measure(part)
            tables.append(table)
            used.append(self._take_usable(number, table, offset))
            offset += len(table)
        self.facts = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
        columns = ([getattr(one, column.name) for one in used] for column in fields(Usable))
        self.used = Usable(*map(np.concatenate, columns))

    def _measure(self, part: Part) -> pa.Table:
        place = part.reading.place
        pictures = place.open()
        stamps = pictures.find(dict.fromkeys(part.reading.rows.origin))
        return measure_images(pictures, stamps, facts_folder(self.folder, place), self.tell, self.workers)

    def _take_usable(self, number: int, facts: pa.Table, offset: int) -> Usable:
        part, tally = self.parts[number], self.tallies[number]
        rows = part.reading.rows
        facts_of = find_places(pa.array(rows.origin, pa.string()), facts["origin"])
        errors = [*facts["error"].to_pylist(), "missing"]
        widths, heights = (facts[side].fill_null(0).to_numpy() for side in ("width", "height"))
        frames = facts["frames"].fill_null(0).to_numpy()
        bad = {-1, *np.flatnonzero(facts["error"].is_valid().to_numpy()).tolist()}
        has_frames = {*np.flatnonzero(frames > 1).tolist()}
        keep = np.ones(len(rows), bool)
        boxes = np.full(len(rows), None, object)
        lost: Counter[tuple[str, str]] = Counter()
        first_lost: dict[tuple[str, str], str] = {}
        faults: list[str] = []
        outlines = Outlines(part.reading.place)
        for row, (place, located) in enumerate(zip(facts_of.tolist(), rows.boxes, strict=True)):
            if place in bad:
                key = (rows.subset[row], rows.label[row])
                shown = f"{rows.where(row)}: {quote(rows.origin[row])[1:-1]} ({errors[place]})"
                tally.count("image missing or not decodable, left out", shown)
                lost[key] += 1
                first_lost.setdefault(key, shown)
                keep[row] = False
                continue
            if located:
                found = outlines.read(located, (int(widths[place]), int(heights[place])))
                if isinstance(found, str):
                    if part.reading.is_own:
                        faults.append(f"line {rows.line[row]}: {found}")
                    else:
                        tally.count("boxes can't be, left out", f"{rows.where(row)}: {found}")
                    keep[row] = False
                    continue
                boxes[row] = found or None
            if place in has_frames and "#" not in rows.origin[row]:
                tally.count("image has several frames, the first is used", f"{rows.where(row)}: {rows.origin[row]}")
        kept = np.flatnonzero(keep)
        if part.reading.is_own and lost:
            found_keys = {(rows.subset[row], rows.label[row]) for row in kept.tolist()}
            faults += [
                f"subset '{subset}': none of the {count} images of label '{label}' can be read, the first of them: "
                f"{first_lost[subset, label]}"
                for (subset, label), count in lost.items()
                if (subset, label) not in found_keys
            ]
        refuse(part, faults)
        return Usable(
            part=np.full(len(kept), number, np.int32),
            row=kept,
            fact=offset + facts_of[kept],
            boxes=boxes[kept],
            subset=np.array(rows.subset, object)[kept],
            label=np.array(rows.label, object)[kept],
        )

    # Labels and duplicates

    def drop_unusable_labels(self) -> None:
        """Leave out labels that are too rare, and refuse two spellings of one label."""
        used = self.used
        numbers = number_rows(used.part, used.subset, used.label)
        counts = np.bincount(numbers)
        firsts = np.unique(numbers, return_index=True)[1].tolist()
        names = [(int(used.part[row]), used.subset[row], used.label[row]) for row in firsts]
        self._refuse_spellings(names)
        is_rare = np.zeros(len(names), bool)
        for (part, subset, label), number in sorted(zip(names, range(len(names)), strict=True)):
            least = self.parts[part].least
            is_rare[number] = counts[number] < least and least > 1
            for _ in range(counts[number] if is_rare[number] else 0):
                self.tallies[part].count(f"label has fewer than {least} images, left out", f"{subset}: {label}")
        self.used = used.select(~is_rare[numbers])

    def _refuse_spellings(self, names: Sequence[tuple[int, str, str]]) -> None:
        first: dict[tuple[int, str, str], str] = {}
        faults: dict[int, list[str]] = defaultdict(list)
        for part, subset, label in names:
            other = first.setdefault((part, subset, fold(label)), label)
            if other != label:
                faults[part].append(f"subset '{subset}': labels '{other}' and '{label}' differ only in case or form")
        for part, found in faults.items():
            refuse(self.parts[part], found)

    def drop_duplicates(self) -> None:
        """Keep one of equal images with equal labels; leave out equal images that a subset labels differently."""
        used = self.used
        pixels = self.facts["pixels"].combine_chunks().indices.fill_null(-1).to_numpy()
        films = number_rows(used.subset, pixels[used.fact])
        answers = number_rows(films, used.label)
        is_plain = np.equal(used.boxes, None)
        plain = np.unique(np.stack([films[is_plain], answers[is_plain]]), axis=1)
        is_doubted = is_plain & (np.bincount(plain[0], minlength=len(films))[films] > 1)
        is_again = np.zeros(len(films), bool)
        is_again[~is_doubted] = pd.Series(answers[~is_doubted]).duplicated().to_numpy()
        for place in np.flatnonzero(is_doubted | is_again).tolist():
            part = used.part[place]
            reason = "has several labels in its subset" if is_doubted[place] else "is there twice in its subset"
            where = self.parts[part].reading.rows.where(used.row[place])
            self.tallies[part].count(f"the same image {reason}, left out", where)
        self.used = used.select(~(is_doubted | is_again))
