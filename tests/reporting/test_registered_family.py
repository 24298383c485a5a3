"""Fewer questions over results that are there are judged among all that these results were made for."""

from __future__ import annotations

from pathlib import Path

import pytest

from cg_lab.analysis.effects import StudyEffects, compute_effects
from cg_lab.planning.plan import Plan
from cg_lab.registration import freeze_plan, read_registration
from cg_lab.reporting.read import read_scores
from cg_lab.reporting.registered_family import judge_study
from cg_lab.results import Layout
from tests.reporting.answering import answer_by_arm, plan_study, write_answers

SMALL = (
    "arms=[zero_shot,unrelated,related,ceiling,blind]", "seeds=[0,1,2]", "design.prefer=hash",
    "data.test_per_subset=40",
)  # fmt: skip


def plan_frozen(layout: Layout, study: str, *targets: str) -> Plan:
    plan = plan_study(layout, f"study={study}", f"targets=[{','.join(targets)}]", *SMALL)
    layout.plan(study).unlink()
    freeze_plan(layout, plan)
    return plan


def judge(layout: Layout, plan: Plan) -> StudyEffects:
    return judge_study(layout, plan, read_scores(plan, layout), read_registration(layout, plan.study))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Leave the results of a study of two questions."""
    layout = Layout(tmp_path)
    write_answers(layout, plan_frozen(layout, "whole", "us-breast-mass", "mri-kidney-bleed"), answer_by_arm)
    return layout


def test_a_question_picked_from_a_finished_study_keeps_the_decision_that_it_has_there(layout: Layout) -> None:
    few = plan_frozen(layout, "few", "us-breast-mass")
    whole = plan_study(layout, "study=whole", "targets=[us-breast-mass,mri-kidney-bleed]", *SMALL)
    among = {part.contrast.id: part.decision for part in judge(layout, whole).contrasts}
    (picked,) = judge(layout, few).contrasts
    (alone,) = compute_effects(few, read_scores(few, layout).scores, {}).contrasts
    assert picked.decision == among[picked.contrast.id]
    assert picked.p_holm is not None
    assert alone.p_holm is not None
    assert picked.p_holm > alone.p_holm


def test_other_studies_that_cannot_be_read_cost_a_report_nothing(layout: Layout) -> None:
    few = plan_frozen(layout, "few", "us-breast-mass")
    before = judge(layout, few).contrasts[0].decision
    for study, registered, plan in (("cut", "{", "{}"), ("old", "{}", "{}"), ("odd", None, "[")):
        layout.study(study).mkdir()
        layout.plan(study).write_text(plan)
        if registered is not None:
            (layout.study(study) / "registered.json").write_text(registered)
    assert judge(layout, few).contrasts[0].decision == before
