"""From rows that can be used to a table of samples: sides dealt, subsets counted, questions worded."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from cg_lab.catalog import Note
from cg_lab.data.altered_films import find_altered
from cg_lab.data.facts import THUMBNAIL, Tell
from cg_lab.data.gathering import Gathering, Part, refuse
from cg_lab.data.instructions import word_question
from cg_lab.data.lookalikes import Gallery
from cg_lab.data.shortcuts import find_shortcut
from cg_lab.data.splitting import MOVED, TEST, TRAIN, Labelled, MatchLookAlikes, Sides, split_rows
from cg_lab.data.table import About, Shortcut, write_table
from cg_lab.data_settings import LookAlikes
from cg_lab.errors import list_faults
from cg_lab.mat import Kind, Subset, count_options
from cg_lab.serialize import canonical_json, to_plain


def build_table(
    parts: Sequence[Part],
    folder: Path,
    *,
    look_alikes: LookAlikes,
    tell: Tell | None = None,
    workers: int | None = None,
) -> About:
    """Open every image, split, and write the table.

    Parameters
    ----------
    parts
        Sources with their rules.
    folder
        Holds facts of images and tables.
    look_alikes
        Whether training images that look like a test image are moved out, also if it is cropped or mirrored.
    tell, workers
        Told of progress; processes that open images.

    Returns
    -------
    What stands beside the table, whose folder is named by its content.

    Raises
    ------
    UserError
        For everything that is wrong with the users' own listings, all at once.

    """
    for part in parts:
        refuse(part, part.reading.faults)
    gathering = Gathering(parts, folder, tell, workers)
    gathering.open_images()
    gathering.drop_unusable_labels()
    gathering.drop_duplicates()
    return _Builder(gathering).split(look_alikes)


class _Builder:
    def __init__(self, gathering: Gathering) -> None:
        self.parts, self.folder, self.tallies = gathering.parts, gathering.folder, gathering.tallies
        self.used, self.facts = gathering.used, gathering.facts

    def split(self, look_alikes: LookAlikes) -> About:
        """Deal sides, leave out labels that can't stand on both, and write the table."""
        labelled = self._label_rows()
        numbers, self.films = np.unique(self.used.fact, return_inverse=True)
        self.gallery = self._hang(numbers)
        modes = {"kept": None, "moved": self.gallery.match, "widely": partial(find_altered, self.gallery)}
        find = modes[look_alikes]
        sides = split_rows(labelled, partial(self._match, find) if find else None)
        faults: dict[int, list[str]] = defaultdict(list)
        self._drop_one_sided(labelled, sides, faults)
        for part, found in faults.items():
            refuse(self.parts[part], found)
        everything = np.arange(len(labelled.id))
        twins = self._match(self.gallery.match, everything, everything)
        notes = self._list_notes(labelled, sides)
        notes += self._list_altered(labelled, sides, twins, tells_leaks=look_alikes == "moved")
        return self._write(labelled, sides, twins, notes)

    def _label_rows(self) -> Labelled:
        used = self.used
        pixels = self._read_facts("pixels", used.fact)
        group = self._column("group")
        group = np.array(self._name_groups(group, pixels), object) if len(group) else group
        identity = np.array(
            [
                hashlib.sha256("\n".join((one, film, name if boxes else "")).encode()).hexdigest()[:16]
                for one, film, name, boxes in zip(used.subset, pixels, used.label, used.boxes, strict=True)
            ],
            object,
        )
        return Labelled(
            subset=used.subset,
            label=used.label,
            pixels=pixels,
            group=group,
            side=self._column("side"),
            id=identity,
            rules=[part.rules for part in self.parts],
            rule=used.part.astype(np.int16),
        )

    def _column(self, name: str) -> np.ndarray:
        """Give what the readers say of each row."""
        used = self.used
        columns = [np.array(getattr(part.reading.rows, name), object) for part in self.parts]
        return np.concatenate([one[used.row[used.part == part]] for part, one in enumerate(columns)])

    def _read_facts(self, name: str, numbers: np.ndarray) -> np.ndarray:
        return np.array(self.facts[name].take(pa.array(numbers)).to_pylist(), object)

    def _name_groups(self, groups: np.ndarray, pixels: np.ndarray) -> list[str]:
        """Tell groups of several sources apart, and name those that may be persons by what their images show."""
        shown: dict[tuple[int, str], str] = {}
        for part, group, film in zip(self.used.part, groups, pixels, strict=True):
            if group and self.parts[part].reading.hides_groups:
                shown[part, group] = min(shown.get((part, group), film), film)
        named: list[str] = []
        for part, group in zip(self.used.part, groups, strict=True):
            name = f"patient {shown[part, group][:12]}" if (part, group) in shown else group
            named.append(f"{self.parts[part].name}/{name}" if name and self.parts[part].name else name)
        return named

    def _hang(self, numbers: np.ndarray) -> Gallery:
        table = self.facts.select(["dhash", "thumbnail", "spread"]).take(pa.array(numbers))
        thumbnails = np.frombuffer(b"".join(table["thumbnail"].to_pylist()), np.uint8).reshape(-1, THUMBNAIL**2)
        return Gallery(table["dhash"].to_numpy(), thumbnails, table["spread"].to_numpy())

    def _match(self, find: MatchLookAlikes, queries: np.ndarray, references: np.ndarray) -> np.ndarray:
        """Find look-alikes among rows by those among their images."""
        row_of = np.full(len(self.gallery.hashes), -1, np.int64)
        row_of[self.films[references]] = references
        found = find(self.films[queries], self.films[references])
        rows = np.full(len(self.films), -1, np.int64)
        twins = found[self.films[queries]]
        rows[queries] = np.where(twins >= 0, row_of[twins], -1)
        return rows

    def _drop_one_sided(self, rows: Labelled, sides: Sides, faults: dict[int, list[str]]) -> None:
        """Leave out labels without an image on one side, and subsets that ask nothing then; of one's own, refuse."""
        counts = Counter(zip(rows.subset, rows.label, sides.side, strict=True))
        members: dict[str, list[int]] = defaultdict(list)
        for row, subset in enumerate(rows.subset):
            members[subset].append(row)
        for subset in sorted(members):
            part = int(self.used.part[members[subset][0]])
            labels = sorted({rows.label[row] for row in members[subset]})
            if self.parts[part].reading.is_own:
                if len(labels) > 1:
                    faults[part] += self._list_one_sided(part, subset, labels, counts)
                continue
            left = {label for label in labels if counts[subset, label, TRAIN] and counts[subset, label, TEST]}
            if len(left) < (1 if self.used.boxes[members[subset][0]] else 2):
                self.tallies[part].count("subset has fewer than two labels with images on both sides, left out", subset)
                left = set[str]()
            for label in left and sorted(set(labels) - left):
                self.tallies[part].count("label has no image on one side, left out", f"{subset}: {label}")
            for row in members[subset]:
                if rows.label[row] not in left:
                    sides.side[row] = ""

    def _list_one_sided(
        self, part: int, subset: str, labels: Sequence[str], counts: Mapping[tuple[str, str, str], int]
    ) -> list[str]:
        faults: list[str] = []
        for side in (TRAIN, TEST):
            absent = [label for label in labels if not counts.get((subset, label, side))]
            moved = sum(counts.get((subset, label, MOVED), 0) for label in absent)
            if absent and moved and self.parts[part].rules.keeps_own:
                faults.append(
                    f"subset '{subset}': no {side} sample of {', '.join(map(repr, absent))}: {moved} images share a "
                    "group with a test image or look like one; data.split=drawn draws sides that keep groups whole"
                )
            elif absent:
                faults.append(
                    f"subset '{subset}': no {side} sample of {', '.join(map(repr, absent))} at data.test_share="
                    f"{self.parts[part].rules.test_share}; a label needs at least two groups or images, one a side"
                )
        return faults

    def _write(self, rows: Labelled, sides: Sides, twins: np.ndarray, notes: Sequence[Note]) -> About:
        keep = np.flatnonzero(sides.side != "")
        order = keep[np.lexsort([pd.factorize(one[keep], sort=True)[0] for one in (rows.id, sides.side, rows.subset)])]
        used = order.tolist()
        questions = [self.parts[part].reading.rows.question.get(row) for part, row in self._pairs(used)]
        columns: dict[str, Any] = {
            "id": rows.id[order],
            "subset": rows.subset[order],
            "split": sides.side[order],
            "label": rows.label[order],
            "group": rows.group[order],
            "letter": sides.letter[order],
            "boxes": [json.dumps(self.used.boxes[row]) if self.used.boxes[row] else None for row in used],
            "question": [canonical_json(one) if one else None for one in questions],
            "part": [self.parts[part].name for part, _ in self._pairs(used)],
            "origin": [self.parts[part].reading.rows.origin[row] for part, row in self._pairs(used)],
            "digest": self._read_facts("digest", self.used.fact[order]),
            "pixels": rows.pixels[order],
            "listed": [self.parts[part].reading.rows.where(row) for part, row in self._pairs(used)],
        }
        shares = _count_shares(columns["subset"], columns["split"])
        if not used:
            reasons = [f"{note.subject}: {note.count} x {note.reason}" for note in notes] or ["it lists nothing"]
            raise list_faults("no image is left", reasons)
        subsets, instructions = self._describe(rows, sides, shares)
        content = _hash_content(columns, instructions, [part.rules.seed for part in self.parts])
        shortcuts = self._find_shortcuts(rows, sides, order)
        about = About(
            content=content,
            seed=self.parts[0].rules.seed,
            factors=self.parts[0].reading.factors,
            subsets=tuple(subsets),
            tied=next((part.reading.tied for part in self.parts if part.reading.tied is not None), None),
            notes=(
                *notes,
                *_note_shortcuts(shortcuts),
                *(note for part in self.parts for note in part.reading.grouping),
            ),
            instructions=instructions,
            shares=shares,
            shortcuts=tuple(shortcuts),
            look_alikes=_count_look_alikes(rows.subset, twins),
        )
        folder = self.folder / "tables" / content
        write_table(folder, columns, about, {part.name: part.reading.place for part in self.parts})
        return about

    def _pairs(self, used: Sequence[int]) -> list[tuple[int, int]]:
        return list(zip(self.used.part[used].tolist(), self.used.row[used].tolist(), strict=True))

    def _describe(
        self, rows: Labelled, sides: Sides, shares: Mapping[str, tuple[int, int]]
    ) -> tuple[list[Subset], dict[str, tuple[str, ...]]]:
        """Count subsets and word their questions."""
        subsets: list[Subset] = []
        instructions: dict[str, tuple[str, ...]] = {}
        labels: dict[str, set[str]] = defaultdict(set)
        grouped: set[str] = set()
        part_of: dict[str, int] = {}
        options: dict[str, Counter[int]] = defaultdict(Counter)
        for place, (subset, label, group, side) in enumerate(
            zip(rows.subset, rows.label, rows.group, sides.side, strict=True)
        ):
            part = int(self.used.part[place])
            if part_of.setdefault(subset, part) != part:
                first, second = (self.parts[number].name for number in (part_of[subset], part))
                raise list_faults(
                    "data.parts can't be joined", [f"subset '{subset}' is in '{first}' and in '{second}'"]
                )
            if side in {TRAIN, TEST}:
                labels[subset].add(label)
                if group:
                    grouped.add(subset)
                own = self.parts[part].reading.rows.question.get(int(self.used.row[place]))
                if own is not None:
                    options[subset][len(own.options)] += 1
        for name in sorted(labels):
            part = self.parts[part_of[name]]
            known = part.reading.subsets[name]
            found = tuple(sorted(labels[name]))
            plain = count_options(found)
            subset = replace(
                known,
                labels=found,
                num_options=0
                if known.kind is Kind.DETECTION
                else options[name].most_common(1)[0][0]
                if options[name]
                else plain,
                num_train=shares.get(f"{name}/{TRAIN}", (0, 0))[1],
                num_test=shares.get(f"{name}/{TEST}", (0, 0))[1],
                has_groups=name in grouped,
            )
            subsets.append(subset)
            instructions[name] = word_question(subset, part.reading.factors, part.instructions)
        return subsets, instructions

    def _find_shortcuts(self, rows: Labelled, sides: Sides, order: np.ndarray) -> list[Shortcut]:
        kept = order[(sides.side[order] == TRAIN) | (sides.side[order] == TEST)]
        located = {
            name for part in self.parts for name, one in part.reading.subsets.items() if one.kind is Kind.DETECTION
        }
        found: list[Shortcut] = []
        for subset in sorted(set(rows.subset[kept]) - located):
            members = kept[rows.subset[kept] == subset]
            one = find_shortcut(subset, self.facts.take(pa.array(self.used.fact[members])), rows.label[members])
            if one is not None:
                found.append(one)
        return found

    def _list_notes(self, rows: Labelled, sides: Sides) -> list[Note]:
        notes = [note for part in self.parts for note in part.reading.notes]
        notes += [note for tally in self.tallies for note in tally.to_notes()]
        for counts, reason in (
            (sides.moved_by_group, "shares a patient or film with a test image, kept out of training"),
            (sides.moved_by_look, "looks like a test image, kept out of training"),
        ):
            for subset, count in sorted(counts.items()):
                examples = tuple(
                    f"{self._origin(row)} like {self._origin(twin)}"
                    for row, twin in sides.twins.items()
                    if rows.subset[row] == subset and "looks" in reason
                )[:20]
                notes.append(Note(subject=subset, reason=reason, count=count, examples=examples))
        return notes

    def _list_altered(self, rows: Labelled, sides: Sides, twins: np.ndarray, *, tells_leaks: bool) -> list[Note]:
        """Count images that are there once more in another cut, and those of them that train where the other tests."""
        find = partial(find_altered, self.gallery)
        everything = np.arange(len(rows.id))
        found = np.where(twins < 0, self._match(find, everything, everything), -1)
        trained = np.flatnonzero(sides.side == TRAIN) if tells_leaks else everything[:0]
        leaks = self._match(find, trained, np.flatnonzero(sides.side == TEST))
        cuts = "mirrored, cropped or windowed otherwise"
        notes: list[Note] = []
        for others, reason in (
            (found, f"looks like another image, {cuts}"),
            (leaks, f"looks like a test image, {cuts}, and trains; data.look_alikes=widely keeps it out"),
        ):
            for subset in sorted(set(rows.subset[others >= 0])):
                members = np.flatnonzero((others >= 0) & (rows.subset == subset)).tolist()
                examples = (f"{self._origin(row)} like {self._origin(others[row])}" for row in members[:20])
                notes.append(Note(subject=subset, reason=reason, count=len(members), examples=tuple(examples)))
        return notes

    def _origin(self, place: int) -> str:
        return self.parts[self.used.part[place]].reading.rows.origin[self.used.row[place]]


def _count_look_alikes(subsets: Sequence[str], twins: np.ndarray) -> dict[str, tuple[int, int]]:
    """Count images with a look-alike, equal ones too, in their own subset and in others."""
    counts: dict[str, list[int]] = {}
    for row in np.flatnonzero(twins >= 0).tolist():
        is_other = subsets[row] != subsets[twins[row]]
        counts.setdefault(subsets[row], [0, 0])[is_other] += 1
    return {subset: (within, between) for subset, (within, between) in counts.items()}


def _count_shares(subsets: Sequence[str], splits: Sequence[str]) -> dict[str, tuple[int, int]]:
    counts: dict[str, int] = {}
    for subset, split in zip(subsets, splits, strict=True):
        name = f"{subset}/{split}"
        counts[name] = counts.get(name, 0) + 1
    shares: dict[str, tuple[int, int]] = {}
    first = 0
    for name, count in counts.items():
        shares[name] = (first, count)
        first += count
    return shares


def _hash_content(
    columns: Mapping[str, Sequence[Any]], instructions: Mapping[str, tuple[str, ...]], seeds: Sequence[int]
) -> str:
    """Hash what decides samples and questions: never where images lie, how they are stored, or in what order."""
    digest = hashlib.sha256()
    digest.update(canonical_json(to_plain([dict(instructions), list(seeds)])).encode())
    named = ("id", "subset", "split", "label", "group", "letter", "boxes", "question", "pixels")
    for row in zip(*(columns[name] for name in named), strict=True):
        if row[2] != MOVED:
            digest.update("\x1f".join("" if value is None else str(value) for value in row).encode())
            digest.update(b"\x1e")
    return digest.hexdigest()


def _note_shortcuts(found: Sequence[Shortcut]) -> list[Note]:
    return [
        Note(
            subject=one.subset,
            reason=f"image whose label can be told from {one.feature} and the like "
            f"({one.accuracy:.0%} right, {one.chance:.0%} by chance)",
            count=one.num_images,
        )
        for one in found
        if one.warns
    ]
