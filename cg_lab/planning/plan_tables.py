"""What plan.json holds once and refers to by number: sets of names, and proofs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapSerializer,
    WrapValidator,
)

from cg_lab.planning.members import FEW, Members, NameSet, join, pick
from cg_lab.serialize import dump_json

T = TypeVar("T")
MOST_NAMED = FEW
"""Names that a set of subsets lists one by one; a larger one is a number whose bit i stands for the i-th subset."""


StoredSet = tuple[str, ...] | Annotated[str, Field(pattern="^0x[0-9a-f]+$")]


@dataclass(slots=True, kw_only=True)
class PlanTables:
    """The tables of one plan.json, while it is written or read."""

    names: tuple[str, ...]
    """Every subset of the plan's catalogues, in order."""
    sets: list[tuple[str, ...] | Members] = field(default_factory=list[tuple[str, ...] | Members])
    """Of names; a large one of subsets as bits, which stand for `names`."""
    proofs: list[Any] = field(default_factory=list[Any])
    _places: dict[str, int] = field(default_factory=dict[str, int])
    _set_numbers: dict[tuple[str, ...] | Members, int] = field(default_factory=dict[tuple[str, ...] | Members, int])
    _named: dict[Members, tuple[str, ...]] = field(default_factory=dict[Members, tuple[str, ...]])
    _proof_numbers: dict[int, int] = field(default_factory=dict[int, int])
    """By identity: cells of one split share their proof."""

    def __post_init__(self) -> None:
        """Give each subset its place."""
        self._places.update((name, place) for place, name in enumerate(self.names))

    def number_set(self, names: tuple[str, ...]) -> int:
        """Give the number of a set of names, which gets one if it has none."""
        if isinstance(names, NameSet) and names.table == self.names:
            return self.number_members(names.members)
        number = self._set_numbers.get(names)
        if number is None:
            members = self._encode(names)
            number = self._set_numbers[names] = self._number(names if members is None else members)
        return number

    def number_members(self, members: Members) -> int:
        """Give the number of a set of subsets."""
        if members.bit_count() <= MOST_NAMED:
            return self._number(pick(self.names, members))
        return self._number(members)

    def _number(self, entry: tuple[str, ...] | Members) -> int:
        number = self._set_numbers.setdefault(entry, len(self.sets))
        if number == len(self.sets):
            self.sets.append(entry)
        return number

    def number_proof(self, proof: object) -> int:
        """Give the number of a proof, which gets one if it has none."""
        number = self._proof_numbers.setdefault(id(proof), len(self.proofs))
        if number == len(self.proofs):
            self.proofs.append(proof)
        return number

    def write_proofs(self) -> list[str]:
        """Write each proof as JSON; their sets are numbered meanwhile, so that `write_sets` comes after it."""
        return dump_json(tuple(self.proofs), context=self)

    def write_sets(self) -> list[str]:
        """Write each set as JSON."""
        return dump_json(tuple(hex(entry) if isinstance(entry, int) else entry for entry in self.sets))

    def read_set(self, stored: StoredSet) -> None:
        """Add a set as `write_sets` wrote it."""
        self.sets.append(stored if isinstance(stored, tuple) else int(stored, 16))

    def give_names(self, number: int) -> tuple[str, ...]:
        """Give the names of a set by its number in the file."""
        entry = self.give(self.sets, number)
        if isinstance(entry, tuple):
            return entry
        if entry not in self._named:
            self._named[entry] = pick(self.names, entry)
        return self._named[entry]

    def give(self, table: Sequence[T], number: int) -> T:
        """Give an entry of a table by its number in the file."""
        if not 0 <= number < len(table):
            raise ValueError(f"no entry {number!r} in a table of {len(table)}")
        return table[number]

    def _encode(self, names: tuple[str, ...]) -> Members | None:
        """Give a large set of subsets in order as bits; None for any other."""
        if len(names) <= MOST_NAMED:
            return None
        try:
            members = join(map(self._places.__getitem__, names), len(self.names))
        except KeyError:  # not subsets
            return None
        return members if pick(self.names, members) == names else None


def _tables(info: SerializationInfo | ValidationInfo) -> PlanTables | None:
    return info.context if isinstance(info.context, PlanTables) else None


def _write_names(names: tuple[str, ...], info: SerializationInfo) -> Any:  # noqa: ANN401 - a number or the names
    tables = _tables(info)
    return names if tables is None else tables.number_set(names)


def _read_names(raw: Any, info: ValidationInfo) -> Any:  # noqa: ANN401
    tables = _tables(info)
    return tables.give_names(raw) if tables is not None and isinstance(raw, int) else raw


Names = Annotated[tuple[str, ...], PlainSerializer(_write_names), BeforeValidator(_read_names)]
"""Names that plan.json refers to by number, and every other file lists."""


def _write_proof(proof: Any, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:  # noqa: ANN401
    tables = _tables(info)
    return handler(proof) if tables is None else tables.number_proof(proof)


def _read_proof(raw: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:  # noqa: ANN401
    tables = _tables(info)
    return tables.give(tables.proofs, raw) if tables is not None and isinstance(raw, int) else handler(raw)


BY_NUMBER = (WrapSerializer(_write_proof), WrapValidator(_read_proof))
"""Annotates a proof that plan.json refers to by number."""
