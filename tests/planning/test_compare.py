"""Why two plans or two jobs differ, field by field; and choosing within a budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cg_lab.arms import Arm
from cg_lab.cli import main
from cg_lab.errors import UserError
from cg_lab.planning.compare import compare_jobs, compare_plans
from tests.planning.cases import STUDY, cube, plan_one, with_design


def test_a_plan_differs_from_itself_in_nothing() -> None:
    plan = plan_one(with_design("two_source"), cube())
    assert compare_plans(plan, plan) == ()


def test_plans_are_compared_field_by_field() -> None:
    study = replace(with_design("two_source"), targets=("a-x-k",))
    first = plan_one(study, cube())
    second = plan_one(replace(study, finetune=replace(study.finetune, epochs=7.0), seeds=(0,)), cube())
    found = {difference.path: difference for difference in compare_plans(first, second)}
    assert found["settings[only].recipe.epochs"].second == "7.0"
    assert "cells" in found
    assert "finetunes" in found
    assert not any(path.startswith("catalogs") for path in found)


def test_jobs_are_compared_part_by_part() -> None:
    plan = plan_one(replace(with_design("two_source"), targets=("a-x-k",), seeds=(0,)), cube())
    jobs = {cell.arm: plan.finetune_by_id[cell.finetune_job] for cell in plan.cells if cell.finetune_job}
    paths = [part.path for part in compare_jobs(jobs[Arm.RELATED], jobs[Arm.SHUFFLED])]
    assert paths == ["mixture.labels"]
    assert any(
        path.startswith("mixture.parts[a-x-k]")
        for path in [part.path for part in compare_jobs(jobs[Arm.RELATED], jobs[Arm.CEILING])]
    )


def test_the_command_line_compares_with_another_study_and_two_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"results_dir={tmp_path}", "seeds=[0]"]
    assert main(["plan", *arguments, "study=one"]) == 0
    assert main(["plan", *arguments, "study=one", "--diff", "one"]) == 0
    capsys.readouterr()
    assert main(["plan", *arguments, "study=one", "finetune.epochs=3", "--diff", "one"]) == 1
    assert "settings[only].recipe.epochs: 1.0 -> 3.0" in capsys.readouterr().out
    assert main(["plan", *arguments, "study=one", "--json"]) == 0
    import json

    jobs = [job for job in json.loads(capsys.readouterr().out)["cells"] if job["finetune_job"]]
    first, second = (
        jobs[0]["finetune_job"],
        next(cell["finetune_job"] for cell in jobs if cell["finetune_job"] != jobs[0]["finetune_job"]),
    )
    assert main(["plan", *arguments, "study=one", "--diff", first, second]) == 1
    assert "mixture.parts" in capsys.readouterr().out
    assert main(["plan", *arguments, "study=one", "--diff", first, "0" * 16]) == 2
    assert "no job" in capsys.readouterr().err


def with_budget(**limits: float) -> object:
    study = with_design("two_source")
    return replace(study, budget=replace(STUDY.budget, **limits))


@pytest.mark.parametrize("limits", [{"finetunes": 20}, {"samples": 900}, {"gpu_hours": 0.003}])
def test_a_budget_is_kept_and_what_is_left_out_is_listed(limits: dict[str, float]) -> None:
    study = with_budget(**limits)
    full = plan_one(with_design("two_source"), cube())
    plan = plan_one(study, cube())  # type: ignore[arg-type]
    samples = sum(job.mixture.num_samples * job.recipe.epochs for job in plan.finetunes)
    assert len(plan.finetunes) <= limits.get("finetunes", float("inf"))
    assert samples <= limits.get("samples", float("inf"))
    assert samples / STUDY.model.train_samples_per_s / 3600 <= limits.get("gpu_hours", float("inf"))
    left_out = [part for part in plan.skipped if part.question]
    assert len(plan.contrasts) + len(left_out) == len(full.contrasts)
    assert plan == plan_one(study, cube())  # type: ignore[arg-type]


def test_a_budget_of_gpu_hours_counts_each_gpu_that_a_rate_is_for() -> None:
    small = with_budget(gpu_hours=0.003)
    of_eight = replace(small, model=replace(STUDY.model, rate_gpus=8), budget=replace(STUDY.budget, gpu_hours=0.024))  # type: ignore[type-var]
    plans = [plan_one(study, cube()) for study in (small, of_eight)]  # type: ignore[arg-type]
    assert {job.id for job in plans[0].finetunes} == {job.id for job in plans[1].finetunes}
    assert len(plan_one(with_budget(gpu_hours=0.024), cube()).finetunes) > len(plans[0].finetunes)  # type: ignore[arg-type]


def test_every_element_and_direction_comes_before_a_second_look_at_any() -> None:
    plan = plan_one(with_budget(finetunes=40), cube())  # type: ignore[arg-type]
    shown = {value for contrast in plan.contrasts for value in contrast.view}
    assert shown == set("ABCXYZKLM")
    assert {contrast.direction for contrast in plan.contrasts} == {"modality", "area", "task"}


def test_a_budget_for_nothing_is_refused_with_the_cheapest_question() -> None:
    with pytest.raises(UserError, match="not one held-out question fits; the cheapest"):
        plan_one(with_budget(finetunes=1), cube())  # type: ignore[arg-type]
