"""Check the lines of a catalogue one by one; every fault is gathered, none stops the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cg_lab.data.spelling import Spelling, find_near_misses
from cg_lab.data.subset_names import find_name_fault
from cg_lab.errors import suggest
from cg_lab.mat import MAX_OPTIONS, Kind, Subset, count_options

SPLITS = ("in_distribution", "out_of_distribution")


@dataclass(frozen=True, slots=True, kw_only=True)
class Declarations:
    """What a catalogue says beside its subsets."""

    factors: tuple[str, ...]
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """For each factor, what a spelling stands for."""
    parents: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """For each factor, what a value also counts as: COVID is a State."""
    tied: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One subset as it is written."""

    number: int
    cells: dict[str, str]


class Checker:
    """Turns lines into subsets and gathers what is wrong with them."""

    def __init__(self, declarations: Declarations, faults: list[str]) -> None:
        self.declared = declarations
        self.faults = faults
        self.seen: dict[str, int] = {}
        self.spellings: list[Spelling] = []

    def check(self, lines: list[Line]) -> list[Subset]:
        """Check every line; subsets with a fault are left out."""
        subsets = [subset for line in lines if (subset := self._check_line(line)) is not None]
        self.faults += find_near_misses(self.spellings, self.declared.aliases)
        self.faults.sort(key=_by_line)
        return subsets

    def _check_line(self, line: Line) -> Subset | None:
        before = len(self.faults)
        name = line.cells.get("name", "")
        kind = self._choose(line, "kind", tuple(Kind), "classification")
        elements = self._read_elements(line, needed=kind != Kind.FILLER)
        labels = self._split(line, "labels")
        subset_name = self._check_name(line, name)
        counts = {column: self._count(line, column) for column in ("num_train", "num_test")}
        num_options = self._count_options(line, kind, labels)
        split = self._choose(line, "split", SPLITS, "")
        if len(self.faults) > before:
            return None
        return Subset(
            name=subset_name,
            elements=elements,
            labels=tuple(sorted(labels)),
            num_options=num_options,
            num_train=counts["num_train"],
            num_test=counts["num_test"],
            kind=Kind(kind),
            split=split or None,  # type: ignore[arg-type]
            title=line.cells.get("title", ""),
            datasets=self._split(line, "datasets"),
        )

    def _tell(self, line: Line, text: str) -> None:
        self.faults.append(f"line {line.number}: {text}")

    def _check_name(self, line: Line, name: str) -> str:
        if not name:
            self._tell(line, "empty name")
        elif name in self.seen:
            self._tell(line, f"subset '{name}' is listed in line {self.seen[name]} already")
        elif (fault := find_name_fault(name)) is not None:
            self._tell(line, fault)
        self.seen.setdefault(name, line.number)
        return name

    def _read_elements(self, line: Line, *, needed: bool) -> tuple[tuple[str, ...], ...]:
        elements: list[tuple[str, ...]] = []
        for factor in self.declared.factors:
            aliases, parents = (part.get(factor, {}) for part in (self.declared.aliases, self.declared.parents))
            written = [*self._split(line, factor), *self._split(line, f"{factor}_tags")]
            if not written and needed and factor in line.cells:
                self._tell(line, f"empty {factor}")
            values = [aliases.get(value, value) for value in written]
            self.spellings += [Spelling(factor=factor, value=value, line=line.number) for value in values]
            for value in values:
                if value in parents and parents[value] not in values:
                    values.append(parents[value])
            repeated = sorted({value for value in values if values.count(value) > 1})
            if repeated:
                self._tell(line, f"{factor} '{repeated[0]}' is given more than once")
            elements.append(tuple(values))
        return tuple(elements)

    def _split(self, line: Line, column: str) -> tuple[str, ...]:
        parts = [part.strip() for part in line.cells.get(column, "").split(";")]
        if any(not part for part in parts) and any(parts):
            self._tell(line, f"{column} '{line.cells[column]}' has an empty part between ;")
        return tuple(part for part in parts if part)

    def _choose(self, line: Line, column: str, known: tuple[str, ...], default: str) -> str:
        value = line.cells.get(column, "") or default
        if value and value not in known:
            self._tell(line, f"{column} '{value}'; {suggest(value, known)}")
            return default
        return value

    def _count(self, line: Line, column: str) -> int:
        text = line.cells.get(column, "")
        if text.isascii() and text.isdigit():
            return int(text)
        if column in line.cells:
            digits = "".join(character for character in text if character.isdigit())
            hint = f" such as {int(digits)}" if digits and not text.startswith("-") and "." not in text else ""
            self._tell(line, f"{column} '{text}' is no whole number{hint}; 0 or more, digits only")
        return 0

    def _count_options(self, line: Line, kind: str, labels: tuple[str, ...]) -> int:
        if kind == Kind.DETECTION:
            return 0
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        if repeated:
            self._tell(line, f"label '{repeated[0]}' is given more than once")
        given = line.cells.get("num_options", "")
        found = self._count(line, "num_options") if given else count_options(labels)
        if given and labels and found != count_options(labels):
            self._tell(
                line, f"num_options {given} contradicts its {len(labels)} labels, which make {count_options(labels)}"
            )
        elif not 2 <= found <= MAX_OPTIONS and (given.isdigit() or not given):
            what = (
                f"num_options {given}"
                if given
                else f"{len(labels)} labels"
                if labels
                else "neither labels nor num_options"
            )
            self._tell(line, f"{what}: a question has 2 to {MAX_OPTIONS} options")
        return found


def _by_line(fault: str) -> int:
    head = fault.split(":", 1)[0].removeprefix("line ")
    return int(head) if head.isdigit() else 0
