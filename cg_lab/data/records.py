"""Lines of the user's own listings, whatever their form: each is checked before anything is done with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from cg_lab.data.box_tables import BoxTable
from cg_lab.data.identifier_columns import IdentifierColumns
from cg_lab.data.places import Place
from cg_lab.data.rows import (
    NOT_A_VALUE,
    Reading,
    RowError,
    Rows,
    Tally,
    clean_text,
    is_utf8,
    lies_below,
    quote,
    read_side,
)
from cg_lab.data.spelling import Spelling, find_near_misses
from cg_lab.data.subset_names import make_subset, name_subset
from cg_lab.data.tabular import Cells
from cg_lab.errors import suggest
from cg_lab.mat import Kind, Subset
from cg_lab.questions import Question

NEEDED = ("image", "label")
OPTIONAL = ("subset", "group", "split", "box", "mask")
"""What a line may say beside image, label and factors."""


OWN_CELLS = frozenset({"image", "group", "box", "mask"})
"""What differs from line to line; the rest of a line means the same wherever it stands."""


class _Meaning(NamedTuple):
    subset: str
    label: str
    side: str


class RecordChecker:
    """Turns lines into rows and gathers what is wrong with them.

    Parameters
    ----------
    subject
        Names the listing.
    factors, elements
        What tells elements apart, and those that are the same for all lines.
    known
        Subsets of a catalogue by name; lines then name subsets and no elements.
    group
        `data.group`.
    boxes, boxed
        A file of boxes, and the subsets that it is about.
    told
        Factors that the images themselves tell where lines don't.

    """

    def __init__(  # noqa: PLR0913  (so much decides what a line means)
        self,
        subject: str,
        factors: tuple[str, ...],
        *,
        elements: Mapping[str, str] | None = None,
        known: Mapping[str, Subset] | None = None,
        group: str | None = None,
        boxes: BoxTable | None = None,
        boxed: frozenset[str] = frozenset(),
        told: tuple[str, ...] = (),
    ) -> None:
        self.rows = Rows(sources=[subject])
        self.tally = Tally(subject)
        self.factors, self.given, self.known, self.group = factors, dict(elements or {}), known, group
        self.boxes, self.boxed, self.told = boxes, boxed, told
        self.faults: list[str] = [
            f"data.elements.{name}: no such factor; {suggest(name, factors)}"
            for name in self.given
            if name not in factors
        ]
        self.elements: dict[str, tuple[tuple[str, ...], int]] = {}
        self.spellings: dict[tuple[str, str], int] = {}
        self.seen: dict[str | tuple[str, str], int] = {}
        self.meanings: dict[tuple[tuple[str, str], ...], _Meaning] = {}
        """What lines were found to say, by their cells without image, group and boxes: a listing has few of them."""
        self.located: dict[str, tuple[bool, int]] = dict.fromkeys(boxed, (True, 0))
        """Whether a subset asks for boxes, and the line that says so."""
        self.open_columns(())

    @property
    def needed(self) -> tuple[str, ...]:
        """What every line must say."""
        if self.known is not None:
            return (*NEEDED, "subset")
        return (*NEEDED, *(factor for factor in self.factors if factor not in (*self.given, *self.told)))

    @property
    def optional(self) -> tuple[str, ...]:
        """What a line may say."""
        return tuple(role for role in (*OPTIONAL, *self.told) if role not in self.needed)

    def open_columns(self, names: Iterable[str]) -> None:
        """Say which further columns the listing has; values are kept of those that may say who belongs together."""
        self.columns = IdentifierColumns(self.rows, names, self.group)

    def check(
        self, line: int, cells: Cells, others: Mapping[str, str] | None = None, question: Question | None = None
    ) -> None:
        """Check one line, its cells by role and further ones by column; what is wrong with it leaves it out."""
        try:
            self._take(line, cells, question)
        except RowError as error:
            self.faults.append(f"line {line}: {error}")
            return
        self.columns.add(others or {})

    def _take(self, line: int, cells: Cells, question: Question | None) -> None:
        image = cells["image"].strip().replace("\\", "/")
        alike = tuple(cell for cell in cells.items() if cell[0] not in OWN_CELLS)
        meaning = self.meanings.get(alike) if image.casefold() not in NOT_A_VALUE else None
        if meaning is None:
            texts = self._clean(cells)
            _check_below(image)
            meaning = self.meanings[alike] = self._understand(line, cells, texts)
        _check_below(image)
        written = cells.get("group", "")
        group = clean_text(written)
        if group is None and written.strip().casefold() not in NOT_A_VALUE:
            raise RowError(f"group {written!a} holds characters that are not printed")
        for label, boxes in self._find_answers(line, cells, image, meaning.subset, meaning.label):
            if question is not None:
                self.rows.question[len(self.rows)] = question
            self.rows.add(line, image, meaning.subset, label, group=group or "", side=meaning.side, boxes=boxes)

    def _understand(self, line: int, cells: Cells, texts: Mapping[str, str]) -> _Meaning:
        subset, elements = self._find_subset(cells, texts)
        if self.known is None:
            for factor, value in zip(self.factors, elements, strict=True):
                self.spellings.setdefault((factor, value), line)
        first, first_line = self.elements.setdefault(subset, (elements, line))
        if first != elements:
            raise RowError(f"subset '{subset}' is {':'.join(elements)} here and {':'.join(first)} in line {first_line}")
        side = read_side(cells.get("split", ""))
        if side is None:
            raise RowError(f"split {quote(cells['split'])} is none of train, val, test")
        return _Meaning(subset, texts["label"], side)

    def _clean(self, cells: Cells) -> dict[str, str]:
        """Give label and factors in one form."""
        empty = [column for column in self.needed if cells[column].strip().casefold() in NOT_A_VALUE]
        if empty:
            raise RowError(f"empty {', '.join(empty)}")
        texts: dict[str, str] = {}
        for column in ("label", *(self.factors if self.known is None else ())):
            value = self.given[column] if column in self.given else cells[column]
            text = clean_text(value)
            if text is None:
                raise RowError(f"{column} {value!a} holds characters that are not printed")
            texts[column] = text
        return texts

    def _find_subset(self, cells: Cells, texts: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
        named = clean_text(cells.get("subset", "")) or ""
        if self.known is None:
            elements = tuple(texts[factor] for factor in self.factors)
            return named or name_subset(elements), elements
        if named not in self.known:
            raise RowError(f"no subset '{named}' in the catalogue; {suggest(named, self.known)}")
        return named, self.known[named].own

    def _find_answers(self, line: int, cells: Cells, image: str, subset: str, label: str) -> Iterator[tuple[str, str]]:
        """Give the labels to ask about, each with its boxes: the line's own, or those of the file of boxes."""
        box, mask = cells.get("box", "").strip(), cells.get("mask", "").strip()
        if box and mask:
            raise RowError("both a box and a mask; give one of them")
        if mask and not all(lies_below(part.strip()) for part in mask.split(";")):
            raise RowError(f"mask {quote(mask)} lies outside the folder of images")
        before = self.seen.setdefault((image, label) if box or mask else image, line)
        if before != line and subset in self.boxed:
            return  # tables of boxes have a line for each box
        if before != line:
            raise RowError(f"image '{image}' is listed in line {before} already")
        if subset in self.boxed:
            by_label: dict[str, list[str]] = defaultdict(list)
            assert self.boxes is not None
            for found in self.boxes.find(image) or ():
                if found.subset in {"", subset}:
                    by_label[found.label or label].append(found.box)
            yield from ((name, "; ".join(found)) for name, found in sorted(by_label.items()))
            return
        written = box or (f"mask {mask}" if mask else "")
        has_boxes, first = self.located.setdefault(subset, (bool(written), line))
        if has_boxes != bool(written):
            raise RowError(f"{'a box' if written else 'no box'} here, unlike line {first} of subset '{subset}'")
        yield label, written

    def finish(self, place: Place, unused: Sequence[str] = ()) -> Reading:
        """Give all rows, and the subsets that they belong to."""
        if self.boxes is not None and (fault := self.boxes.find_fault()) is not None:
            self.faults.append(fault)
        is_told = self.tally.counts or (self.boxes is not None and self.boxes.tally.counts)
        if not len(self.rows) and not self.faults and not is_told:
            self.faults.append("no line below the header")
        self.faults += find_near_misses(
            [Spelling(factor=factor, value=value, line=line) for (factor, value), line in self.spellings.items()],
            {},
            slips=False,
        )
        subsets = {
            name: make_subset(name, elements, is_located=self.located.get(name, (False, 0))[0])
            if self.known is None
            else self.known[name]
            for name, (elements, _) in self.elements.items()
        }
        if self.known is None and subsets and all(read_side(name) for name in subsets):
            self.faults.append(
                f"subsets are called {', '.join(subsets)}, as sides are: if the column 'subset' says sides, give "
                "data.columns='{split: subset}'"
            )
        for name, subset in subsets.items():
            is_located = self.located.get(name, (False, 0))[0]
            if (subset.kind is Kind.DETECTION) != is_located:
                self.faults.append(
                    f"subset '{name}' is of kind {subset.kind} in the catalogue, and its lines have "
                    f"{'boxes' if is_located else 'no box and no mask'}"
                )
        return Reading(
            rows=self.rows,
            place=place,
            factors=self.factors,
            subsets=subsets,
            faults=self.faults,
            notes=[*self.tally.to_notes(), *(self.boxes.tally.to_notes() if self.boxes else ())],
            is_own=True,
            columns=self.columns.values,
            unused=(*unused, *(self.boxes.unused if self.boxes else ())),
        )


def _check_below(image: str) -> None:
    if not is_utf8(image):
        raise RowError(f"image {quote(image)} is no name that a file can have in UTF-8")
    if not lies_below(image):
        raise RowError(f"image {quote(image)} lies outside the folder of images")
