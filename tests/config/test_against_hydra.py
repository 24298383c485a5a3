"""The same command lines, composed by Hydra itself and by cg_lab."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from cg_lab.cli import main
from cg_lab.config import Request, compose
from cg_lab.config.folder import find_config_dir
from cg_lab.errors import UserError

OVERRIDES = (
    "design=two_source,folds", "design=folds", "finetune=lora", "finetune=lora,full", "finetune.epochs=2",
    "finetune.learning_rate=1e-3,1e-4", "cluster=slurm", "cluster.slots=3", "++cluster.slots=4", "~budget.samples",
    "budget={samples:3}", "budget.samples=5", "experiment=phantom_entangled", "study=${data.name}", "+note=a,b",
    "design.max_samples=${data.train_per_subset}", "data.train_per_subset=10,20", "model=tiny_llava,hub",
)  # fmt: skip


def compose_by_hydra(overrides: tuple[str, ...]) -> list[Any] | None:
    """Give every configuration of a multirun; None if Hydra refuses it, or a value that must be given is not."""
    found: list[Any] = []
    try:
        with initialize_config_dir(str(find_config_dir()), version_base="1.3"):
            parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
            for batch in BasicSweeper.split_arguments(parser.parse_overrides(list(overrides)), None)[0]:
                config = hydra_compose("config", overrides=list(batch))
                if OmegaConf.missing_keys(config):
                    return None
                found.append(OmegaConf.to_container(config, resolve=True))
    except HydraException:
        return None
    return found


def compose_by_us(overrides: tuple[str, ...], *, multirun: bool = True) -> list[Any] | None:
    try:
        return [part.plain for part in compose(Request(overrides=overrides, multirun=multirun))]
    except UserError:
        return None


@pytest.mark.parametrize(
    "overrides",
    [
        ("cluster.slots=2", "++cluster.slots=3"),
        ("++cluster.slots=3", "cluster.slots=2"),
        ("budget.samples=3", "~budget.samples"),
        ("~budget.samples", "+budget.samples=3"),
        ("study=???",),
        ("model=glob(*)",),
        ("budget={samples:1},{finetunes:2}",),
        ("model=hub", "finetune.epochs=1,2"),
        ("recipe=unknown", "recipe=tiny_llava,med_mat_llava"),
    ],
)
def test_overrides_count_in_hydras_order(overrides: tuple[str, ...]) -> None:
    assert compose_by_us(overrides) == compose_by_hydra(overrides)


@pytest.mark.parametrize("seed", range(8))
def test_random_command_lines_compose_as_hydra_composes_them(seed: int) -> None:
    draws = random.Random(seed)
    overrides = tuple(draws.sample(OVERRIDES, draws.randint(2, 4)))
    assert compose_by_us(overrides) == compose_by_hydra(overrides), overrides


def test_a_configuration_can_ask_for_a_multirun_itself(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "defaults: [config, _self_]\nhydra: {mode: MULTIRUN, sweeper: {params: {finetune.epochs: '1,2'}}}\n"
    )
    found = compose(Request(config_dir=tmp_path, config_name="mine"))
    assert [part.name for part in found] == ["finetune.epochs=1", "finetune.epochs=2"]


def test_the_command_line_can_ask_for_a_multirun_as_hydras() -> None:
    found = compose(Request(overrides=("hydra.mode=MULTIRUN", "finetune.epochs=1,2")))
    assert [part.plain["finetune"]["epochs"] for part in found] == [1, 2]


def test_what_a_file_sweeps_is_changed_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "defaults: [config, _self_]\nhydra: {sweeper: {params: {keep: 'full,adapter'}}}\n"
    )
    changed = "hydra.sweeper.params.keep='full,nothing'"
    found = compose(Request(config_dir=tmp_path, config_name="mine", overrides=(changed,), multirun=True))
    assert [part.plain["keep"] for part in found] == ["full", "nothing"]


@pytest.mark.parametrize("override", ["hydra.sweeper.params={data.seed:'1,2'}", "+hydra.sweeper.params.keep='full'"])
def test_what_hydra_itself_fails_at_is_refused_in_a_sentence(override: str) -> None:
    with pytest.raises(UserError, match="hydra.sweeper.params is begun in a file"):
        compose(Request(overrides=(override,), multirun=True))


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    for seeds in ([9], [8, 7]):
        (tmp_path / "mine.yaml").write_text(f"defaults: [config, _self_]\nseeds: {seeds}\n")
        assert compose(Request(config_dir=tmp_path, config_name="mine"))[0].plain["seeds"] == seeds


@pytest.mark.parametrize("is_in_file", [True, False])
def test_a_file_that_changes_in_a_further_folder_is_read_again(tmp_path: Path, is_in_file: bool) -> None:
    (tmp_path / "site").mkdir()
    asked = f"[file://{tmp_path}/site]"
    said, overrides = (
        ("", (f"hydra.searchpath={asked}",)) if not is_in_file else (f"hydra: {{searchpath: {asked}}}", ())
    )
    (tmp_path / "mine.yaml").write_text(f"defaults: [config, sited, _self_]\n{said}\n")
    for seeds in ([9], [8, 7]):
        (tmp_path / "site" / "sited.yaml").write_text(f"seeds: {seeds}\n")
        found = compose(Request(config_dir=tmp_path, config_name="mine", overrides=overrides))
        assert found[0].plain["seeds"] == seeds
    assert compose(Request())[0].plain["seeds"] != seeds


def test_a_composed_configuration_can_be_changed_without_changing_the_next() -> None:
    compose(Request())[0].plain["finetune"]["epochs"] = "spoilt"
    assert compose(Request())[0].plain["finetune"]["epochs"] != "spoilt"


def test_configurations_are_shown_as_hydra_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*arguments: str) -> str:
        assert main(["plan", *arguments, "tracking.uri=http://me:hunter22@host"]) == 0
        said = capsys.readouterr().out
        assert "hunter22" not in said
        return said

    assert "study: ${data.name}_${design.name}" in shown("--cfg", "all")
    assert "hydra:\n" in shown("--cfg", "hydra")
    assert "study: phantom" in shown("--cfg", "all", "--resolve")
    assert shown("--cfg", "job", "-p", "tracking").startswith("# @package tracking\n")
    assert "uri: http://me:***@host" in shown("--cfg", "job", "-p", "tracking")
    assert "phantom" in shown("--info", "defaults")
