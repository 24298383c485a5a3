"""Which jobs are meant by targets, arms, designs, states and the first characters of ids."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cg_lab.arms import Arm
from cg_lab.errors import UserError
from cg_lab.execution.selection import (
    Selection,
    State,
    check_selection,
    count_states,
    find_job,
    name_cell,
    select_cells,
    select_jobs,
)
from cg_lab.planning.plan import Cell, Plan
from cg_lab.tracking.run_names import name_finetune_run
from tests.planning.cases import cube, plan_one, with_design


@pytest.fixture(scope="module")
def plan() -> Plan:
    study = with_design("two_source", directions=["task"], combinations=1)
    return plan_one(replace(study, targets=("a-x-k", "b-y-k"), seeds=(0,)), cube())


@pytest.fixture(scope="module")
def states(plan: Plan) -> dict[str, State]:
    done = {job.id: State.DONE for job in plan.finetunes}
    return done | {job.id: State.OPEN for job in plan.evals}


def target_of(plan: Plan, cell: Cell) -> str:
    return plan.contrast_by_id[cell.contrast].target


def test_an_empty_part_leaves_all_and_each_part_takes_away(plan: Plan) -> None:
    assert select_cells(plan, Selection()) == plan.cells
    of_target = select_cells(plan, Selection(targets=("a-x-k",)))
    assert of_target == tuple(cell for cell in plan.cells if target_of(plan, cell) == "a-x-k")
    (cell,) = select_cells(plan, Selection(targets=("a-x-k",), arms=("related",), designs=("two_source",)))
    assert (cell.arm, target_of(plan, cell)) == (Arm.RELATED, "a-x-k")
    assert select_cells(plan, Selection(designs=("folds",))) == ()


@pytest.mark.parametrize("part", ["targets", "arms", "designs", "states", "jobs"])
def test_a_selection_is_all_only_if_no_part_is_given(part: str) -> None:
    assert Selection().is_all
    assert not Selection(**{part: ("x",)}).is_all


def test_jobs_are_those_of_the_cells_each_once(plan: Plan, states: dict[str, State]) -> None:
    everything = select_jobs(plan, states, Selection())
    assert sorted(everything) == sorted(states)
    (cell,) = select_cells(plan, Selection(targets=("a-x-k",), arms=("related",)))
    assert select_jobs(plan, states, Selection(targets=("a-x-k",), arms=("related",))) == (
        cell.finetune_job, cell.eval_job,
    )  # fmt: skip
    (untouched,) = {cell.eval_job for cell in plan.cells if cell.arm is Arm.ZERO_SHOT and cell.subset == "a-x-k"}
    assert select_jobs(plan, states, Selection(targets=("a-x-k",), arms=("zero_shot",))) == (untouched,)


def test_jobs_are_those_in_a_state_whose_id_begins_as_given(plan: Plan, states: dict[str, State]) -> None:
    tunes = {job.id for job in plan.finetunes}
    assert set(select_jobs(plan, states, Selection(states=("done",)))) == tunes
    one = plan.finetunes[0].id
    assert select_jobs(plan, states, Selection(jobs=(one,))) == (one,)
    assert select_jobs(plan, states, Selection(states=("open",), jobs=(one,))) == ()


def test_states_are_counted_also_those_that_no_job_is_in(plan: Plan, states: dict[str, State]) -> None:
    counts = count_states(states, [job.id for job in plan.finetunes[:2]])
    assert counts == {
        State.DONE: 2, State.FAILED: 0, State.RUNNING: 0, State.WAITING: 0, State.OPEN: 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("selection", "text"),
    [
        (Selection(targets=("a-x-kk",)), "--target: no target 'a-x-kk' in study '.*a-x-k"),
        (Selection(arms=("relatd",)), "--arm: no arm 'relatd' in study '.*related"),
        (Selection(designs=("two",)), "--design: no design 'two' in study '.*two_source"),
        (Selection(states=("dne",)), "--state: no state 'dne' in study '.*done"),
        (Selection(jobs=("zz",)), "--job: no job of study '.*' has an id that begins with 'zz'"),
    ],
)
def test_a_part_that_names_nothing_of_the_plan_is_refused(plan: Plan, selection: Selection, text: str) -> None:
    with pytest.raises(UserError, match=text):
        check_selection(plan, selection)


def test_a_selection_of_what_there_is_is_let_pass(plan: Plan) -> None:
    ids = (plan.finetunes[0].id[:4], plan.evals[0].id)
    check_selection(
        plan, Selection(targets=("b-y-k",), arms=("blind",), designs=("two_source",), states=("failed",), jobs=ids)
    )


def test_a_job_is_found_by_the_beginning_of_its_id_or_by_its_cell(plan: Plan) -> None:
    cell = plan.cells[-1]
    assert find_job(plan, plan.finetunes[0].id[:12]) == plan.finetunes[0].id
    assert find_job(plan, cell.eval_job[:12]) == cell.eval_job
    assert find_job(plan, cell.key) == find_job(plan, name_cell(plan, cell)) == cell.eval_job


def test_a_job_is_found_by_its_runs_name_unless_several_have_it(plan: Plan) -> None:
    first = plan.finetunes[0]
    name = name_finetune_run(first)
    assert find_job(plan, name) == first.id
    twice = replace(plan, finetunes=(first, replace(first, recipe=replace(first.recipe, epochs=9.0))))
    ids = ", ".join(job.id for job in twice.finetunes)
    with pytest.raises(UserError, match=f"2 runs are called '{name}'; give one of their jobs: {ids}$"):
        find_job(replace(twice, cells=()), name)


def test_what_names_no_job_or_several_is_refused(plan: Plan) -> None:
    with pytest.raises(UserError, match="no job or cell 'zz' in study"):
        find_job(plan, "zz")
    ids = [job.id for job in (*plan.finetunes, *plan.evals)]
    shown = ", ".join(ids[:4])
    with pytest.raises(UserError, match=rf"'' begins the ids of {len(ids)} jobs \({shown}\); give more of it"):
        find_job(plan, "")


def test_a_cell_is_named_by_its_target_where_that_is_asked_about_once(plan: Plan) -> None:
    cell = next(cell for cell in plan.cells if cell.arm is Arm.RELATED)
    assert name_cell(plan, cell) == f"{target_of(plan, cell)}/related/seed0"
    alone = replace(plan, contrasts=(plan.contrast_by_id[cell.contrast],))
    assert name_cell(alone, cell) == f"{target_of(plan, cell)}/related/seed0"
    twice = replace(with_design("two_source", directions=["task", "area"], combinations=1), seeds=(0,))
    several = plan_one(replace(twice, targets=("a-x-k",)), cube())
    assert {name_cell(several, cell) for cell in several.cells} == {cell.key for cell in several.cells}
