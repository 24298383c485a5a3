"""Who shares what with whom, over six subsets that can be checked by eye."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cg_lab.catalog import Overlap
from cg_lab.mat import Kind
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.members import Members
from tests.planning.cases import make_subset

FACTORS = ("modality", "area", "task")
A = replace(make_subset(("CT", "Lung", "Mass"), 7), name="a")
COPY = replace(A, name="b-copy", num_train=0)
BRAIN = replace(make_subset(("CT", "Brain", "Mass"), 1), name="c-brain")
FAR = replace(make_subset(("US", "Breast", "Level"), 12, kind=Kind.DETECTION), name="d-far")
TAGGED = replace(
    make_subset(("CT", "Lung", "Level"), 5), name="e-tagged", elements=(("CT",), ("Lung",), ("Level", "Mass"))
)
MRI = replace(make_subset(("MRI", "Lung", "State"), 3), name="f-mri")
SUBSETS = (A, COPY, BRAIN, FAR, TAGGED, MRI)


@pytest.fixture
def strict() -> MatGraph:
    return MatGraph(SUBSETS, FACTORS)


@pytest.fixture
def equal() -> MatGraph:
    """Give the same graph where equals alone count as the target itself."""
    return MatGraph(SUBSETS, FACTORS, strict=False)


def name(members: Members) -> str:
    """Give the first letters of a set's members."""
    return "".join(part.name[0] for place, part in enumerate(SUBSETS) if members >> place & 1)


def test_sets_of_names_are_bits_in_order_of_name(strict: MatGraph) -> None:
    assert strict.everything == 0b111111
    assert (strict.bit(A), strict.bit(MRI)) == (1, 0b100000)
    assert strict.gather(("f-mri", "a")) == 0b100001
    assert strict.list_members(0b100001) == (A, MRI)
    assert strict["c-brain"] is BRAIN
    assert strict.translate(tuple(part.name for part in SUBSETS), 0b11) == 0b11
    assert strict.translate(("f-mri", "a", "d-far"), 0b011) == 0b100001


def test_an_element_is_shown_by_all_that_have_it_among_their_values(strict: MatGraph) -> None:
    assert name(strict.holding(0, "CT")) == "abce"
    assert name(strict.holding(2, "Level")) == "de"
    assert strict.holding(2, "absent") == 0
    assert strict.list_values(2) == ("Level", "Mass", "State")
    assert [(factor, value, name(members)) for factor, value, members in strict.list_elements()] == [
        (0, "CT", "abce"), (0, "MRI", "f"), (0, "US", "d"),
        (1, "Brain", "c"), (1, "Breast", "d"), (1, "Lung", "abef"),
        (2, "Level", "de"), (2, "Mass", "abce"), (2, "State", "f"),
    ]  # fmt: skip


def test_what_has_several_values_can_stand_for_another_element_only_if_equals_alone_count(
    strict: MatGraph, equal: MatGraph
) -> None:
    assert name(strict.differing(2, "Mass")) == "df"
    assert name(equal.differing(2, "Mass")) == "def"
    assert name(strict.differing(2, "absent")) == "abcdef"


def test_others_share_an_element_of_a_factor_and_none_shares_it_with_itself(strict: MatGraph) -> None:
    assert [name(strict.sharing(A, factor)) for factor in range(3)] == ["bce", "bef", "bce"]
    assert [name(strict.sharing(FAR, factor)) for factor in range(3)] == ["", "", "e"]
    assert name(strict.sharing(A, 0)) == "bce"  # the neighbours of another are not kept for it
    assert name(strict.sharing_all(A)) == "be"


def test_twins_share_all_factors_or_are_equal(strict: MatGraph, equal: MatGraph) -> None:
    assert [name(strict.twins(part)) for part in SUBSETS] == ["be", "ae", "", "", "ab", ""]
    assert [name(equal.twins(part)) for part in SUBSETS] == ["b", "a", "", "", "", ""]
    turned = replace(TAGGED, name="g", elements=(("CT",), ("Lung",), ("Mass", "Level", "Mass")))
    assert MatGraph((TAGGED, turned), FACTORS, strict=False).twins(TAGGED) == 0b10


def test_related_share_an_element_and_are_no_twins_and_unrelated_share_none(strict: MatGraph, equal: MatGraph) -> None:
    assert name(strict.related(A)) == "cf"
    assert name(equal.related(A)) == "cef"
    assert name(strict.unrelated(A)) == "d"
    assert [name(strict.unrelated(part)) for part in (FAR, MRI)] == ["abcf", "cd"]


def test_the_unrelated_pool_counts_its_samples_for_each_target() -> None:
    graph = MatGraph(SUBSETS, FACTORS)
    for target, members, num_train in ((A, "d", 12), (MRI, "cd", 13), (MRI, "cd", 13), (A, "d", 12)):
        pool = graph.unrelated_pool(target)
        assert (name(pool.members), pool.num_train) == (members, num_train)
        assert pool.names == graph.names(pool.members)


def test_samples_are_counted_over_a_set_and_those_with_any_are_known(strict: MatGraph) -> None:
    assert strict.count_train(strict.everything) == 7 + 0 + 1 + 12 + 5 + 3
    assert strict.count_train(0) == 0
    assert name(strict.filled) == "acdef"
    assert [name(strict.having(least)) for least in (0, 1, 5, 8, 12, 13, 99)] == [
        "abcdef", "acdef", "ade", "d", "d", "", "",
    ]  # fmt: skip
    assert MatGraph((), FACTORS).count_train(0) == 0


def test_subsets_are_gathered_by_kind(strict: MatGraph) -> None:
    assert name(strict.gather_kinds([Kind.DETECTION])) == "d"
    assert name(strict.gather_kinds([Kind.CLASSIFICATION, Kind.DETECTION])) == "abcdef"
    assert strict.gather_kinds([Kind.FILLER]) == strict.gather_kinds([]) == 0


def test_others_are_ranked_by_how_many_factors_they_share(strict: MatGraph) -> None:
    assert [name(members) for members in strict.rank_by_shared(A)] == ["bcdef", "bcef", "bce", "be"]
    assert [strict.count_shared(A, other) for other in SUBSETS] == [3, 3, 2, 0, 3, 1]


def test_a_target_stands_for_each_of_its_values_in_turn(strict: MatGraph) -> None:
    assert list(strict.views(TAGGED)) == [("CT", "Lung", "Level"), ("CT", "Lung", "Mass")]


def test_groups_of_twins_reach_over_others(strict: MatGraph, equal: MatGraph) -> None:
    """Of two that share nothing but a third, all three are one group."""
    assert sorted(name(members) for members in strict.list_twin_groups()) == ["abe", "c", "d", "f"]
    level = replace(make_subset(("CT", "Lung", "Level")), name="z")
    chain = MatGraph((A, TAGGED, level), FACTORS)
    assert chain.list_twin_groups() == [0b111]
    start, second, third, last = (
        replace(A, name=f"{place}", elements=(("CT",), ("Lung",), tasks))
        for place, tasks in enumerate((("1", "2"), ("1", "3"), ("2",), ("3",)))
    )
    assert MatGraph((start, second, third, last), FACTORS).list_twin_groups() == [0b1111]
    assert [name(members) for members in equal.list_twin_groups()] == ["ab", "c", "d", "e", "f"]


@pytest.mark.parametrize(("count", "copies"), [(2, "cf"), (0, "f")])
def test_copies_are_training_sides_with_samples_of_a_targets_tests(count: int, copies: str) -> None:
    overlaps = [
        Overlap(train="c-brain", test="a", count=count, what="groups"),
        Overlap(train="f-mri", test="a", count=1, what="groups"),
        Overlap(train="elsewhere", test="a", count=5, what="groups"),
        Overlap(train="d-far", test="c-brain", count=5, what="groups"),
    ]
    graph = MatGraph(SUBSETS, FACTORS, overlaps=overlaps)
    assert [name(graph.copying(part)) for part in (A, BRAIN, FAR)] == [copies, "d", ""]


def test_values_are_tied_as_found_unless_declared(strict: MatGraph) -> None:
    assert strict.tied == (("US", "Breast"),)
    assert MatGraph(SUBSETS, FACTORS, tied=()).tied == ()
    assert MatGraph(SUBSETS, FACTORS, tied=(("CT", "Lung"),)).tied == (("CT", "Lung"),)


def test_the_graph_for_networkx_joins_each_subset_to_its_elements(strict: MatGraph) -> None:
    assert set(strict.incidence["e-tagged"]) == {
        ("modality", "CT"), ("area", "Lung"), ("task", "Level"), ("task", "Mass"),
    }  # fmt: skip
    assert {node for node, side in strict.incidence.nodes(data="bipartite") if side == 0} == {
        part.name for part in SUBSETS
    }


def test_a_graph_of_many_subsets_knows_each_of_them() -> None:
    subsets = tuple(
        make_subset(("CT", f"Organ {number:03}", "Mass"), 1 + 2 * (number % 2), kind=kind)
        for number, kind in enumerate([Kind.CLASSIFICATION] * 80 + [Kind.DETECTION] * 80)
    )
    graph = MatGraph(subsets, FACTORS)
    assert graph.filled == graph.everything == graph.gather(part.name for part in subsets)
    assert graph.gather([part.name for part in subsets[:70]]) == (1 << 70) - 1
    assert graph.gather_kinds([Kind.CLASSIFICATION]) == (1 << 80) - 1
    assert graph.count_train(graph.everything) == 160 * 2
    assert graph.having(2).bit_count() == 80
