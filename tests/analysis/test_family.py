"""What of a question was registered before any result, and what makes its claim exploratory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cg_lab.analysis.family import RegisteredFamily, count_absent, find_departures
from cg_lab.planning.plan import Plan
from tests.planning.cases import cube, plan_one, with_design


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_one(replace(with_design("two_source"), targets=("a-x-k",), seeds=(0, 1, 2)), cube())


def register(plan: Plan, **more: object) -> RegisteredFamily:
    ids = tuple(contrast.id for contrast in plan.contrasts)
    known: dict[str, object] = {"contrasts": ids, "seeds": (0, 1, 2), "rule": plan.rule, "criterion": plan.criterion}
    return RegisteredFamily(**(known | more))  # type: ignore[arg-type]


def depart(plan: Plan, family: RegisteredFamily | None, seeds: tuple[int, ...] = (0, 1, 2)) -> str:
    return find_departures(family, plan, plan.contrasts[0], seeds)


def test_what_is_as_registered_or_registered_nowhere_departs_from_nothing(plan: Plan) -> None:
    assert depart(plan, register(plan)) == ""
    assert depart(plan, None) == ""


def test_fewer_seeds_than_registered_are_no_departure_and_others_are_named_in_order(plan: Plan) -> None:
    assert depart(plan, register(plan), (0, 1)) == ""
    assert depart(plan, register(plan), (9, 0, 11, 1)) == "seeds 9, 11"
    assert depart(plan, register(plan, seeds=None), (7, 8, 9)) == ""


def test_a_question_that_was_not_registered_departs_as_a_whole(plan: Plan) -> None:
    assert depart(plan, register(plan, contrasts=()), (7, 8, 9)) == "the question"


def test_seeds_beyond_those_of_the_registered_looks_are_a_departure(plan: Plan) -> None:
    """A plan with looks is registered with all seeds of its last one."""
    looking = replace(plan, rule=replace(plan.rule, looks=(3, 5)))
    family = replace(register(looking), seeds=(0, 1, 2, 3, 4))
    assert depart(looking, family, (0, 1, 2, 3, 4)) == ""
    assert depart(looking, family, (0, 1, 2, 3, 4, 5)) == "seeds 5"


def test_another_rule_or_criterion_is_a_departure_unless_none_was_known(plan: Plan) -> None:
    assert depart(plan, register(plan, rule=replace(plan.rule, confidence=0.9))) == "the rule"
    assert depart(plan, register(plan, criterion="another")) == "the rule"
    assert depart(plan, register(plan, rule=None, criterion="")) == ""


def test_registered_questions_that_are_not_asked_any_more_are_counted(plan: Plan) -> None:
    asked = [contrast.id for contrast in plan.contrasts]
    assert count_absent(register(plan), plan) == 0
    assert count_absent(register(plan, contrasts=(asked[0], "gone", "lost")), plan) == 2
    assert count_absent(None, plan) == 0
