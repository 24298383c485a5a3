"""Which trainer a recipe means is part of every job's id, and cg_lab's own leaves ids as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cg_lab.catalog import PhantomData
from cg_lab.config import read_study
from cg_lab.errors import UserError
from cg_lab.planning.jobs import JobFactory
from cg_lab.planning.work import FinetuneJob, Mixture
from cg_lab.questions import AnswerForm
from cg_lab.recipe import OF_COMMAND, Recipe
from cg_lab.serialize import dump_json, omit_defaults
from cg_lab.study import Backbone
from cg_lab.tracking.record import tell_recipe
from cg_lab.training import trainer_identity
from cg_lab.training.trainer_identity import check_unchanged, find_version, identify_trainer

DATA = PhantomData(version=1, world="compositional", seed=0, image_size=48, train_per_subset=1, test_per_subset=1)
BACKBONE = Backbone(name="b", path="package:tiny_llava", revision="r", answer=AnswerForm.TEXT)


def make_recipe(**changes: str) -> Recipe:
    given = {"by": "command", "command": "mine {config}", "exporter": "trl", "version": "mine 1", **changes}
    return replace(read_study([]).finetune, **given)  # type: ignore[arg-type]


def name_job(recipe: Recipe) -> str:
    job = FinetuneJob(data=DATA, backbone=BACKBONE, mixture=Mixture(parts=(), seed=0), recipe=recipe, seed=0)
    assert JobFactory(DATA, BACKBONE, recipe).make_finetune(job.mixture, 0).id == job.id
    return job.id


def test_where_cg_lab_trains_nothing_of_a_trainer_is_in_ids_or_plans() -> None:
    recipe = read_study([]).finetune
    named = set(OF_COMMAND)
    assert not named & set(omit_defaults(recipe))
    assert not any(f'"{name}"' in dump_json((recipe,))[0] for name in named)
    assert identify_trainer(recipe) is recipe
    assert not named & set(tell_recipe(recipe))
    assert named <= set(tell_recipe(make_recipe()))


def test_command_exporter_settings_and_versions_are_each_part_of_an_id() -> None:
    first = identify_trainer(make_recipe())
    others = [
        replace(first, command="mine --fast {config}"),
        replace(first, exporter="ms_swift"),
        replace(first, settings='{"packing": true}'),
        replace(first, version="mine 2"),
        replace(first, files="trl 2"),
    ]
    assert len({name_job(one) for one in (first, *others)}) == 6


def test_a_script_is_named_by_what_is_in_it_and_may_not_change_after_planning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("one")
    planned = identify_trainer(make_recipe(command="python train.py {config}"))
    assert planned.files is not None
    assert planned.files.startswith("trl 1, train.py@")
    check_unchanged(planned)
    Path("train.py").write_text("two")
    assert identify_trainer(make_recipe(command="python train.py {config}")).files != planned.files
    with pytest.raises(UserError, match="plan anew"):
        check_unchanged(planned)


def test_an_exporter_of_ones_own_is_named_by_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_exporters_of_a_test").mkdir()
    (tmp_path / "my_exporters_of_a_test" / "lines.py").write_text("VERSION = 3\ndef export(task): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = identify_trainer(make_recipe(exporter="my_exporters_of_a_test.lines"))
    assert found.files is not None
    assert found.files.startswith("my_exporters_of_a_test.lines 3@")


def test_the_version_is_that_of_the_package_that_the_program_is_from() -> None:
    assert str(find_version("pytest {config}")).startswith("pytest ")
    assert str(find_version("python -m pytest {config}")).startswith("pytest ")
    assert find_version("python train.py {config}") is None


def test_a_machine_with_another_version_than_was_planned_with_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = identify_trainer(make_recipe(version="trl 1.16.0"))
    monkeypatch.setattr(trainer_identity, "find_version", lambda _: "trl 1.17.0")
    with pytest.raises(UserError, match=r"planned with trl 1\.16\.0, and this machine has trl 1\.17\.0"):
        check_unchanged(planned)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"by": "cg_lab"}, "has no effect"),
        ({"command": None}, "finetune.command: must be given"),
        ({"exporter": None}, "finetune.exporter: must be given"),
        ({"exporter": "tlr"}, "Did you mean 'trl'"),
        ({"version": None}, "name the trainer and its version"),
    ],
)
def test_what_is_missing_or_in_vain_is_told(changes: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        identify_trainer(make_recipe(**changes))


@pytest.mark.parametrize(
    ("command", "said"), [("mine {conf}", "no {conf}; known: {config}"), ("mine now", "name {config}")]
)
def test_a_command_that_can_not_work_is_refused_at_the_door(command: str, said: str) -> None:
    with pytest.raises(UserError) as told:
        read_study(["trainer=trl", f'finetune.command="{command}"'])
    assert said in str(told.value)


def test_settings_are_nested_as_given_and_equal_ones_are_one_text() -> None:
    texts = [
        read_study(["trainer=trl", f"finetune.settings={given}"]).finetune.settings
        for given in ("{a: 1, b: [x, 2]}", "{b: [x, 2], a: 1}")
    ]
    with pytest.raises(UserError, match="keys with values"):
        read_study(["trainer=trl", "finetune.settings=[a]"])
    assert texts == ['{"a": 1, "b": ["x", 2]}'] * 2
