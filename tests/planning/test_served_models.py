"""Plans of served models: made without the server, never training, named by what is declared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cg_lab.arms import Arm
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.errors import UserError
from cg_lab.mat import Kind
from cg_lab.models.identity import identify_model
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan, parse_plan
from cg_lab.study import Study
from cg_lab.training.checkpoint_table import read_checkpoints
from tests.planning.cases import cube, make_catalog, make_subset, with_design

SERVED = ("model=endpoint", "model.url=http://localhost:9/v1", "model.served=tiny", "targets=[ct-brain-mass]")


def plan(*overrides: str) -> Plan:
    study = read_study([*SERVED, *overrides])
    return build_plan(
        [Run(name="", study=study, catalog=read_catalog(study.data), backbone=identify_model(study.model))]
    )


def list_ids(*overrides: str) -> list[str]:
    return [job.id for job in plan("arms=[zero_shot]", *overrides).evals]


def test_the_untouched_model_is_asked_with_images_and_without() -> None:
    made = plan("arms=[zero_shot,zero_shot_blind]")
    assert [(cell.arm, cell.finetune_job) for cell in made.cells] == [
        (Arm.ZERO_SHOT, None), (Arm.ZERO_SHOT_BLIND, None)
    ]  # fmt: skip
    assert sorted(job.protocol.image for job in made.evals) == ["blank", "original"]
    assert {job.needs for job in made.evals} == {()}


def test_examples_stand_in_prompts() -> None:
    made = plan("arms=[zero_shot]", "design=few_shot", "design.shots=[0,2]")
    assert sorted({job.protocol.shots for job in made.evals}) == [0, 2]


def test_what_would_train_it_is_refused_in_one_line() -> None:
    with pytest.raises(
        UserError, match=r"'tiny' is asked, not trained.*would train it; take arms=\[zero_shot,zero_shot_blind\]"
    ) as told:
        plan()
    assert "\n" not in str(told.value)


def test_boxes_are_not_asked_for() -> None:
    study = replace(with_design("two_source"), design=replace(with_design("two_source").design, kinds=tuple(Kind)))
    boxes = replace(make_subset(("A", "X", "K")), name="boxes", kind=Kind.DETECTION, num_options=0, labels=())
    catalog = make_catalog([boxes, *cube().subsets])
    study = replace(study, arms=(Arm.ZERO_SHOT,), targets=("boxes", "a-x-k"))
    made = build_plan(
        [Run(name="", study=study, catalog=catalog, backbone=identify_model(read_study(list(SERVED)).model))]
    )
    assert {part.target: part.reason for part in made.skipped} == {
        "boxes": "of a served model it is not known how it writes boxes"
    }


def test_the_server_is_no_part_of_an_id_and_what_changes_answers_is() -> None:
    ids = list_ids()
    assert ids == ["a3d4c72905da7003"]
    same = (
        "model.url=https://other/v1", "model.concurrency=1", "model.key_variable=KEY", "model.max_requests=5",
        "model.input_price=2.5", "model.max_cost=10",
    )  # fmt: skip
    assert list_ids(*same) == ids
    texts = list_ids("model.answer=text")
    assert list_ids("model.answer=text", "model.option_log_probs=true") != texts
    for changed in (
        "model.served=other", "model.revision=new", "model.name=n", "model.answer=text", "model.request.max_tokens=8",
        "model.longest_side=64",
    ):  # fmt: skip
        assert list_ids(changed) != ids


def test_a_plan_of_it_is_read_as_it_was_written() -> None:
    made = plan("arms=[zero_shot]")
    again = parse_plan(json.loads("".join(made.write_lines())), where="here")
    assert again == made
    assert again.backbones[0] == made.backbones[0]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("model.url=localhost:8000", "begins with http"),
        ("model.url=http://me:secret@host/v1", "model.key_variable"),
        ("model.url='http://host/v1?api_key=secret'", "model.key_variable"),
        ("model.option_log_probs=true", "with it goes model.answer=text, not model.answer=letter"),
        ("model.max_cost=5", "model.max_cost: 5 of what.*model.input_price="),
        ("model.format=nothing", "model.format: no module 'nothing'"),
        ("+model.path=x", "model.path: unknown key"),
    ],
)
def test_what_is_wrong_is_told_by_its_setting(given: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        plan("arms=[zero_shot]", given)
    assert "secret" not in str(error.value)


def test_a_setting_of_a_server_is_none_of_weights() -> None:
    with pytest.raises(UserError, match="unknown key"):
        read_study(["+model.url=http://host/v1"])


def test_a_table_of_adapters_names_them_as_the_server_does(tmp_path: Path) -> None:
    table = tmp_path / "trained.csv"

    def read(column: str) -> Study:
        table.write_text(f"target,arm,{column},trained_on\nct-brain-mass,related,one,ct-lung-mass:8;us-brain-mass:8\n")
        study = read_study([*SERVED, f"checkpoints={table}"])
        return read_checkpoints(study, read_catalog(study.data), None)

    study = read("served")
    run = Run(name="", study=study, catalog=read_catalog(study.data), backbone=identify_model(study.model))
    made = build_plan([run])
    assert [job.weights for job in made.finetunes] == ["served:one"]
    assert {job.checkpoint_of for job in made.evals} == {None, made.finetunes[0].id}
    assert parse_plan(json.loads("".join(made.write_lines())), where="here") == made
    with pytest.raises(UserError, match="give served, the name that it has there"):
        read("path")
