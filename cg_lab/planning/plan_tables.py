"""What plan.json holds once and refers to by number: sets of names, and proofs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress
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

from cg_lab.serialize import dump_json

T = TypeVar("T")
BITS = bytes.maketrans(b"01", b"\x00\x01")
MOST_NAMED = 64
"""Names that a set of subsets lists one by one; a larger one is a number whose bit i stands for the i-th subset."""


StoredSet = tuple[str, ...] | Annotated[str, Field(pattern="^0x[0-9a-f]+$")]


@dataclass(slots=True, kw_only=True)
class PlanTables:
    """The tables of one plan.json, while it is written or read."""

    names: tuple[str, ...]
    """Every subset of the plan's catalogues, in order."""
    sets: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    proofs: list[Any] = field(default_factory=list[Any])
    _places: dict[str, int] = field(default_factory=dict[str, int])
    _set_numbers: dict[tuple[str, ...], int] = field(default_factory=dict[tuple[str, ...], int])
    _proof_numbers: dict[int, int] = field(default_factory=dict[int, int])
    """By identity: cells of one split share their proof."""

    def __post_init__(self) -> None:
        """Give each subset its place."""
        self._places.update((name, place) for place, name in enumerate(self.names))

    def number_set(self, names: tuple[str, ...]) -> int:
        """Give the number of a set of names, which gets one if it has none."""
        number = self._set_numbers.setdefault(names, len(self.sets))
        if number == len(self.sets):
            self.sets.append(names)
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
        return dump_json(tuple(self._encode(names) for names in self.sets))

    def read_set(self, stored: StoredSet) -> tuple[str, ...]:
        """Give the names of a set as `write_sets` wrote it."""
        if isinstance(stored, tuple):
            return stored
        return self.list_names(int(stored, 16))

    def list_names(self, number: int) -> tuple[str, ...]:
        """Give the subsets at the set bits of a number."""
        return tuple(compress(self.names, f"{number:b}"[::-1].encode().translate(BITS)))

    def give(self, table: Sequence[T], number: int) -> T:
        """Give an entry of a table by its number in the file."""
        if not 0 <= number < len(table):
            raise ValueError(f"no entry {number!r} in a table of {len(table)}")
        return table[number]

    def _encode(self, names: tuple[str, ...]) -> list[str] | str:
        if len(names) <= MOST_NAMED:
            return list(names)
        digits = bytearray(b"0" * len(self.names))
        try:
            for place in map(self._places.__getitem__, names):
                digits[~place] = 49  # the digit 1; digits stand for high bits first
        except KeyError:  # not subsets
            return list(names)
        number = int(digits, 2)
        return hex(number) if self.list_names(number) == names else list(names)


def _tables(info: SerializationInfo | ValidationInfo) -> PlanTables | None:
    return info.context if isinstance(info.context, PlanTables) else None


def _write_names(names: tuple[str, ...], info: SerializationInfo) -> Any:  # noqa: ANN401 - a number or the names
    tables = _tables(info)
    return names if tables is None else tables.number_set(names)


def _read_names(raw: Any, info: ValidationInfo) -> Any:  # noqa: ANN401
    tables = _tables(info)
    return tables.give(tables.sets, raw) if tables is not None and isinstance(raw, int) else raw


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
