"""Multiruns: Hydra's grammar, one merged plan, and the same configurations as Hydra composes one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cg_lab.cli import main
from cg_lab.config import Request, compose, read_studies
from cg_lab.errors import UserError


def names(*overrides: str) -> list[str]:
    return [part.name for part in compose(Request(overrides=overrides, multirun=True))]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seeds=[0],[1]", ["seeds=[0]", "seeds=[1]"]),
        ("design=choice(folds,disrupt)", ["design=folds", "design=disrupt"]),
        ("finetune.epochs=range(1,4)", ["finetune.epochs=1", "finetune.epochs=2", "finetune.epochs=3"]),
        ("recipe=glob(med_mat_*)", ["recipe=med_mat_llava", "recipe=med_mat_qwen2_vl"]),
    ],
)
def test_sweeps_are_expanded_as_hydra_expands_them(override: str, expected: list[str]) -> None:
    assert names(override) == expected


def test_several_sweeps_are_multiplied_and_fixed_values_name_nothing() -> None:
    found = names("finetune.epochs=1,2", "finetune.learning_rate=1e-3,2e-3", "seeds=[5]")
    assert found == [
        f"finetune.epochs={epochs},finetune.learning_rate={rate}" for epochs in (1, 2) for rate in (0.001, 0.002)
    ]


def test_a_value_that_is_given_twice_is_one_setting() -> None:
    assert names("finetune.epochs=1,1,2") == ["finetune.epochs=1", "finetune.epochs=2"]


def test_a_key_with_a_package_an_added_and_a_removed_one_are_left_to_hydra(tmp_path: Path) -> None:
    (tmp_path / "extra.yaml").write_text("defaults:\n  - config\n  - _self_\nseeds: [9]\n")
    (found,) = compose(Request(overrides=("+recipe@spare=med_mat_llava",)))
    assert found.plain["spare" if "spare" in found.plain else "finetune"]["learning_rate"] == 5e-6
    (found,) = compose(Request(overrides=("~filler",)))
    assert "filler" not in found.plain
    (found,) = compose(Request(overrides=("+note=hello",)))
    assert found.plain["note"] == "hello"
    (found,) = compose(Request(config_dir=tmp_path, config_name="extra"))
    assert found.plain["seeds"] == [9]


def test_shortcuts_give_what_hydra_composes() -> None:
    """Every configuration of a multirun is the one that Hydra composes for its overrides alone."""
    from hydra import compose as hydra_compose, initialize_config_dir
    from omegaconf import OmegaConf

    from cg_lab.config.folder import find_config_dir

    request = Request(
        overrides=(
            "design=two_source,folds,disrupt", "data.world=compositional,entangled", "finetune.learning_rate=1e-3,2e-3",
            "model=tiny_llava,qwen2_vl_7b", "experiment=phantom_disrupt,phantom_folds", "seeds=[0,1]",
        ),
        multirun=True,
    )  # fmt: skip
    found = compose(request)
    assert len(found) == 48
    with initialize_config_dir(str(find_config_dir()), version_base="1.3"):
        for part in found[::5]:
            overrides = [piece for piece in part.name.split(",") if piece]
            alone = OmegaConf.to_container(hydra_compose("config", overrides=[*overrides, "seeds=[0,1]"]), resolve=True)
            assert part.plain == alone, part.name


def test_an_experiment_can_say_what_to_sweep() -> None:
    assert names("experiment=medmat_backbones") == ["model=qwen2_vl_7b", "model=llama_3_2_11b_vision"]
    assert names("experiment=medmat_backbones", "model=tiny_llava") == [""]


def test_runs_share_work_in_one_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["seeds=[0]", "targets=[us-breast-mass]", f"results_dir={tmp_path}"]
    assert main(["plan", "--json", "design=two_source", *arguments]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert main(["plan", "--json", "-m", "design=two_source,size_curve", *arguments]) == 0
    both = json.loads(capsys.readouterr().out)
    assert [setting["name"] for setting in both["settings"]] == ["design=two_source", "design=size_curve"]
    assert both["study"] == "phantom_compositional_multirun"

    def ids(plan: dict, kind: str) -> set[str]:
        return {cell[f"{kind}_job"] for cell in plan["cells"]} - {None}

    assert ids(alone, "finetune") < ids(both, "finetune")
    # The curve's point at 1,536 samples is the two-source question itself.
    shared = [cell for cell in both["cells"] if cell["finetune_job"] in ids(alone, "finetune")]
    assert {cell["contrast"].split("/")[0] for cell in shared} == {"design=two_source", "design=size_curve"}


def test_what_belongs_to_the_study_as_a_whole_cannot_be_swept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "-m", "rule.seed=0,1", f"results_dir={tmp_path}"]) == 2
    assert "rule: can't differ within a multirun (rule.seed=1)" in capsys.readouterr().err


def test_a_bad_value_in_one_of_many_runs_is_told_with_its_run() -> None:
    with pytest.raises(UserError, match="the configuration finetune.epochs=-1 has a fault"):
        read_studies(Request(overrides=("finetune.epochs=1,-1",), multirun=True))


def test_faults_of_the_design_and_of_the_rest_are_told_together() -> None:
    with pytest.raises(UserError) as caught:
        read_studies(Request(overrides=("design.max_samples=-1", "finetune.epochs=-1", "+design.colour=red")))
    for text in ("max_samples", "colour: unknown key", "finetune.epochs"):
        assert text in str(caught.value)
