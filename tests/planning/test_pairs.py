"""Which of many pairs of sources are asked about: those that share fine-tunes, or any, drawn by name."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import pytest

from cg_lab.catalog import build_catalog
from cg_lab.errors import UserError
from cg_lab.mat import Kind
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.pairs import Combination, Pairs, _Ledger, find_pairs, list_combinations, pose_combination
from cg_lab.planning.plan import Plan
from cg_lab.study import Study
from tests.planning.cases import cube, make_subset, plan_one, with_design

CORNERS = ("a-x-k", "b-y-k", "a-x-l", "c-z-l")
"""Opposite corners of two squares."""


def ask(prefer: str, *targets: str, **settings: object) -> Study:
    directions = {"directions": ["task"], "combinations": 1}
    study = with_design("two_source", max_samples=40, **{**directions, **settings, "prefer": prefer})
    return replace(study, targets=targets or None, seeds=(0,))


def list_pairs(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {contrast.target: contrast.related for contrast in plan.contrasts}


def test_opposite_corners_of_a_square_are_asked_from_one_pair() -> None:
    assert list_pairs(plan_one(ask("sharing", *CORNERS), cube())) == {
        "a-x-k": ("a-y-k", "b-x-k"), "b-y-k": ("a-y-k", "b-x-k"),
        "a-x-l": ("a-z-l", "c-x-l"), "c-z-l": ("a-z-l", "c-x-l"),
    }  # fmt: skip


def test_drawn_by_name_a_pair_hangs_on_no_other_target() -> None:
    found = list_pairs(plan_one(ask("hash", *CORNERS), cube()))
    for target in CORNERS:
        assert list_pairs(plan_one(ask("hash", target), cube())) == {target: found[target]}


@pytest.mark.parametrize("combinations", [1, 2, 3])
def test_sharing_takes_no_more_pairs_and_sources_than_a_draw(combinations: int) -> None:
    counts: dict[str, int] = {}
    for prefer in ("sharing", "hash"):
        plan = plan_one(ask(prefer, directions=["modality", "area", "task"], combinations=combinations), cube())
        assert len(plan.contrasts) == 27 * 3 * combinations
        counts[prefer] = len({contrast.related for contrast in plan.contrasts})
    assert counts["sharing"] < counts["hash"]


def test_all_pairs_are_asked_about_whichever_are_preferred() -> None:
    plans = [plan_one(ask(prefer, "a-x-k", combinations=None), cube()) for prefer in ("sharing", "hash")]
    assert plans[0].contrasts == plans[1].contrasts
    assert len(plans[0].contrasts) == 4


def test_the_order_of_targets_and_of_lines_changes_no_pair() -> None:
    plan = plan_one(ask("sharing", *CORNERS), cube())
    turned = plan_one(ask("sharing", *reversed(CORNERS)), cube())
    assert {*turned.cells} == {*plan.cells}
    assert turned.finetunes == plan.finetunes
    lines = list(cube().subsets)
    random.Random(0).shuffle(lines)
    assert plan_one(ask("sharing", *CORNERS), build_catalog(cube().data, lines)).text == plan.text


FACTORS = ("modality", "area", "task")
TARGET = replace(make_subset(("CT", "Lung", "Level")), name="target", elements=(("CT",), ("Lung",), ("Level", "Mass")))
SOURCES = [
    make_subset(cell)
    for cell in (
        ("CT", "Brain", "Level"), ("CT", "Brain", "Mass"), ("MRI", "Lung", "Level"), ("MRI", "Lung", "Mass"),
        ("CT", "Heart", "State"), ("US", "Breast", "Bleed"),
    )
]  # fmt: skip


def make_graph(*further: object) -> MatGraph:
    subsets = sorted([TARGET, *SOURCES, *further], key=lambda part: part.name)  # type: ignore[attr-defined]
    return MatGraph(tuple(subsets), FACTORS)  # type: ignore[arg-type]


def test_each_pair_comes_with_the_element_that_it_leaves_the_target_to_stand_for() -> None:
    assert find_pairs(make_graph(), TARGET, "task") == {
        ("ct-brain-level", "mri-lung-level"): ("CT", "Lung", "Level"),
        ("ct-brain-mass", "mri-lung-mass"): ("CT", "Lung", "Mass"),
    }
    assert find_pairs(make_graph(), TARGET, "area") == {}  # none of its area shows its modality


def test_pairs_may_be_of_given_kinds_between_them() -> None:
    boxes = replace(make_subset(("MRI", "Lung", "Mass")), name="boxes", kind=Kind.DETECTION)
    graph = make_graph(boxes)
    both, one = frozenset({Kind.CLASSIFICATION, Kind.DETECTION}), frozenset({Kind.CLASSIFICATION})
    assert set(find_pairs(graph, TARGET, "task", both)) == {("boxes", "ct-brain-mass")}
    assert ("boxes", "ct-brain-mass") not in find_pairs(graph, TARGET, "task", one)
    assert len(find_pairs(graph, TARGET, "task")) == 3


def test_pairs_are_of_the_given_kinds_whichever_are_preferred() -> None:
    subsets = [replace(part, name=f"{part.name}-boxes", kind=Kind.DETECTION) for part in cube().subsets]
    graph = MatGraph(tuple(sorted([*cube().subsets, *subsets], key=lambda part: part.name)), FACTORS)
    kinds = frozenset({Kind.CLASSIFICATION, Kind.DETECTION})
    for prefer in ("sharing", "hash"):
        found = list(list_combinations(graph, cube().subsets, ("task",), 1, prefer=prefer, kinds=kinds))
        assert len(found) == 27
        assert all({graph[name].kind for name in part.sources} == kinds for part in found)


def test_all_related_subsets_are_one_combination_of_the_targets_own_elements() -> None:
    (found,) = list_combinations(make_graph(), (TARGET,), ("all_related",), None)
    related = ("ct-brain-level", "ct-brain-mass", "ct-heart-state", "mri-lung-level", "mri-lung-mass")
    assert found == Combination(target=TARGET, sources=related, view=TARGET.own, direction="all_related")
    assert found.label == "all_related"


def test_targets_without_unrelated_subsets_have_no_combinations() -> None:
    graph = MatGraph(tuple(part for part in make_graph().subsets if part.name != "us-breast-bleed"), FACTORS)
    assert list(list_combinations(graph, (TARGET,), ("task", "all_related"), None)) == []


def test_every_direction_is_asked_about_after_all_related_subsets_too() -> None:
    found = list_combinations(make_graph(), (TARGET,), ("all_related", "task"), None)
    assert [part.direction for part in found] == ["all_related", "task", "task"]


def test_pairs_that_share_are_preferred_unless_a_draw_is_asked_for() -> None:
    graph = MatGraph(cube().subsets, FACTORS)
    chosen = list(list_combinations(graph, cube().subsets, ("task",), 1))
    assert chosen == list(list_combinations(graph, cube().subsets, ("task",), 1, prefer="sharing"))
    assert chosen != list(list_combinations(graph, cube().subsets, ("task",), 1, prefer="hash"))


def test_a_target_without_a_choice_keeps_none_after_it_from_sharing() -> None:
    graph = MatGraph((make_subset(("0", "0", "0")), *cube().subsets), FACTORS)
    found = list_combinations(graph, tuple(graph[name] for name in ("0-0-0", *CORNERS)), ("task",), 1)
    assert {part.target.name: part.sources for part in found} == list_pairs(plan_one(ask("sharing", *CORNERS), cube()))


def test_a_target_keeps_the_pairs_that_were_drawn_where_others_add_as_many() -> None:
    graph = MatGraph(tuple(make_subset(cell) for cell in product("ABC", "XY", "KLM")), FACTORS)
    shared = list(list_combinations(graph, (graph["a-y-l"],), ("modality", "area"), 3))
    drawn = list(list_combinations(graph, (graph["a-y-l"],), ("area",), 3, prefer="hash"))
    assert [part for part in shared if part.direction == "area"] == drawn


def test_a_direction_that_is_no_factor_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"design.directions: no factor 'taks'; .*'task'"):
        list(list_combinations(make_graph(), (TARGET,), ("taks",), None))


def test_a_question_at_a_level_is_a_place_on_its_combinations_curve() -> None:
    graph, settings = make_graph(), with_design("two_source").design
    part = next(part for part in list_combinations(graph, (TARGET,), ("task",), None) if part.view[2] == "Mass")
    plain, at_level = (pose_combination(graph, part, settings, level=level) for level in (None, 8.0))
    assert plain
    assert at_level
    assert (plain.level, plain.curve, plain.view) == (None, "", ("CT", "Lung", "Mass"))
    assert (at_level.level, at_level.curve) == (8.0, "target/task/ct-brain-mass+mri-lung-mass")
    assert at_level.id == f"{plain.id}/8"


def test_a_question_has_the_samples_of_its_design_unless_it_is_given_its_own() -> None:
    graph, settings = make_graph(), with_design("two_source", max_samples=20).design
    part = next(list_combinations(graph, (TARGET,), ("task",), 1))
    posed = [pose_combination(graph, part, settings, max_samples=most) for most in (None, 8)]
    assert [found.main.num_samples for found in posed if found and found.main] == [20, 8]


def test_with_four_factors_one_source_shows_just_the_elements_that_the_other_does_not() -> None:
    cells = [make_subset(cell) for cell in product("AB", "XY", "KL", "12")]
    graph = MatGraph(tuple(cells), (*FACTORS, "population"))
    view = ("A", "X", "K", "1")
    assert find_pairs(graph, graph["a-x-k-1"], "population") == {
        ("a-y-l-1", "b-x-k-1"): view, ("a-y-k-1", "b-x-l-1"): view, ("a-x-l-1", "b-y-k-1"): view,
    }  # fmt: skip


def test_a_source_without_training_samples_is_one_only_where_no_other_can_take_its_place() -> None:
    empty = replace(make_subset(("CT", "Heart", "Mass"), 0), name="empty")
    assert ("empty", "mri-lung-mass") not in find_pairs(make_graph(empty), TARGET, "task")
    subsets = [part for part in make_graph(empty).subsets if part.name != "ct-brain-mass"]
    assert ("empty", "mri-lung-mass") in find_pairs(MatGraph(tuple(subsets), FACTORS), TARGET, "task")


@pytest.mark.parametrize("turn", [1, -1])
def test_a_source_may_show_any_of_the_values_that_act_as_one_element(turn: int) -> None:
    tied = (("Der", "Skin"), ("CT", "Lung"))
    cells = ("Der", "Skin", "State"), ("Der", "Skin", "Level"), ("CT", "Lung", "Level"), ("CT", "Brain", "Level")
    graph = MatGraph(tuple(make_subset(cell) for cell in cells), FACTORS, tied=tied[::turn])
    assert set(find_pairs(graph, graph["der-skin-level"], "pair")) == {("ct-lung-level", "der-skin-state")}


def test_of_values_that_are_declared_to_act_as_one_a_source_shows_both() -> None:
    cells = ("Der", "Skin", "State"), ("Der", "Skin", "Level"), ("CT", "Lung", "Level"), ("US", "Skin", "State")
    graph = MatGraph(tuple(make_subset(cell) for cell in cells), FACTORS, tied=(("Der", "Skin"), ("CT", "Lung")))
    assert set(find_pairs(graph, graph["der-skin-level"], "pair")) == {("ct-lung-level", "der-skin-state")}


def test_the_pair_that_is_chosen_ranks_before_all_others() -> None:
    generator = random.Random(0)
    names = [f"s{number}" for number in range(6)]
    pairs: Pairs = {(one, other): ("CT",) for one in names for other in names if one < other}
    for _ in range(40):
        ledger = _Ledger(generator.sample(names, 2))
        for pair in pairs:
            ledger.popular[pair] = generator.randrange(3)
        ledger.enter(generator.sample(list(pairs), 2))
        before = {pair: ledger.rank([pair]) for pair in pairs}
        (chosen,) = ledger.choose(pairs, 1, ["key"])
        assert before[chosen] == min(before.values())
        assert {pair: ledger.rank([pair]) for pair in pairs} == before  # choosing enters nothing
