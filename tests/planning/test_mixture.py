"""Samples are spread evenly, none beyond what a subset has, and what is left over goes by a draw of the seed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from cg_lab.mat import Subset
from cg_lab.planning.members import NameSet
from cg_lab.planning.mixture import Spreader
from cg_lab.planning.work import MixturePart, PartGroups
from cg_lab.serialize import content_id
from tests.planning.cases import make_subset


def make_subsets(*sizes: int) -> tuple[Subset, ...]:
    return tuple(make_subset(("A", "B", f"{number:02}"), size) for number, size in enumerate(sizes))


def deal_one_by_one(subsets: tuple[Subset, ...], num_samples: int, seed: int) -> dict[str, int]:
    """Give every subset in turn one sample, in the seed's order, until all are dealt: what spreading must come to."""
    turn = sorted(subsets, key=lambda subset: content_id("draw", 1, [seed, subset.name]))
    counts = dict.fromkeys((subset.name for subset in subsets), 0)
    while sum(counts.values()) < min(num_samples, sum(subset.num_train for subset in subsets)):
        for subset in turn:
            if counts[subset.name] < subset.num_train and sum(counts.values()) < num_samples:
                counts[subset.name] += 1
    return {name: count for name, count in counts.items() if count}


@settings(deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 2, 5, 40]), min_size=1, max_size=6),
    num_samples=st.integers(0, 120),
    seed=st.integers(0, 3),
    data=st.data(),
)
def test_a_mixture_is_what_dealing_one_by_one_gives_where_nothing_runs_out(
    sizes: list[int], num_samples: int, seed: int, data: st.DataObject
) -> None:
    subsets = make_subsets(*sizes)
    chosen = tuple(data.draw(st.lists(st.sampled_from(subsets), min_size=1, unique_by=lambda part: part.name)))
    names = tuple(sorted(subset.name for subset in chosen))
    mixture = Spreader(subsets).build_mixture(names, num_samples, seed)
    counts = {part.subset: part.count for part in mixture.parts}
    expected = deal_one_by_one(chosen, num_samples, seed)
    assert mixture.num_samples == sum(expected.values()) == min(num_samples, sum(subset.num_train for subset in chosen))
    assert list(counts) == sorted(counts)
    assert all(
        0 < count <= next(part.num_train for part in chosen if part.name == name) for name, count in counts.items()
    )
    if all(subset.num_train * len(chosen) >= num_samples for subset in chosen):
        assert counts == expected


MANY = make_subsets(*[3, 0, 5, 4] * 30)
"""Of whom 90 have training samples, 3 at least."""


@pytest.mark.parametrize("num_samples", [0, 1, 50, 89, 90, 91, 180, 200, 269])
@pytest.mark.parametrize("seed", [0, 1])
def test_spreading_over_many_at_once_is_dealing_one_by_one(num_samples: int, seed: int) -> None:
    everyone = tuple(subset.name for subset in MANY)
    some = everyone[:101]
    marked = (1 << 101) - 1
    others = NameSet.pick((*everyone, "z"), marked), NameSet.pick(("a", *everyone), marked << 1)
    for names in (everyone, some, NameSet.pick(everyone, marked), *others):
        mixture = Spreader(MANY).build_mixture(names, num_samples, seed)
        chosen = tuple(subset for subset in MANY if subset.name in names)
        if num_samples < 3 * sum(subset.num_train > 0 for subset in chosen):
            assert isinstance(mixture.parts, PartGroups)
            assert {part.subset: part.count for part in mixture.parts} == deal_one_by_one(chosen, num_samples, seed)
            assert mixture.num_samples == num_samples


@pytest.mark.parametrize("num_samples", [270, 271, 300, 360, 500])
def test_none_of_many_gives_more_than_it_has(num_samples: int) -> None:
    mixture = Spreader(MANY).build_mixture(tuple(subset.name for subset in MANY), num_samples, 0)
    sizes = {subset.name: subset.num_train for subset in MANY}
    assert all(0 < part.count <= sizes[part.subset] for part in mixture.parts)
    assert mixture.num_samples == min(num_samples, sum(sizes.values()))


def test_many_without_any_sample_give_none() -> None:
    empty = make_subsets(*[0] * 70, 5)
    names = tuple(subset.name for subset in empty[:70])
    assert not Spreader(empty).build_mixture(names, 9, 0).parts
    assert not Spreader(empty[:70]).build_mixture(names, 9, 0).parts


def test_one_of_many_that_alone_has_samples_gives_all() -> None:
    subsets = make_subsets(*[0] * 70, 5)
    (part,) = Spreader(subsets).build_mixture(tuple(subset.name for subset in subsets), 3, 0).parts
    assert (part.subset, part.count) == (subsets[-1].name, 3)


def test_a_subset_that_runs_out_leaves_its_share_to_the_others() -> None:
    mixture = Spreader(make_subsets(1, 10, 100)).build_mixture(("a-b-00", "a-b-01", "a-b-02"), 41, 0)
    assert [part.count for part in mixture.parts] == [1, 10, 30]


def test_further_samples_come_on_top_also_of_a_subset_that_is_there() -> None:
    further = (MixturePart(subset="a-b-00", count=3), MixturePart(subset="wiki", count=2))
    mixture = Spreader(make_subsets(10, 10)).build_mixture(
        ("a-b-00", "a-b-01"), 4, 7, further=further, labels="shuffled"
    )
    assert [(part.subset, part.count) for part in mixture.parts] == [("a-b-00", 5), ("a-b-01", 2), ("wiki", 2)]
    assert (mixture.seed, mixture.labels) == (7, "shuffled")
    assert mixture.count("a-b-00") == 5
    assert mixture.count("absent") == 0


def test_seeds_draw_other_subsets_where_there_are_more_than_samples() -> None:
    spreader = Spreader(make_subsets(*[9] * 12))
    names = tuple(f"a-b-{number:02}" for number in range(12))
    drawn = [spreader.build_mixture(names, 3, seed) for seed in range(6)]
    assert all([part.count for part in mixture.parts] == [1, 1, 1] for mixture in drawn)
    assert len({tuple(part.subset for part in mixture.parts) for mixture in drawn}) > 1
    assert drawn[0] == Spreader(make_subsets(*[9] * 12)).build_mixture(names, 3, 0)
