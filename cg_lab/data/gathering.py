"""From what readers found to rows that can be used: images opened, rare labels and duplicates left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cg_lab.boxes import Box
from cg_lab.data.facts import Tell, measure_images
from cg_lab.data.outlines import Outlines
from cg_lab.data.rows import Reading, Tally, fold
from cg_lab.data.splitting import Rules
from cg_lab.errors import list_faults
from cg_lab.serialize import content_id

FAULTS_SHOWN = 30


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
    """Rows whose image can be used, in columns; `fact` is the number of the image's facts."""

    part: list[int]
    row: list[int]
    fact: list[int]
    boxes: list[tuple[Box, ...]]

    def select(self, keep: Sequence[bool]) -> Usable:
        """Keep some."""
        return Usable(*([value for value, kept in zip(column, keep, strict=True) if kept] for column in self.columns))

    @property
    def columns(self) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
        """All columns."""
        return self.part, self.row, self.fact, self.boxes


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
        self.used = Usable([], [], [], [])
        self.facts = pa.table({})

    def open_images(self) -> None:
        """Measure the images of all parts; rows without a usable one are counted."""
        tables: list[pa.Table] = []
        offset = 0
        for number, part in enumerate(self.parts):
            table = self._measure(part)
            tables.append(table)
            self._take_usable(number, table, offset)
            offset += len(table)
        self.facts = pa.concat_tables(tables)

    def _measure(self, part: Part) -> pa.Table:
        place = part.reading.place
        pictures = place.open()
        stamps = pictures.find(dict.fromkeys(part.reading.rows.origin))
        key = content_id("place", 1, [place.kind, place.root])
        return measure_images(pictures, stamps, self.folder / "facts" / key, self.tell, self.workers)

    def _take_usable(self, number: int, facts: pa.Table, offset: int) -> None:
        part, tally = self.parts[number], self.tallies[number]
        rows = part.reading.rows
        places = dict(zip(facts["origin"].to_pylist(), range(len(facts)), strict=True))
        errors = facts["error"].to_pylist()
        sizes = list(zip(facts["width"].to_pylist(), facts["height"].to_pylist(), strict=True))
        frames = facts["frames"].to_pylist()
        lost: Counter[tuple[str, str]] = Counter()
        kept: Counter[tuple[str, str]] = Counter()
        first_lost: dict[tuple[str, str], str] = {}
        faults: list[str] = []
        outlines = Outlines(part.reading.place)
        for row, origin in enumerate(rows.origin):
            place = places.get(origin, -1)
            key = (rows.subset[row], rows.label[row])
            error = "missing" if place < 0 else errors[place]
            if error is not None:
                shown = f"{rows.where(row)}: {origin} ({error})"
                tally.count("image missing or not decodable, left out", shown)
                lost[key] += 1
                first_lost.setdefault(key, shown)
                continue
            boxes = outlines.read(rows.boxes[row], sizes[place]) if rows.boxes[row] else ()
            if isinstance(boxes, str):
                if part.reading.is_own:
                    faults.append(f"line {rows.line[row]}: {boxes}")
                else:
                    tally.count("boxes can't be, left out", f"{rows.where(row)}: {boxes}")
                continue
            if frames[place] > 1 and "#" not in origin:
                tally.count("image has several frames, the first is used", f"{rows.where(row)}: {origin}")
            kept[key] += 1
            for column, value in zip(self.used.columns, (number, row, offset + place, boxes), strict=True):
                column.append(value)
        if part.reading.is_own:
            faults += [
                f"subset '{subset}': none of the {count} images of label '{label}' can be read, the first of them: "
                f"{first_lost[subset, label]}"
                for (subset, label), count in lost.items()
                if not kept[subset, label]
            ]
        refuse(part, faults)

    # Labels and duplicates

    def drop_unusable_labels(self) -> None:
        """Leave out labels that are too rare, and refuse two spellings of one label."""
        counts: Counter[tuple[int, str, str]] = Counter(
            (part, self._subset(part, row), self._label(part, row))
            for part, row in zip(self.used.part, self.used.row, strict=True)
        )
        self._refuse_spellings(counts)
        rare = {
            key for key, count in counts.items() if count < self.parts[key[0]].least and self.parts[key[0]].least > 1
        }
        for part, subset, label in sorted(rare):
            for _ in range(counts[part, subset, label]):
                self.tallies[part].count(
                    f"label has fewer than {self.parts[part].least} images, left out", f"{subset}: {label}"
                )
        self.used = self.used.select(
            [
                (part, self._subset(part, row), self._label(part, row)) not in rare
                for part, row in zip(self.used.part, self.used.row, strict=True)
            ]
        )

    def _refuse_spellings(self, counts: Mapping[tuple[int, str, str], int]) -> None:
        first: dict[tuple[int, str, str], str] = {}
        faults: dict[int, list[str]] = defaultdict(list)
        for part, subset, label in counts:
            other = first.setdefault((part, subset, fold(label)), label)
            if other != label:
                faults[part].append(f"subset '{subset}': labels '{other}' and '{label}' differ only in case or form")
        for part, found in faults.items():
            refuse(self.parts[part], found)

    def drop_duplicates(self) -> None:
        """Keep one of equal images with equal labels; leave out equal images that a subset labels differently."""
        pixels = self.facts["pixels"].to_pylist()
        labels: dict[tuple[str, str], set[str]] = defaultdict(set)
        for part, row, fact, boxes in zip(*self.used.columns, strict=True):
            if not boxes:
                labels[self._subset(part, row), pixels[fact]].add(self._label(part, row))
        seen: set[tuple[str, str, str]] = set()
        keep: list[bool] = []
        for part, row, fact, boxes in zip(*self.used.columns, strict=True):
            subset, label = self._subset(part, row), self._label(part, row)
            where = self.parts[part].reading.rows.where(row)
            if not boxes and len(labels[subset, pixels[fact]]) > 1:
                self.tallies[part].count("the same image has several labels in its subset, left out", where)
                keep.append(False)
            elif (subset, pixels[fact], label) in seen:
                self.tallies[part].count("the same image is there twice in its subset, left out", where)
                keep.append(False)
            else:
                seen.add((subset, pixels[fact], label))
                keep.append(True)
        self.used = self.used.select(keep)

    def _subset(self, part: int, row: int) -> str:
        return self.parts[part].reading.rows.subset[row]

    def _label(self, part: int, row: int) -> str:
        return self.parts[part].reading.rows.label[row]
