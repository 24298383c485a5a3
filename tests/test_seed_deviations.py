"""What earlier studies say of how much seeds differ is frozen into a plan, and used where a study is too small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cg_lab.analysis.effects import compute_effects
from cg_lab.arms import Arm
from cg_lab.planning.foresight import foresee_gains, foresee_seeds
from cg_lab.planning.plan import Plan, SeedDeviation
from cg_lab.reporting.tables import write_csv
from cg_lab.results import Layout, read_plan, write_plan
from cg_lab.seed_deviations import add_deviations
from tests.analysis.test_study_verdicts import SHARES, answer, take_targets
from tests.reporting.answering import plan_study

ARMS = "arms=[zero_shot,unrelated,related,ceiling,blind]"


def plan_named(layout: Layout, name: str, *overrides: str) -> Plan:
    return plan_study(layout, f"study={name}", "seeds=[0,1,2]", ARMS, *overrides)


def leave_cells(layout: Layout, plan: Plan, *accuracies: float) -> None:
    """Leave the table of numbers of a finished study: each question's main arm with these accuracies."""
    rows = [
        {
            "contrast": contrast.id,
            "arm": "related",
            "seed": str(seed),
            "accuracy": str(value),
            "num_questions": "1000000",
        }
        for contrast in plan.contrasts
        for seed, value in enumerate(accuracies)
    ]
    rows.append({"contrast": "a", "arm": "unrelated", "seed": "0", "accuracy": "0.9", "num_questions": "100"})
    rows.append({"contrast": "a", "arm": "related", "seed": "9", "accuracy": "", "num_questions": "100"})
    write_csv(layout.study(plan.study) / "cells.csv", rows)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_without_earlier_studies_a_plan_knows_nothing(layout: Layout) -> None:
    plan = plan_named(layout, "first")
    assert add_deviations(layout, plan).seed_deviations == ()


def test_the_spread_over_seeds_of_an_earlier_study_is_known(layout: Layout) -> None:
    before = plan_named(layout, "before", "targets=[us-breast-mass,mri-kidney-bleed]")
    leave_cells(layout, before, 0.4, 0.5, 0.6)
    (found,) = add_deviations(layout, replace(before, study="next")).seed_deviations
    assert found.deviation == pytest.approx(0.1, abs=1e-3)
    assert (found.freedom, found.studies) == (4, ("before",))


@pytest.mark.parametrize("other", ["finetune.learning_rate=0.5", "design.max_samples=64"])
def test_a_study_of_another_recipe_or_of_other_samples_says_nothing(layout: Layout, other: str) -> None:
    leave_cells(layout, plan_named(layout, "before", other), 0.4, 0.6)
    assert add_deviations(layout, plan_named(layout, "next")).seed_deviations == ()


def test_what_single_answers_explain_is_left_out(layout: Layout) -> None:
    """Of 100 questions at one half, seeds that are equally good differ by 5 points."""
    before = plan_named(layout, "before")
    rows = [
        {"contrast": "a", "arm": "related", "seed": str(seed), "accuracy": str(value), "num_questions": "100"}
        for seed, value in enumerate((0.45, 0.55))
    ]
    write_csv(layout.study("before") / "cells.csv", rows)
    (found,) = add_deviations(layout, replace(before, study="next")).seed_deviations
    assert found.deviation == pytest.approx((0.005 - 0.0025) ** 0.5)


def test_a_plan_keeps_what_it_was_frozen_with(layout: Layout) -> None:
    leave_cells(layout, plan_named(layout, "before"), 0.4, 0.6)
    mine = add_deviations(layout, plan_named(layout, "mine"))
    assert mine.seed_deviations == ()  # the plan that lies there was frozen without
    layout.plan("mine").unlink()
    mine = add_deviations(layout, mine)
    write_plan(layout, mine)
    leave_cells(layout, plan_named(layout, "later"), 0.1, 0.9)
    again = add_deviations(layout, replace(mine, seed_deviations=()))
    assert again.seed_deviations == mine.seed_deviations == read_plan(layout.plan("mine")).seed_deviations
    assert [part.studies for part in again.seed_deviations] == [("before",)]


def test_studies_that_cannot_be_read_are_passed_over(layout: Layout) -> None:
    leave_cells(layout, plan_named(layout, "before"), 0.4, 0.6)
    for name, text in (("cut", "{"), ("old", "")):
        layout.study(name).mkdir()
        layout.plan(name).write_text(text)
        (layout.study(name) / "cells.csv").write_text("contrast,arm\n")
    plan_named(layout, "short")
    (layout.study("short") / "cells.csv").write_text("contrast,arm\n")
    layout.plan("next").unlink(missing_ok=True)
    found = add_deviations(layout, replace(plan_named(layout, "short"), study="next")).seed_deviations
    assert [part.deviation for part in found] == [pytest.approx(0.1414, abs=1e-3)]


def test_the_more_seeds_differ_the_larger_a_gain_must_be_and_the_more_seeds_it_takes(layout: Layout) -> None:
    plan = plan_named(layout, "s", "targets=[us-breast-mass,mri-kidney-bleed,ct-brain-mass]")
    calm, wild = (
        replace(plan, seed_deviations=(SeedDeviation(setting="", deviation=value, freedom=20, studies=("x",)),))
        for value in (0.02, 0.12)
    )
    assert all(foresee_gains(calm)[name] < gain for name, gain in foresee_gains(wild).items())
    few, many = foresee_seeds(calm)[0.2], foresee_seeds(wild)[0.2]
    assert few is not None
    assert many is None or few < many


def test_a_study_of_one_question_learns_from_earlier_ones_how_much_seeds_differ(layout: Layout) -> None:
    """Three seeds that happen to agree are not believed where seeds were seen to differ by 20 points."""
    plan = take_targets(plan_named(layout, "s", "targets=[us-breast-mass,mri-kidney-bleed]"), 1)
    scores = answer(plan, lambda cell: SHARES[cell.arm])
    known = SeedDeviation(setting="", deviation=0.2, freedom=20, studies=("before",))
    alone, told = (compute_effects(part, scores, {}) for part in (plan, replace(plan, seed_deviations=(known,))))
    gains = [part.contrasts[0].main.gains[Arm.UNRELATED] for part in (alone, told) if part.contrasts[0].main]
    assert gains[0].estimate == gains[1].estimate
    assert gains[1].high - gains[1].low > 2 * (gains[0].high - gains[0].low)
    assert alone.contrasts[0].word == "transfers"
    assert told.contrasts[0].word == "no evidence"
