"""The search for a weak colouring, against the plainest way to write it."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings, strategies as st

from cg_lab.planning import weak_colouring
from cg_lab.planning.weak_colouring import find_colouring

Ties = list[tuple[int, ...]]


@st.composite
def hypergraphs(draw: st.DrawFn) -> tuple[list[int], Ties, int]:
    sizes = draw(st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=2, max_size=7))
    tie = st.sets(st.integers(0, len(sizes) - 1), min_size=2, max_size=4)
    ties = draw(st.lists(tie.map(lambda units: tuple(sorted(units))), max_size=10, unique=True))
    return sizes, sorted(ties), draw(st.integers(2, 4))


def is_valid(sizes: list[int], ties: Ties, colours: list[int], count: int) -> bool:
    loads = [sum(size for size, own in zip(sizes, colours, strict=True) if own == colour) for colour in range(count)]
    return (
        min(loads) > 0
        and max(loads) - min(loads) <= max(sizes)
        and all(len({colours[unit] for unit in tie}) > 1 for tie in ties)
    )


def colour_plainly(sizes: list[int], ties: Ties, count: int, colours: list[int]) -> list[int] | None:
    """Colour the unit with the fewest colours left, most ties, smallest number; emptiest colour first."""
    waiting = [unit for unit, colour in enumerate(colours) if colour < 0]
    if not waiting:
        return colours if is_valid(sizes, ties, colours, count) else None
    loads = [sum(size for size, own in zip(sizes, colours, strict=True) if own == colour) for colour in range(count)]
    most = -(-sum(sizes) // count) + max(sizes) - 1

    def list_left(unit: int) -> list[int]:
        others = [{colours[other] for other in tie if other != unit} for tie in ties if unit in tie]
        kept = [c for c in range(count) if {c} not in others and loads[c] + sizes[unit] <= most]
        unused = [colour for colour in kept if not loads[colour]]
        return sorted([c for c in kept if loads[c] or c == unused[0]], key=lambda colour: loads[colour])

    unit = min(waiting, key=lambda unit: (len(list_left(unit)), -sum(unit in tie for tie in ties), unit))
    for colour in list_left(unit):
        found = colour_plainly(sizes, ties, count, [*colours[:unit], colour, *colours[unit + 1 :]])
        if found is not None:
            return found
    return None


@settings(max_examples=50, deadline=None)
@given(hypergraphs())
def test_the_colouring_is_the_one_that_a_plain_recursion_finds_first(case: tuple[list[int], Ties, int]) -> None:
    """So partitions, and the ids of jobs that hang on them, stay as they are."""
    sizes, ties, count = case
    assert find_colouring(sizes, ties, count) == colour_plainly(sizes, ties, count, [-1] * len(sizes))


@settings(max_examples=30, deadline=None)
@given(hypergraphs())
def test_a_colouring_is_found_exactly_where_there_is_one(case: tuple[list[int], Ties, int]) -> None:
    sizes, ties, count = case
    every = product(range(count), repeat=len(sizes) - 1)  # the first unit's colour is only a name
    exists = any(is_valid(sizes, ties, [0, *colours], count) for colours in every)
    found = find_colouring(sizes, ties, count)
    assert (found is not None) == exists
    assert found is None or is_valid(sizes, ties, found, count)


def test_the_search_is_given_up_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    units, ties = [1] * 6, [(number, number + 1) for number in range(5)]
    assert find_colouring(units, ties, 2) is not None
    monkeypatch.setattr(weak_colouring, "MOST_STEPS", 5)
    assert find_colouring(units, ties, 2) is None
