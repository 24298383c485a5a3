"""Sets of subsets as the bits of a number: what many share is one operation on thousands of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import TypeVar

T = TypeVar("T")
BITS = bytes.maketrans(b"01", b"\x00\x01")
FEW = 64
"""Members that are put in one by one."""
Members = int
"""A set of subsets: bit i stands for the i-th subset of a catalogue or graph."""


class NameSet(tuple[str, ...]):
    """The names of many subsets, which remember as what set they were picked."""

    table: tuple[str, ...]
    """All names that there are."""
    members: Members

    @classmethod
    def pick(cls, table: tuple[str, ...], members: Members) -> tuple[str, ...]:
        """Give the names at the set bits, in order."""
        if members.bit_count() <= FEW:
            return pick(table, members)
        names = cls(pick(table, members))
        names.table, names.members = table, members
        return names

    def __reduce__(self) -> tuple[type, tuple[tuple[str, ...]]]:
        """Be copied and pickled as plain names."""
        return tuple, (tuple(self),)


def join(places: Iterable[int], size: int) -> Members:
    """Give the set of the subsets at some places, of `size` that there are.

    >>> bin(join((0, 3), 5))
    '0b1001'
    """
    if isinstance(places, Sequence) and len(places) <= FEW:
        few = 0
        for place in places:
            few |= 1 << place
        return few
    digits = bytearray(b"0" * size)
    for place in places:
        digits[~place] = 49  # the digit 1; digits stand for high bits first
    return int(digits or b"0", 2)


def pick(items: Sequence[T], members: Members) -> tuple[T, ...]:
    """Give the items at the set bits, in order.

    >>> pick(("a", "b", "c"), 0b101)
    ('a', 'c')
    """
    count = members.bit_count()
    if count == 1:
        return (items[members.bit_length() - 1],)
    if count * 16 > len(items):
        return tuple(compress(items, f"{members:b}"[::-1].encode().translate(BITS)))
    picked: list[T] = []
    while members:
        lowest = members & -members
        picked.append(items[lowest.bit_length() - 1])
        members ^= lowest
    return tuple(picked)
