"""What was planned before any result, and what was added in sight of them."""

from __future__ import annotations

import json
from pathlib import Path

from cg_lab.analysis.verdict import Verdict
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.registration import find_additions, freeze_plan, read_registration
from cg_lab.reporting.words import tell_registration
from cg_lab.results import EvalResult, Layout, write_plan, write_result


def make_plan(*overrides: str) -> Plan:
    study = read_study(["study=s", "targets=[ct-brain-mass]", "seeds=[0]", "design.prefer=hash", *overrides])
    catalog = read_catalog(study.data)
    return build_plan([Run(name="", study=study, catalog=catalog, backbone=identify_backbone(study.model))])


def finish_one(layout: Layout, plan: Plan) -> None:
    job = plan.evals[0]
    layout.job(job.id).mkdir(parents=True, exist_ok=True)
    write_result(layout, EvalResult(job=job, num_questions=1, accuracy=1, seconds=1, host="h", started="t"))


def test_a_plan_may_change_until_its_first_result(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    freeze_plan(layout, make_plan())
    larger = make_plan("targets=[ct-brain-mass,us-breast-mass]")
    freeze_plan(layout, larger)
    registered = read_registration(layout, "s")
    assert registered is not None
    assert registered.plan == larger.id
    assert registered.contrasts == tuple(contrast.id for contrast in larger.contrasts)
    assert registered.num_known == 0


def test_what_comes_after_the_first_result_is_exploratory(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    first = make_plan()
    freeze_plan(layout, first)
    finish_one(layout, first)
    larger = make_plan("targets=[ct-brain-mass,mri-kidney-bleed]", "seeds=[0,1]", "rule.confidence=0.9")
    freeze_plan(layout, larger)
    registered = read_registration(layout, "s")
    assert registered is not None
    assert registered.plan == first.id
    assert registered.contrasts == tuple(contrast.id for contrast in first.contrasts)
    assert find_additions(registered, larger) == ("seeds 1", "another confidence or bootstrap")
    said = " ".join(tell_registration(larger, registered))
    assert "exploratory: 1 held-out question; seeds 1; another confidence or bootstrap." in said


def test_results_that_other_studies_left_are_counted(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plan = make_plan()
    finish_one(layout, plan)
    freeze_plan(layout, plan)
    registered = read_registration(layout, "s")
    assert registered is not None
    assert registered.num_known == 1
    assert "other studies had left results for 1 of its evaluations" in " ".join(tell_registration(plan, registered))


def test_a_study_of_an_older_version_counts_as_frozen_when_its_plan_was_written(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plan = make_plan()
    write_plan(layout, plan)
    finish_one(layout, plan)
    freeze_plan(layout, make_plan("seeds=[0,1]"))
    registered = read_registration(layout, "s")
    assert registered is not None
    assert registered.plan == plan.id
    assert registered.seeds == (0,)


def test_the_rule_and_the_comparisons_stand_in_the_plan(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    freeze_plan(layout, make_plan())
    text = layout.plan("s").read_text()
    assert all(f"{word}: " in json.loads(text)["criterion"] for word in Verdict)
    assert "related over zero-shot, unrelated and blind" in text
