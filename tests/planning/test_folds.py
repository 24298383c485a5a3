"""What `folds` promises, against brute force and on catalogues that are hard for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise, product

import pytest
from hypothesis import given, settings

from cg_lab.arms import Arm
from cg_lab.catalog import Catalog
from cg_lab.errors import UserError
from cg_lab.mat import Kind, Subset
from cg_lab.planning.designs import folds
from cg_lab.planning.folding import fold
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Plan
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

SETTINGS = folds.Settings(name="folds", kinds=(Kind.CLASSIFICATION,), max_samples=64, folds=None)


def group_twins(graph: MatGraph) -> list[set[str]]:
    groups: list[set[str]] = []
    for subset in graph.subsets:
        joined = [group for group in groups if any(are_twins(graph, subset, graph[name]) for name in group)]
        groups = [group for group in groups if group not in joined] + [{subset.name}.union(*joined)]
    return groups


def shows_all(graph: MatGraph, target: Subset, training: set[str]) -> bool:
    """Whether a training set has samples that show each own element of a target."""
    return all(
        any(value in graph[name].elements[place] and graph[name].num_train for name in training)
        for place, value in enumerate(target.own)
    )


def list_coverable(graph: MatGraph) -> list[set[str]]:
    """Groups of what counts as the same whose elements are all shown without them."""
    return [
        group
        for group in group_twins(graph)
        if all(shows_all(graph, graph[name], {*graph.index} - group) for name in group)
    ]


@settings(max_examples=40, deadline=None)
@given(graph=graphs(sizes=(2, 12), values=(3, 3, 3, 2)))
def test_every_coverable_target_is_asked_once_without_itself_and_with_its_elements_shown(graph: MatGraph) -> None:
    coverable = {name for group in list_coverable(graph) for name in group}
    asked = {name for name in coverable if graph[name].num_test}
    targets = tuple(subset for subset in graph.subsets if subset.num_test)
    if not coverable:
        with pytest.raises(UserError, match="every subset has an element that no other shows"):
            list(folds.find(graph, targets, SETTINGS))
        return
    found = list(folds.find(graph, targets, SETTINGS))
    assert sorted(question.target for question in found) == sorted(asked)
    for question in found:
        target, related = graph[question.target], set(question.related)
        assert not any(are_twins(graph, target, graph[name]) for name in related)
        assert shows_all(graph, target, related)
        budgets = {part.num_samples for part in question.trainings if part.arm is not Arm.CEILING}
        assert len(budgets) == 1
        arms = {part.arm for part in question.trainings}
        assert (Arm.UNRELATED not in arms) == ("no unrelated arm" in {fact.name for fact in question.facts})
    mixtures = {(question.direction, question.main) for question in found}
    assert len(mixtures) == len({question.direction for question in found})


def keeps_all(graph: MatGraph, held_out: set[str]) -> bool:
    """Whether the rest shows the held-out elements, and no element is gone that two groups have samples of."""
    groups = group_twins(graph)
    for place, value in {(place, value) for name in graph.index for place, value in list_elements(graph[name])}:
        holders = {subset.name for subset in graph.subsets if subset.num_train and value in subset.elements[place]}
        if holders <= held_out and sum(bool(group & holders) for group in groups) > 1:
            return False
    return all(shows_all(graph, graph[name], {*graph.index} - held_out) for name in held_out)


def list_elements(subset: Subset) -> list[tuple[int, str]]:
    return [(place, value) for place, values in enumerate(subset.elements) for value in values]


def has_partition(graph: MatGraph, num_folds: int) -> bool:
    """Try every way to deal the groups to folds, none empty, that differ by no more than the largest group."""
    groups = list_coverable(graph)
    most = max((len(group) for group in groups), default=0)
    for dealt in product(range(num_folds), repeat=len(groups)):
        held_out: list[set[str]] = [set() for _ in range(num_folds)]
        for number, group in zip(dealt, groups, strict=True):
            held_out[number] |= group
        sizes = [len(names) for names in held_out]
        if min(sizes) and max(sizes) - min(sizes) <= most and all(keeps_all(graph, names) for names in held_out):
            return True
    return False


@settings(max_examples=40, deadline=None)
@given(graph=graphs(sizes=(2, 6), values=(3, 2, 2, 2)))
def test_a_partition_is_found_exactly_where_there_is_one(graph: MatGraph) -> None:
    number_of_groups = len(list_coverable(graph))
    fewest = next((number for number in range(2, number_of_groups + 1) if has_partition(graph, number)), None)
    folding = fold(graph, None)
    assert (folding.smallest if folding else 0) == (fewest or number_of_groups)
    assert (fold(graph, 3) is not None) == (fewest is not None and fewest <= 3 and has_partition(graph, 3))
    if folding:
        assert (folding.pairs, folding.pairs_covered) == count_pairs(graph, folding.folds)


def count_pairs(graph: MatGraph, held_out: tuple[tuple[str, ...], ...]) -> tuple[int, int]:
    """Pairs of own elements that another group has samples of, and those that the rest of the fold has samples of."""
    group_of = {name: group for group in group_twins(graph) for name in group}
    known = covered = 0
    for names in held_out:
        for name in names:
            for places in combinations(range(len(graph.factors)), 2):
                showing = {
                    other.name
                    for other in graph.subsets
                    if other.num_train and all(graph[name].own[place] in other.elements[place] for place in places)
                }
                known += bool(showing - group_of[name])
                covered += bool(showing - {*names})
    return known, covered


def uneven_cube(num_train: int) -> Catalog:
    """Two values a factor, so that each subset's unrelated pool is the opposite corner; one corner is small."""
    subsets = [make_subset(cell) for cell in product("AB", "XY", "KL")]
    return make_catalog([*subsets[:-1], replace(subsets[-1], num_train=num_train)])


def list_related(plan: Plan) -> Counter[tuple[str | None, int | None]]:
    """Distinct fine-tunes of the related arm by fold and seed."""
    found = {
        (plan.contrast_by_id[cell.contrast].direction, cell.seed, cell.finetune_job)
        for cell in plan.cells
        if cell.arm is Arm.RELATED
    }
    return Counter((direction, seed) for direction, seed, _ in found)


@pytest.mark.parametrize("num_train", [0, 3, 30, 40])
def test_each_fold_and_seed_is_one_fine_tune_whatever_the_unrelated_pools(num_train: int) -> None:
    plan = plan_one(with_design("folds"), uneven_cube(num_train))
    assert len(plan.contrasts) == 8
    assert list_related(plan) == dict.fromkeys(product(("fold 1 of 2", "fold 2 of 2"), (0, 1)), 1)


def test_the_published_study_keeps_its_jobs() -> None:
    assert_same_jobs("phantom_folds")


def ask_about(target: str, num_train: int) -> tuple[set[Arm], dict[str, str], Contrast]:
    plan = plan_one(with_design("folds"), uneven_cube(num_train))
    contrast = next(contrast for contrast in plan.contrasts if contrast.target == target)
    arms = {cell.arm for cell in plan.cells if cell.contrast == contrast.id}
    return arms, {fact.name: fact.value for fact in contrast.facts}, contrast


def test_a_pool_that_is_nearly_empty_costs_its_target_the_unrelated_arm_and_the_others_nothing() -> None:
    arms, facts, contrast = ask_about("a-x-k", num_train=3)
    assert Arm.UNRELATED not in arms
    assert facts["no unrelated arm"] == "3 samples share no element with it, where the fold's one fine-tune has 40"
    assert contrast.unrelated == ("b-y-l",)
    arms, facts, contrast = ask_about("a-x-l", num_train=3)
    assert Arm.UNRELATED in arms
    assert "no unrelated arm" not in facts
    assert contrast.main is not None
    assert contrast.main.num_samples == 40


def test_a_pool_of_some_size_sets_the_budget_of_its_fold_and_of_no_other() -> None:
    plan = plan_one(with_design("folds"), uneven_cube(30))
    fold_of = {contrast.target: contrast.direction for contrast in plan.contrasts}
    for contrast in plan.contrasts:
        is_lowered = contrast.direction == fold_of["a-x-k"]
        assert contrast.main is not None
        assert contrast.main.num_samples == (30 if is_lowered else 40)
        assert any(fact.value.startswith("30 of 64, so") for fact in contrast.facts) == is_lowered


@pytest.mark.parametrize("num_train", [0, 3, 30])
def test_a_question_of_a_fold_has_the_same_jobs_whichever_others_are_asked(num_train: int) -> None:
    whole = plan_one(with_design("folds"), uneven_cube(num_train))
    for target in ("a-x-k", "a-y-l"):
        alone = plan_one(replace(with_design("folds"), targets=(target,)), uneven_cube(num_train))
        cells = {cell.key: cell for cell in whole.cells if plan_target(whole, cell.contrast) == target}
        assert {cell.key: cell for cell in alone.cells} == cells


def plan_target(plan: Plan, contrast: str) -> str:
    return plan.contrast_by_id[contrast].target


def test_a_pool_that_all_targets_of_a_fold_share_is_filled_as_it_is() -> None:
    plan = plan_one(with_design("folds", max_samples=1536), cube())
    assert {contrast.main.num_samples for contrast in plan.contrasts if contrast.main} == {8 * 40}
    assert {cell.arm for cell in plan.cells} >= {Arm.UNRELATED}


@pytest.mark.parametrize(
    ("pools", "budget"),
    [
        ([], 64),
        ([0, 0], 64),
        ([90, 100], 64),
        ([20, 20], 20),
        ([1, 30, 31, 60], 30),
        ([16, 32, 40], 16),
        ([15, 32, 40], 32),
        ([15, 40], 40),
    ],
)
def test_pools_of_less_than_half_the_middle_one_do_not_set_the_budget(pools: list[int], budget: int) -> None:
    assert folds.choose_budget(pools, 64) == budget


def test_a_chain_of_many_subsets_is_folded() -> None:
    """Subset i shares an element with subset i + 1 only, so that each colour forces the next."""
    subsets = [
        replace(make_subset((f"r{(number + 1) // 2}", f"c{number // 2}")), name=f"s{number:05d}")
        for number in range(3_000)
    ]
    folding = fold(MatGraph(tuple(subsets), ("one", "two")), None)
    assert folding is not None
    assert folding.always_trained == ("s00000", "s02999")
    assert sorted(len(names) for names in folding.folds) == [1499, 1499]
    for names in folding.folds:
        numbers = sorted(int(name[1:]) for name in names)
        assert all(second - first > 1 for first, second in pairwise(numbers))


def test_many_subsets_that_count_as_the_same_are_one_group() -> None:
    subsets = tuple(replace(make_subset(("A", "X")), name=f"s{number:05d}") for number in range(2_000))
    assert MatGraph(subsets, ("one", "two")).list_twin_groups() == [2**2_000 - 1]


def test_the_one_subset_that_can_be_held_out_is_a_fold_of_its_own() -> None:
    catalog = make_catalog([make_subset(cell) for cell in ((("A", "X", "K")), ("A", "Y", "L"), ("B", "X", "K"))])
    plan = plan_one(with_design("folds"), catalog)
    assert [contrast.id for contrast in plan.contrasts] == ["a-x-k/fold1of1"]
    assert [part.target for part in plan.skipped] == ["a-y-l", "b-x-k"]


def test_more_folds_than_groups_are_refused_with_how_many_there_are() -> None:
    pairs = [
        replace(make_subset(cell), name=f"{'-'.join(cell)}{copy}") for cell in product("AB", "XY") for copy in "12"
    ]
    graph = MatGraph(tuple(sorted(pairs, key=lambda subset: subset.name)), ("one", "two"))
    with pytest.raises(UserError, match="8 subsets can be held out at all, in 4 groups that count as the same; give"):
        list(folds.find(graph, graph.subsets, replace(SETTINGS, folds=5)))
