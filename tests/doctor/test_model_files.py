"""What is missing of a model is found from its files, before any job is begun."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import OfflineModeIsEnabled

from cg_lab.cli import main
from cg_lab.config import read_study
from cg_lab.doctor import Status, check_before_jobs, room
from cg_lab.doctor.model_files import check_model_files
from cg_lab.doctor.room import find_devices
from cg_lab.errors import UserError
from cg_lab.models.devices import find_cpu
from cg_lab.models.identity import identify_backbone
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.planning.work import FinetuneJob, Mixture
from cg_lab.questions import AnswerForm
from cg_lab.study import Backbone
from tests.training.test_trainer_arguments import DATA


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(WEIGHTS, tmp_path / "model")


def name(path: str | Path, revision: str = "0" * 16) -> Backbone:
    return Backbone(name="mine", path=str(path), revision=revision, answer=AnswerForm.TEXT)


def list_faults(backbone: Backbone) -> list[str]:
    found = check_model_files(backbone)
    assert all(check.way_out for check in found if check.status is Status.FAULT)
    return [check.name for check in found if check.status is Status.FAULT]


@pytest.mark.parametrize(
    ("missing", "faults"),
    [
        ([], []),
        (["model.safetensors"], ["weights"]),
        (["processor_config.json"], ["processor"]),
        (["tokenizer.json"], ["processor"]),
        (["chat_template.jinja"], ["template"]),
        (["model.safetensors", "tokenizer.json", "chat_template.jinja"], ["weights", "processor", "template"]),
    ],
)
def test_each_file_that_is_missing_is_a_fault_with_a_way_out(
    folder: Path, missing: list[str], faults: list[str]
) -> None:
    for file in missing:
        (folder / file).unlink()
    assert list_faults(name(folder)) == faults


def test_weights_that_are_cut_off_or_listed_and_absent_are_a_fault(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for length in (7, 1000, len(whole) - 1):
        weights.write_bytes(whole[:length])
        assert list_faults(name(folder)) == ["weights"]
    weights.write_bytes(whole)
    index = folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}', encoding="utf-8")
    (check, *_) = check_model_files(name(folder))
    assert (check.status, "model-2.safetensors" in check.found) == (Status.FAULT, True)


def test_a_model_that_the_hubs_cache_has_not_is_told_with_the_command_that_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise OfflineModeIsEnabled("HF_HUB_OFFLINE is set")

    monkeypatch.setattr(HfApi, "model_info", refuse)
    (check,) = check_model_files(name("org/model", "abc"))
    assert (check.status, check.way_out) == (Status.FAULT, "hf download org/model --revision abc")
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: None)
    (check,) = check_model_files(name("org/model", "abc"))
    assert (check.status, "the first job downloads it" in check.found) == (Status.WARNING, True)
    snapshot = tmp_path / "models--org--model" / "snapshots" / ("a" * 40)
    shutil.copytree(WEIGHTS, snapshot)
    assert list_faults(name("org/model", "a" * 40)) == []


def test_what_has_no_room_is_refused_before_any_job(monkeypatch: pytest.MonkeyPatch) -> None:
    study = read_study([])
    backbone = identify_backbone(study.model)
    job = FinetuneJob(data=DATA, backbone=backbone, mixture=Mixture(parts=(), seed=0), recipe=study.finetune, seed=0)
    assert find_devices(study.cluster)
    check_before_jobs([job], study.cluster)
    small = replace(find_cpu(), memory=30_000_000, host_memory=30_000_000)
    monkeypatch.setattr(room, "find_cpu", lambda: small)
    monkeypatch.setattr(room, "query_gpus", dict)
    with pytest.raises(UserError, match="memory: .* take 33 MB before any activation, of .* which has 30 MB"):
        check_before_jobs([job], study.cluster)


def test_a_sweep_with_a_model_that_is_not_whole_ends_in_one_message(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "chat_template.jinja").unlink()
    results = tmp_path / "results"
    asked = ["model=hub", "model.name=mine", f"model.path={folder}", f"results_dir={results}", "tracking=none"]
    assert main(["sweep", *asked]) == 2
    told = capsys.readouterr().err
    assert "nothing was begun" in told
    assert "has no chat template" in told
    assert not list((results / "jobs").glob("*"))
