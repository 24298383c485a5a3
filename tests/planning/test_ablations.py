"""Arms that take a combination apart: sources alone, and as many sources that leave an element unshown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cg_lab.arms import Arm
from cg_lab.catalog import Catalog, Overlap
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.mat import Kind, Subset
from cg_lab.planning.ablations import _find_level, _list_missing, _list_replacements, find_mismatched
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Plan, Training
from tests.planning.cases import cube, make_catalog, make_subset, plan_one, with_design

ROW = {"target": "a-x-k", "sources": ["a-y-k", "b-x-k"], "direction": "task"}
SQUARES = "targets=[ct-brain-mass,us-breast-mass,mri-kidney-bleed,xray-lung-bleed]"
"""Opposite corners of two squares."""


def plan_row(*subsets: Subset, row: dict[str, Any] = ROW, design: str = "two_source", **more: Any) -> Plan:
    settings = {key: more.pop(key) for key in ("max_samples", "target_samples", "shots") if key in more}
    catalog = {key: more.pop(key) for key in ("overlaps",) if key in more}
    study = replace(with_design(design, rows=[row], **{"max_samples": 40, **settings}), seeds=(0,), **more)
    return plan_one(study, make_catalog(list(subsets), **catalog) if subsets else cube())


def trainings(plan: Plan, arm: Arm) -> list[Training]:
    return [part for contrast in plan.contrasts for part in contrast.trainings if part.arm is arm]


def with_sizes(**sizes: int) -> list[Subset]:
    """Give the cube with other numbers of training samples; `a_y_k` stands for a-y-k."""
    named = {name.replace("_", "-"): size for name, size in sizes.items()}
    return [replace(part, num_train=named.get(part.name, part.num_train)) for part in cube().subsets]


def test_each_source_is_trained_on_alone_at_the_budget_of_the_question() -> None:
    plan = plan_row()
    assert [(part.variant, part.subsets, part.num_samples) for part in trainings(plan, Arm.ALONE)] == [
        ("a-y-k", ("a-y-k",), 40), ("b-x-k", ("b-x-k",), 40),
    ]  # fmt: skip
    keys = {cell.key for cell in plan.cells if cell.arm is Arm.ALONE}
    assert keys == {f"{plan.contrasts[0].id}/alone/{name}/seed0" for name in ("a-y-k", "b-x-k")}


def test_a_source_with_too_few_samples_is_in_no_arm_alone_and_the_budget_stays() -> None:
    plan = plan_row(*with_sizes(a_y_k=39))
    assert [part.variant for part in trainings(plan, Arm.ALONE)] == ["b-x-k"]
    assert {part.num_samples for arm in (Arm.RELATED, Arm.UNRELATED, Arm.ALONE) for part in trainings(plan, arm)} == {
        40
    }
    plan = plan_row(max_samples=64)
    assert not trainings(plan, Arm.ALONE)
    assert [part.num_samples for part in trainings(plan, Arm.RELATED)] == [64]


@pytest.mark.parametrize(("sources", "is_apart"), [(["a-y-k"], False), (["a-y-k", "b-x-k", "a-x-l"], True),
                                                   (["a-y-k", "b-x-k", "a-x-l", "a-x-m"], False)])  # fmt: skip
def test_one_source_and_more_sources_than_factors_are_not_taken_apart(sources: list[str], is_apart: bool) -> None:
    plan = plan_row(row={"target": "a-x-k", "sources": sources})
    assert len(trainings(plan, Arm.ALONE)) == (len(sources) if is_apart else 0)
    assert bool(trainings(plan, Arm.MISMATCHED)) is is_apart


@pytest.mark.parametrize("design", ["all_related", "multi_task", "disrupt", "folds", "crossmed", "coverage"])
def test_designs_without_named_sources_have_no_such_arms(design: str) -> None:
    plan = plan_one(replace(with_design(design, max_samples=16), seeds=(0,)), cube())
    assert not trainings(plan, Arm.ALONE)
    assert not trainings(plan, Arm.MISMATCHED)


def test_arms_leave_them_out_at_will() -> None:
    plan = plan_row(arms=(Arm.RELATED, Arm.ALONE))
    assert {cell.arm for cell in plan.cells} == {Arm.RELATED, Arm.ALONE}
    plan = plan_row(arms=(Arm.ZERO_SHOT, Arm.UNRELATED, Arm.RELATED))
    assert {part.arm for part in plan.contrasts[0].trainings} == {Arm.UNRELATED, Arm.RELATED}


def test_a_mismatched_set_shows_all_but_one_element_and_keeps_a_source() -> None:
    (training,) = trainings(plan_row(), Arm.MISMATCHED)
    (kept,) = {*training.subsets} & {"a-y-k", "b-x-k"}
    (new,) = {*training.subsets} - {kept}
    left_out = {"a-y-k": "area", "b-x-k": "modality"}[kept]
    assert training.variant == left_out
    assert new == "c-z-k"  # the only one of the task that shares nothing else with the square


def test_a_mismatched_set_is_of_the_targets_task_whatever_the_sources_share() -> None:
    plan = plan_row(row={"target": "a-x-k", "sources": ["a-x-l", "a-y-k"], "direction": "modality"})
    (training,) = trainings(plan, Arm.MISMATCHED)
    assert "a-y-k" in training.subsets
    assert training.variant == "area"
    assert all(name.endswith("-k") for name in training.subsets)


def test_the_task_is_the_last_factor_where_none_has_that_name() -> None:
    catalog = replace(cube(), factors=("organ", "view", "question"))
    (training,) = trainings(
        plan_one(replace(with_design("two_source", max_samples=40, rows=[ROW])), catalog), Arm.MISMATCHED
    )
    assert all(name.endswith("-k") for name in training.subsets)
    assert training.variant in {"organ", "view"}


def test_a_source_is_replaced_by_one_that_gives_as_many_samples() -> None:
    assert trainings(plan_row(*with_sizes(c_z_k=20)), Arm.MISMATCHED)[0].subsets[1] == "c-z-k"  # half of 40
    assert "c-z-k" not in trainings(plan_row(*with_sizes(c_z_k=19)), Arm.MISMATCHED)[0].subsets
    poor = {f"{cell}_k": 1 for cell in ("a_z", "b_y", "b_z", "c_x", "c_y", "c_z")}
    assert not trainings(plan_row(*with_sizes(**poor)), Arm.MISMATCHED)
    few = with_sizes(**poor, a_y_k=1, b_x_k=1)
    assert [part.num_samples for part in trainings(plan_row(*few), Arm.MISMATCHED)] == [2]


def test_a_source_is_replaced_by_one_of_its_kind() -> None:
    def boxes(name: str) -> Subset:
        subset = make_subset(tuple(name.upper().split("-")))
        return replace(subset, name=f"{name}-boxes", kind=Kind.DETECTION, num_options=0, labels=())

    subsets = (*cube().subsets, boxes("b-x-k"), boxes("c-z-k"))
    row = ROW | {"sources": ["a-y-k", "b-x-k-boxes"]}
    (training,) = trainings(plan_row(*subsets, row=row, design="cross_kind", target_samples=0), Arm.MISMATCHED)
    kinds = sorted(name.endswith("boxes") for name in training.subsets)
    assert kinds == [False, True]


@pytest.mark.parametrize("twins", ["shared", "equal"])
def test_a_replacement_shows_no_value_of_the_element_that_is_left_out(twins: str) -> None:
    tagged = [
        replace(part, elements=(("C",), ("Z", "X"), ("K",))) if part.name == "c-z-k" else part
        for part in cube().subsets
    ]
    (training,) = trainings(plan_row(*tagged, twins=twins), Arm.MISMATCHED)
    assert training.variant == "area"
    assert "c-z-k" not in training.subsets


def test_copies_of_the_targets_tests_are_in_no_mismatched_set() -> None:
    overlap = Overlap(train="c-z-k", test="a-x-k", count=2, what="groups")
    (training,) = trainings(plan_row(*cube().subsets, overlaps=(overlap,)), Arm.MISMATCHED)
    assert "c-z-k" not in training.subsets
    (training,) = trainings(plan_row(*cube().subsets, overlaps=(replace(overlap, count=0),)), Arm.MISMATCHED)
    assert "c-z-k" in training.subsets


def test_target_data_are_added_to_a_source_alone_as_to_all_others() -> None:
    study = replace(with_design("target_curve", max_samples=40, target_samples=[8]), targets=("a-x-k",), seeds=(0,))
    plan = plan_one(study, cube())
    cells = [cell for cell in plan.cells if cell.arm in {Arm.ALONE, Arm.MISMATCHED}]
    assert {cell.arm for cell in cells} == {Arm.ALONE, Arm.MISMATCHED}
    for cell in cells:
        assert (cell.proof.num_train, cell.proof.target_samples) == (48, 8)


def read_squares(*overrides: str) -> tuple[Plan, Catalog]:
    study = read_study([SQUARES, *overrides])
    catalog = read_catalog(study.data)
    return plan_one(study, catalog), catalog


def test_two_squares_need_at_most_twelve_fine_tunes_a_question_with_all_arms() -> None:
    plan, _ = read_squares()
    assert len(plan.contrasts) == 4
    assert {Arm.ALONE, Arm.MISMATCHED} < {cell.arm for cell in plan.cells}
    assert len(plan.finetunes) <= 12 * len(plan.contrasts)


def test_both_corners_of_a_square_share_the_pair_its_sources_alone_and_the_mismatched_set() -> None:
    plan, _ = read_squares("seeds=[0,1]")
    jobs: dict[Arm, dict[str, set[str | None]]] = {}
    for cell in plan.cells:
        target = plan.contrast_by_id[cell.contrast].target
        jobs.setdefault(cell.arm, {}).setdefault(target, set()).add(cell.finetune_job)
    for arm in (Arm.RELATED, Arm.ALONE, Arm.MISMATCHED, Arm.SHUFFLED):
        assert jobs[arm]["ct-brain-mass"] == jobs[arm]["us-breast-mass"]
        assert jobs[arm]["mri-kidney-bleed"] == jobs[arm]["xray-lung-bleed"]
    left_out = {
        contrast.target: part.variant
        for contrast in plan.contrasts
        for part in contrast.trainings
        if part.arm is Arm.MISMATCHED
    }
    assert {left_out["ct-brain-mass"], left_out["us-breast-mass"]} == {"modality", "area"}


def test_a_source_alone_is_the_ceiling_of_the_target_that_it_is() -> None:
    study = read_study(["targets=[ct-brain-mass,us-breast-mass,ct-breast-mass,us-brain-mass]", "seeds=[0,1]"])
    plan = plan_one(study, read_catalog(study.data))
    alone = {cell.finetune_job for cell in plan.cells if cell.arm is Arm.ALONE}
    ceilings = {cell.finetune_job for cell in plan.cells if cell.arm is Arm.CEILING}
    assert len(ceilings) == 4
    assert ceilings < alone


def test_more_seeds_add_only_new_jobs() -> None:
    few, catalog = read_squares("seeds=[0]")
    more = plan_one(read_study([SQUARES, "seeds=[0,1,2,3]"]), catalog)
    for old, new in ((few.finetunes, more.finetunes), (few.evals, more.evals)):
        assert {job.id for job in old} < {job.id for job in new}
    found = {cell.key: (cell.finetune_job, cell.eval_job) for cell in more.cells}
    assert all(found[cell.key] == (cell.finetune_job, cell.eval_job) for cell in few.cells)


def test_subsets_with_so_many_samples_are_those_that_have_them() -> None:
    subsets = tuple(make_subset(("A", "B", f"{number:02}"), number) for number in (0, 1, 5, 8, 13))
    graph = MatGraph(subsets, ("a", "b", "c"))
    for least in range(20):
        assert graph.list_members(graph.having(least)) == tuple(part for part in subsets if part.num_train >= least)


def test_a_mismatched_set_shows_the_other_elements_also_where_no_source_stays() -> None:
    graph = MatGraph(cube().subsets, ("modality", "area", "task"))
    found = find_mismatched(graph, graph["a-x-k"], ("A", "X", "K"), ("a-y-l", "b-x-l"), 40)
    assert found
    cells = [name.split("-") for name in found.subsets]
    kept, left_out = (0, 1) if found.variant == "area" else (1, 0)
    assert len(cells) == 2
    assert [cell[kept] for cell in cells].count("ax"[kept]) == 1  # no more of them than it takes
    assert "ax"[left_out] not in {cell[left_out] for cell in cells}
    assert {cell[2] for cell in cells} == {"k"}


FACTORS = ("modality", "area", "task")


def find_in_cube(target: str, *related: str, factors: tuple[str, ...] = FACTORS) -> Training:
    graph = MatGraph(cube().subsets, factors)
    found = find_mismatched(graph, graph[target], graph[target].own, related, 40)
    assert found
    return found


def test_the_task_may_be_any_factor() -> None:
    found = find_in_cube("a-x-k", "a-y-k", "a-x-l", factors=("task", "area", "modality"))
    assert found.variant in {"area", "modality"}
    assert {name[0] for name in found.subsets} == {"a"}


@pytest.mark.parametrize(
    ("target", "related", "far"), [("a-x-k", ("a-y-k", "b-x-k"), "c-z-k"), ("c-y-k", ("b-y-k", "c-z-k"), "a-x-k")]
)
def test_a_replacement_shares_nothing_with_the_sources_if_it_can(
    target: str, related: tuple[str, ...], far: str
) -> None:
    assert {*find_in_cube(target, *related).subsets} - {*related} == {far}


def test_an_element_that_no_source_shows_is_not_the_one_that_is_left_out() -> None:
    found = find_in_cube("a-x-k", "a-y-k", "c-y-k")
    assert found.variant == "modality"
    assert found.subsets != ("a-y-k", "c-y-k")


def test_missing_are_the_elements_that_none_who_stays_shows_but_for_the_one_left_out() -> None:
    graph = MatGraph(cube().subsets, FACTORS)
    view, holding = ("A", "X", "K"), graph.holding
    assert _list_missing(graph, view, 0, ()) == (holding(1, "X"), holding(2, "K"))
    assert _list_missing(graph, view, 0, ("b-x-l",)) == (holding(2, "K"),)
    assert _list_missing(graph, view, 2, ("b-y-k",)) == (holding(0, "A"), holding(1, "X"))


def test_of_two_elements_that_act_as_one_both_are_left_out() -> None:
    graph = MatGraph(cube().subsets, FACTORS, tied=(("A", "X"),))
    view, holding = ("A", "X", "K"), graph.holding
    assert _list_missing(graph, view, 0, ()) == _list_missing(graph, view, 1, ()) == (holding(2, "K"),)
    assert _list_missing(graph, view, 2, ()) == (holding(0, "A"), holding(1, "X"))


def test_who_can_give_as_many_samples_is_listed_for_the_largest_source_first() -> None:
    graph = MatGraph(tuple(with_sizes(a_y_k=10, b_x_k=100, c_z_k=20)), FACTORS)
    assert _list_replacements(graph, ("a-y-k", "b-x-k"), (), 40) == [graph.having(30), graph.having(10)]
    assert _list_replacements(graph, ("a-y-k", "b-x-k"), ("b-x-k",), 40) == [graph.having(10)]


@pytest.mark.parametrize(
    ("sizes", "budget", "level"), [([40, 40], 40, 20), ([100, 10], 40, 30), ([30, 21], 41, 21), ([3, 5], 100, 5)]
)
def test_the_level_is_the_most_that_one_gives_when_samples_are_spread_evenly(
    sizes: list[int], budget: int, level: int
) -> None:
    assert _find_level(sizes, budget) == level
