"""A study is what it was and what was added; nothing that was there goes."""

from __future__ import annotations

from functools import cache

import pytest

from cg_lab.arms import Arm
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.planning.plan import Plan
from cg_lab.planning.plan_union import unite_plans
from tests.planning.cases import plan_one

ONE, TWO = "targets=[us-breast-mass]", "targets=[us-breast-mass,ct-brain-mass]"


@cache
def plan(*overrides: str) -> Plan:
    study = read_study(["study=s", "seeds=[0,1,2]", "design.prefer=hash", *overrides])
    return plan_one(study, read_catalog(study.data))


def test_asking_for_a_part_changes_nothing() -> None:
    whole, part = plan(TWO), plan(ONE, "seeds=[0]", "arms=[zero_shot,related]")
    assert unite_plans(whole, part).plan == whole
    assert unite_plans(whole, part).conflicts == ()


def test_asking_for_more_gives_what_would_have_been_planned_at_once() -> None:
    whole = plan(TWO)
    for part in (plan(ONE), plan(TWO, "seeds=[0,1]"), plan(TWO, "arms=[zero_shot,related]")):
        united = unite_plans(part, whole)
        assert united.conflicts == ()
        assert set(united.plan.cells) == set(whole.cells)
        assert united.plan.finetunes == whole.finetunes
        assert united.plan.evals == whole.evals
        assert united.plan.num_declared_finetunes == whole.num_declared_finetunes
        assert {contrast.id: set(contrast.trainings) for contrast in united.plan.contrasts} == {
            contrast.id: set(contrast.trainings) for contrast in whole.contrasts
        }


def test_what_neither_has_alone_is_not_made_up() -> None:
    """A target with two seeds and another with three: only these cells."""
    first, second = plan(ONE, "seeds=[0,1]"), plan("targets=[ct-brain-mass]")
    united = unite_plans(first, second).plan
    assert set(united.cells) == {*first.cells, *second.cells}
    assert [contrast.target for contrast in united.contrasts] == ["us-breast-mass", "ct-brain-mass"]
    assert {job.id for job in united.evals} == {job.id for job in (*first.evals, *second.evals)}


def test_a_target_keeps_its_sources_though_another_choice_of_targets_would_pair_others() -> None:
    alone = plan("targets=[us-breast-mass]", "design.prefer=sharing")
    beside = plan("targets=[us-breast-mass,mri-brain-mass]", "design.prefer=sharing")
    before, after = (next(part for part in one.contrasts if part.target == "us-breast-mass") for one in (alone, beside))
    united = unite_plans(alone, beside).plan
    kept = [part for part in united.contrasts if part.target == "us-breast-mass"]
    assert [part.related for part in kept] == [before.related]
    assert len(united.contrasts) == 2
    assert before.related != after.related, "else this shows nothing"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("finetune.learning_rate=0.01", "recipe.learning_rate: "),
        ("design.max_samples=64", "design.max_samples: 1536 -> 64"),
        ("data.world=entangled", "data.world: 'compositional' -> 'entangled'"),
        ("evaluation.rotations=all", "cells would be other work, such as us-breast-mass"),
    ],
)
def test_what_would_become_another_is_named(override: str, told: str) -> None:
    united = unite_plans(plan(ONE), plan(ONE, override))
    assert any(told in conflict for conflict in united.conflicts), united.conflicts
    assert united.plan == plan(ONE, override)


FEW = ("data.train_per_subset=800", "arms=[zero_shot,related]")
"""A ceiling has 800 samples, 25 steps; all else 1,536, 48 steps."""


def test_a_floor_of_steps_that_lengthens_nothing_leaves_plans_as_they_are() -> None:
    assert plan(ONE, "finetune.min_steps=48").text == plan(ONE).text


def test_work_that_a_floor_lengthens_can_be_added_where_it_leaves_what_was_there_alone() -> None:
    more = plan(ONE, FEW[0], "arms=[zero_shot,related,ceiling]", "finetune.min_steps=48")
    united = unite_plans(plan(ONE, *FEW), more)
    assert united.conflicts == ()
    assert united.plan.finetunes == more.finetunes
    assert united.plan.settings[0].recipe.min_steps == 48
    assert unite_plans(more, plan(ONE, *FEW)).plan.settings == more.settings
    free = plan(ONE, FEW[0], "arms=[zero_shot,related,ceiling]")
    assert "recipe.min_steps: " in unite_plans(free, more).conflicts[0]


def test_the_rule_is_the_one_that_is_asked_for() -> None:
    assert unite_plans(plan(ONE), plan(ONE, "rule.confidence=0.9")).plan.rule.confidence == 0.9


def test_skipped_targets_are_listed_once() -> None:
    first = plan("targets=[us-breast-mass,ct-brain-mass]", "budget.finetunes=24")
    united = unite_plans(first, plan("targets=[ct-brain-mass]"))
    assert [part.target for part in unite_plans(first, first).plan.skipped] == [part.target for part in first.skipped]
    assert {Arm.RELATED} <= {cell.arm for cell in united.plan.cells}
