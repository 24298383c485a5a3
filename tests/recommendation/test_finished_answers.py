"""What a recommendation looks at in a results folder, and what it must not."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from cg_lab.catalog import Overlap
from cg_lab.cli import main
from cg_lab.errors import UserError
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob
from cg_lab.recommendation.finished_answers import Evidence, read_evidence
from cg_lab.recommendation.subset_relations import relate_subsets
from cg_lab.results import EvalResult, Layout, write_plan, write_result
from cg_lab.study import Backbone
from tests.planning.cases import cube, plan_one, with_design

SEEN = "a-x-k"


def finish(layout: Layout, plan: Plan, accuracy: float = 0.75) -> None:
    write_plan(layout, plan)
    for job in plan.evals:
        write_result(
            layout, EvalResult(job=job, num_questions=8, accuracy=accuracy, seconds=0.1, host="h", started="t")
        )


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_one(replace(with_design("transfer"), seeds=(0, 1)), cube())


@pytest.fixture
def layout(tmp_path: Path, plan: Plan) -> Layout:
    layout = Layout(tmp_path)
    finish(layout, plan)
    return layout


def read(layout: Layout, plan: Plan, target: str = SEEN, *, overlaps: tuple[Overlap, ...] = ()) -> Evidence:
    catalog, setting = plan.catalogs[0], plan.settings[0]
    relations = relate_subsets(MatGraph(catalog.subsets, catalog.factors, overlaps=overlaps))
    assert isinstance(setting.backbone, Backbone)
    return read_evidence(layout, relations, target, data=catalog.data, backbone=setting.backbone, recipe=setting.recipe)


def test_nothing_about_the_target_and_no_model_that_was_trained_on_it_is_looked_at(layout: Layout, plan: Plan) -> None:
    found = read(layout, plan)
    place = [subset.name for subset in plan.catalogs[0].subsets].index(SEEN)
    assert place not in found.observed.targets_N
    assert not found.observed.counts_NS[:, place].any()
    # 27 subsets: 26 others are asked about it, and it alone is trained on and asked about 26, each with two seeds.
    assert found.num_left_out == 2 * 2 * 26
    assert len(found.observed.skills_N) == 26 * 25
    assert found.num_finetunes == 2 * 26
    assert set(found.observed.seeds_N) == {2}


def test_skill_is_what_lies_above_a_guess(layout: Layout, plan: Plan) -> None:
    assert set(read(layout, plan).observed.skills_N) == {0.5}  # 75 % where a guess is 50 %


def test_another_answer_about_the_target_gives_the_same_evidence(layout: Layout, plan: Plan) -> None:
    before = read(layout, plan)
    for job in plan.evals:
        if job.target == SEEN:
            path = layout.result(job.id)
            path.write_text(json.dumps(json.loads(path.read_text()) | {"accuracy": 0.01}))
    after = read(layout, plan)
    assert (after.observed.skills_N == before.observed.skills_N).all()


def test_results_of_another_recipe_are_counted_and_not_used(layout: Layout, plan: Plan) -> None:
    setting = plan.settings[0]
    other = replace(plan, settings=(replace(setting, recipe=replace(setting.recipe, learning_rate=0.5)),))
    found = read(layout, other)
    assert len(found.observed.skills_N) == 0
    assert found.num_foreign > 0
    held = replace(plan, settings=(replace(setting, recipe=replace(setting.recipe, min_steps=1)),))
    assert read(layout, held).num_foreign == 0, "a floor that lengthens none of them is the same recipe"


def test_blank_images_and_shuffled_labels_are_no_evidence(tmp_path: Path) -> None:
    plan = plan_one(replace(with_design("all_related"), seeds=(0,), targets=("b-y-l",)), cube())
    finish(Layout(tmp_path), plan)
    found = read(Layout(tmp_path), plan)
    asked = {job.id for job in plan.evals if isinstance(job, EvalJob)}
    used = {cell.arm for cell in plan.cells} - {"blind", "shuffled", "ceiling", "sources", "zero_shot"}
    assert asked
    # All but unrelated training hold a subset that is, or counts as, the target of the recommendation.
    assert used == {"unrelated", "related", "all_data"}
    assert found.num_finetunes <= 1


def test_a_folder_without_results_gives_a_ranking_without_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recommend", "ct-brain-mass", f"results_dir={tmp_path / 'none'}", "budget.samples=300"]) == 0
    printed = capsys.readouterr().out
    assert "mixtures of 300 samples" in printed
    assert "no finished fine-tune" in printed
    assert "not known" in printed
    assert not (tmp_path / "none").exists()


def test_a_budget_counts_the_samples_that_a_floor_of_steps_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["recommend", "ct-brain-mass", f"results_dir={tmp_path / 'none'}", "finetune.min_steps=48"]
    assert main([*common, "budget.samples=1700"]) == 0
    assert "mixtures of 1700 samples" in capsys.readouterr().out.replace(",", "")
    assert main([*common, "budget.samples=1500"]) == 0
    assert "mixtures of 750 samples" in capsys.readouterr().out, "two epochs of 24 steps, the last one of 14 samples"
    assert main([*common, "budget.samples=47"]) == 2
    assert "not one training sample fits" in capsys.readouterr().err


def test_it_says_how_to_try_the_first_mixture_over_the_same_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for where in (["data.world=redundant"], ["experiment=phantom_recommend_evidence"]):
        where.append(f"results_dir={tmp_path}")
        assert main(["recommend", "ct-brain-mass", "--confirm", *where]) == 0
        command = capsys.readouterr().out.splitlines()[-1]
        assert command.startswith("python -m cg_lab sweep design=recommended_mixture")
        assert command.endswith(" ".join(where))
        assert main(["plan", *shlex.split(command)[4:]]) == 0
        printed = capsys.readouterr().out
        assert "ct-brain-mass" in printed
        assert all(arm in printed for arm in ("unrelated", "nearest_subsets", "all_data"))


def test_an_unknown_target_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "ct-brain-mas"]) == 2
    assert "Did you mean 'ct-brain-mass'" in capsys.readouterr().err


def test_as_json_it_is_the_whole_recommendation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "ct-brain-mass", "--json", f"results_dir={tmp_path}", "budget.finetunes=2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["target"] == "ct-brain-mass"
    assert len(found["mixtures"]) == 2
    assert found["outlook"] == "unknown"


def test_a_notebook_gets_what_the_verb_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cg_lab
    from cg_lab.recommendation import Recommendation
    from cg_lab.serialize import parse

    where = (f"results_dir={tmp_path}", "budget.samples=96")
    assert main(["recommend", "ct-brain-mass", "--json", *where]) == 0
    told = parse(Recommendation, json.loads(capsys.readouterr().out), where="recommend")
    assert cg_lab.recommend("ct-brain-mass", *where) == told


def test_data_alone_and_a_command_are_not_asked_for_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "ct-brain-mass", "--json", "--confirm"]) == 2
    assert "--json prints data alone" in capsys.readouterr().err


def test_models_that_saw_copies_of_the_targets_test_images_are_not_looked_at(layout: Layout, plan: Plan) -> None:
    found = read(layout, plan, overlaps=(Overlap(train="c-z-m", test=SEEN, what="group", count=1),))
    place = [subset.name for subset in plan.catalogs[0].subsets].index("c-z-m")
    assert not found.observed.counts_NS[:, place].any()
    assert place in found.observed.targets_N


def test_a_result_that_is_not_whole_is_told_with_its_file(layout: Layout, plan: Plan) -> None:
    job = next(job for job in plan.evals if job.target != SEEN and job.checkpoint_of)
    layout.result(job.id).write_text("{")
    with pytest.raises(UserError, match=rf"{job.id}.*not valid JSON"):
        read(layout, plan)
