"""Sets of subsets as bits: few and many alike, and as names that remember their set."""

from __future__ import annotations

import pickle

import pytest

from cg_lab.planning.members import NameSet, join, pick
from cg_lab.planning.work import MixturePart, PartGroups

NAMES = tuple(f"s{number:03}" for number in range(200))


@pytest.mark.parametrize("places", [(), (0,), (199,), (0, 3, 199), range(0, 200, 3), range(64), range(65), range(200)])
def test_a_set_is_the_sum_of_its_members_bits_and_gives_them_back_in_order(places: tuple[int, ...] | range) -> None:
    members = sum(1 << place for place in places)
    assert join(places, 200) == join(iter(places), 200) == members
    assert pick(NAMES, members) == tuple(NAMES[place] for place in places)


def test_a_set_of_nothing_that_there_is_is_empty() -> None:
    assert join(iter(()), 0) == 0
    assert pick((), 0) == ()


@pytest.mark.parametrize(("size", "remembers"), [(64, False), (65, True)])
def test_many_names_remember_their_set_and_few_are_plain(size: int, *, remembers: bool) -> None:
    members = (1 << size) - 1
    names = NameSet.pick(NAMES, members)
    assert names == NAMES[:size]
    assert isinstance(names, NameSet) is remembers
    if isinstance(names, NameSet):
        assert (names.table, names.members) == (NAMES, members)


def test_names_are_pickled_without_the_table_that_they_come_from() -> None:
    names = NameSet.pick(NAMES, (1 << 100) - 1)
    copy = pickle.loads(pickle.dumps(names))
    assert copy == names
    assert type(copy) is tuple


def test_groups_of_parts_are_the_parts_that_they_stand_for() -> None:
    parts = (
        MixturePart(subset="a", count=2), MixturePart(subset="b", count=1), MixturePart(subset="c", count=2)
    )  # fmt: skip
    groups = PartGroups(("a", "b", "c", "d"), ((1, 0b010), (2, 0b101)))
    assert tuple(groups) == groups.list_parts() == parts
    assert (len(groups), groups.num_samples, groups.members, groups[1], groups[1:]) == (
        3, 5, 0b111, parts[1], parts[1:],
    )  # fmt: skip
    elsewhere = PartGroups(("a", "b", "c"), ((1, 0b010), (2, 0b101)))
    assert groups == PartGroups(groups.names, groups.groups) == elsewhere == parts
    assert {hash(groups), hash(elsewhere)} == {hash(parts)}
    for other in (PartGroups(groups.names, ((1, 0b011), (2, 0b100))), PartGroups(("a", "b", "d"), groups.groups)):
        assert groups != other
    assert groups != parts[:2]
