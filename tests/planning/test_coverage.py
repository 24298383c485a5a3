"""What `coverage` promises, against brute force and on catalogues with tags."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise, product

import pytest
from hypothesis import given, settings

from cg_lab.arms import Arm
from cg_lab.mat import Kind, Subset
from cg_lab.planning.designs import coverage
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast
from tests.planning.cases import (
    are_twins,
    assert_same_jobs,
    cube,
    graphs,
    make_catalog,
    make_subset,
    plan_one,
    with_design,
)

SETTINGS = coverage.Settings(
    name="coverage", kinds=(Kind.CLASSIFICATION,), max_samples=64, factors=("a", "b"), values=(2, 3), shown=(1, 2)
)


def find_all(graph: MatGraph) -> list[Contrast]:
    return list(coverage.find(graph, tuple(subset for subset in graph.subsets if subset.num_test), SETTINGS))


def tell(question: Contrast) -> dict[str, str]:
    return {fact.name: fact.value for fact in question.facts}


def shows_once(subset: Subset, place: int, values: tuple[str, ...]) -> bool:
    return len({*subset.elements[place]} & {*values}) == 1


def list_values(graph: MatGraph, place: int) -> list[str]:
    return sorted({value for subset in graph.subsets for value in subset.elements[place]})


@settings(max_examples=40, deadline=None)
@given(graph=graphs(sizes=(4, 18), values=(3, 3, 2, 1)))
def test_every_question_shows_each_value_of_its_grid_k_times_and_keeps_its_target_out(graph: MatGraph) -> None:
    for question in find_all(graph):
        target, related = graph[question.target], [graph[name] for name in question.related]
        size, level = int(tell(question)["values"]), int(question.level or 0)
        assert not any(are_twins(graph, target, subset) for subset in related)
        assert all(value in target.elements[place] for place, value in enumerate(question.view))
        assert all(
            value in subset.elements[place + 2] for subset in related for place, value in enumerate(question.view[2:])
        )
        assert len({*question.related}) == size * level
        assert question.main is not None
        assert all(subset.num_train for subset in related)
        assert question.main.num_samples >= size * level
        for place in (0, 1):
            assert any(
                {Counter(value for subset in related for value in subset.elements[place])[value] for value in values}
                == {level}
                and all(shows_once(subset, place, values) for subset in [target, *related])
                and question.view[place] in values
                for values in combinations(list_values(graph, place), size)
            )


@settings(max_examples=40, deadline=None)
@given(graph=graphs(sizes=(4, 18), values=(3, 3, 2, 1)))
def test_each_curve_has_one_target_one_budget_and_one_question_a_level(graph: MatGraph) -> None:
    curves: dict[str, list[Contrast]] = {}
    for question in find_all(graph):
        curves.setdefault(question.curve, []).append(question)
    for questions in curves.values():
        (size,) = {int(tell(question)["values"]) for question in questions}
        (lacking,) = {tell(question).get("levels left out", "") for question in questions}
        levels = [int(question.level or 0) for question in questions]
        left_out = [int(text.split()[0]) for text in lacking.split("; ") if text]
        assert sorted(levels + left_out) == [level for level in (1, 2) if level < size]
        assert (
            len(
                {
                    (question.target, question.view, question.main and question.main.num_samples)
                    for question in questions
                }
            )
            == 1
        )
        for fewer, more in pairwise(questions):
            assert {*fewer.related} < {*more.related}
    assert len({question.id for questions in curves.values() for question in questions}) == sum(
        map(len, curves.values())
    )


def has_grid(graph: MatGraph, fixed: tuple[str, ...], size: int) -> bool:
    """Try all rows and columns: whether each cell has a subset that shows no other row or column."""
    inside = [
        subset
        for subset in graph.subsets
        if all(value in subset.elements[place + 2] for place, value in enumerate(fixed))
    ]
    return any(
        all(
            any(
                row in subset.elements[0]
                and column in subset.elements[1]
                and shows_once(subset, 0, rows)
                and shows_once(subset, 1, columns)
                for subset in inside
            )
            for row, column in product(rows, columns)
        )
        for rows in combinations(list_values(graph, 0), size)
        for columns in combinations(list_values(graph, 1), size)
    )


@settings(max_examples=40, deadline=None)
@given(graph=graphs(sizes=(4, 18), values=(3, 3, 2, 1), is_filled=True))
def test_the_diagonal_of_a_grid_is_asked_about_exactly_where_there_is_a_grid(graph: MatGraph) -> None:
    """With equal subsets as the only twins, which stand in one cell, no level is left out."""
    graph = MatGraph(graph.subsets, graph.factors, strict=False)
    curves = {(question.target, question.view[2:], tell(question)["values"]) for question in find_all(graph)}
    found = Counter((fixed, int(size)) for _, fixed, size in curves)
    wanted = {
        (fixed, size): size
        for fixed in product(*(list_values(graph, place) for place in range(2, len(graph.factors))))
        for size in (2, 3)
        if has_grid(graph, fixed, size)
    }
    assert found == wanted


def test_a_target_in_grids_of_several_fixed_elements_has_a_curve_in_each_and_stands_for_these() -> None:
    """Four subsets with five tags each: their five grids hold ten targets out, so that some stand in several."""
    tags = ("K", "L", "M", "N", "O")
    subsets = [
        replace(make_subset((*cell, "K")), elements=((cell[0],), (cell[1],), tags)) for cell in product("AB", "XY")
    ]
    graph = MatGraph(tuple(subsets), ("a", "b", "c"), strict=False)
    found = find_all(graph)
    assert len(found) == 10
    assert Counter((question.curve, question.level) for question in found).most_common(1)[0][1] == 1
    assert {question.view[2] for question in found} == {*tags}
    assert all(question.fully_covered for question in found)


def test_a_number_of_values_that_is_given_twice_is_asked_once() -> None:
    once, twice = (plan_one(with_design("coverage", values=values), cube()) for values in ([2, 3], [3, 2, 3]))
    assert once.contrasts == twice.contrasts
    graph = MatGraph(cube().subsets, ("a", "b", "c"))
    found = list(coverage.find(graph, graph.subsets, replace(SETTINGS, values=(3, 3), shown=(1, 1))))
    assert len({question.id for question in found}) == len(found) == 9


def test_fixed_elements_that_read_the_same_are_told_apart() -> None:
    """X and r-r-a, X-r and r-a, X-r-r and a: of three squares two at least hold the same diagonal out."""
    tags = (("X", "X-r", "X-r-r"), ("a", "r-a", "r-r-a"))
    square = [make_subset((*cell, "X", "a")) for cell in product("AB", "YZ")]
    subsets = tuple(replace(subset, elements=(*subset.elements[:2], *tags)) for subset in square)
    found = find_all(MatGraph(subsets, ("a", "b", "c", "d"), strict=False))
    assert len({question.id for question in found}) == len({question.curve for question in found}) == len(found) == 18


def test_a_subset_that_counts_as_two_rows_fills_no_cell_of_a_grid_of_both() -> None:
    whole = [make_subset(cell) for cell in product("AB", "XY", "K")]
    both = replace(whole[0], elements=(("A", "B"), ("X",), ("K",)))
    graph = MatGraph((both, *whole[1:]), ("a", "b", "c"), strict=False)
    assert find_all(graph) == []
    assert len(find_all(MatGraph((both, replace(whole[0], name="z"), *whole[1:]), ("a", "b", "c"), strict=False))) == 2


def tagged_square() -> list[Subset]:
    """Three rows and columns; the rows A and B count as S too, so that their subsets of a column are twins."""
    return [
        replace(subset, elements=(("C",) if subset.own[0] == "C" else (subset.own[0], "S"), *subset.elements[1:]))
        for subset in (make_subset(cell) for cell in product("ABC", "XYZ", "K"))
    ]


def test_a_level_that_would_train_on_a_twin_is_left_out_and_told() -> None:
    study = with_design("coverage", values=[3], shown=[1, 2])
    plan = plan_one(study, make_catalog(tagged_square()))
    levels: dict[str, list[float | None]] = {}
    for contrast in plan.contrasts:
        levels.setdefault(contrast.target, []).append(contrast.level)
    assert sorted(levels.values(), key=len) == [[1], [1, 2]]
    for contrast in plan.contrasts:
        is_short = levels[contrast.target] == [1]
        assert tell(contrast).get("levels left out", "").startswith("2 (it would train on") == is_short
    assert len(plan.skipped) == 9 - len(levels)
    assert all("never free of subsets that count as it" in part.reason for part in plan.skipped)
    equal = plan_one(replace(study, twins="equal"), make_catalog(tagged_square()))
    assert [contrast.level for contrast in equal.contrasts] == [1, 2] * 3


def test_a_level_with_fewer_samples_than_combinations_is_left_out_and_told() -> None:
    plan = plan_one(with_design("coverage", values=[3], shown=[1, 2], max_samples=5), cube())
    assert {contrast.level for contrast in plan.contrasts} == {1}
    assert {tell(contrast)["levels left out"] for contrast in plan.contrasts} == {
        "2 (it has 6 combinations and 5 samples)"
    }
    assert all(contrast.fully_covered for contrast in plan.contrasts)


def test_a_subset_without_training_samples_fills_no_cell() -> None:
    square = [make_subset(cell) for cell in product("AB", "XY", "K")]
    for empty in square:
        subsets = [replace(subset, num_train=0) if subset is empty else subset for subset in square]
        assert find_all(MatGraph(tuple(subsets), ("a", "b", "c"))) == []


def test_the_published_study_keeps_its_jobs() -> None:
    assert_same_jobs("phantom_coverage")


@pytest.mark.parametrize("twins", ["shared", "equal"])
def test_a_plan_asks_about_each_level_of_a_curve_once(twins: str) -> None:
    """Over all designs' usual catalogue with tags, as it comes out of the planner."""
    subsets = [
        replace(subset, elements=(*subset.elements[:2], (subset.own[2], "S"))) if number % 3 else subset
        for number, subset in enumerate(cube().subsets)
    ]
    plan = plan_one(replace(with_design("coverage"), twins=twins), make_catalog(subsets))  # type: ignore[arg-type]
    counts = Counter((contrast.curve, contrast.level) for contrast in plan.contrasts)
    assert {*counts.values()} == {1}
    assert {cell.arm for cell in plan.cells} >= {Arm.RELATED, Arm.UNRELATED}
