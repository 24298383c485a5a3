"""The page that `doctor` prints: what stands on it, how wide it is, and how it ends."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cg_lab.cli import main
from cg_lab.cli.doctor import WIDTH, tell
from cg_lab.config import read_study
from cg_lab.doctor.check_result import CheckResult, Status, find_worst
from cg_lab.doctor.model_in_memory import check_architecture, check_frame
from cg_lab.doctor.places import check_mlflow, check_results, check_slurm
from cg_lab.questions import AnswerForm, Question
from cg_lab.results import Layout
from cg_lab.study import Backbone
from tests.models.tiny_backbones import write_backbone

QUICK = [
    "versions",
    "devices",
    "results",
    "MLflow",
    "Slurm",
    "weights",
    "processor",
    "template",
    "data",
    "disk",
    "memory",
]


def test_the_embedded_model_is_well_and_json_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = f"results_dir={tmp_path / 'results'}"
    assert main(["doctor", "--quick", where]) == 0
    page = capsys.readouterr().out
    assert main(["doctor", "--quick", "--json", where]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"schema", "status", "checks"}
    assert [check["name"] for check in told["checks"]] == QUICK
    assert all(set(check) == {"name", "status", "found", "way_out", "details"} for check in told["checks"])
    for check in told["checks"]:
        assert f"{check['status']:<9}{check['name']:<14}" in page
    assert not (tmp_path / "results" / "jobs").exists()


def test_a_folder_without_anything_is_told_part_by_part_with_exit_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    asked = ["model=hub", "model.name=mine", f"model.path={tmp_path / 'model'}", f"results_dir={tmp_path / 'results'}"]
    assert main(["doctor", "--json", *asked]) == 1
    told = json.loads(capsys.readouterr().out)
    faults = [check["name"] for check in told["checks"] if check["status"] == "fault"]
    assert (told["status"], faults) == ("fault", ["model", "processor", "template"])


def test_an_override_that_is_wrong_is_exit_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "modle=tiny_llava"]) == 2


def test_lines_fit_80_columns_and_names_that_are_copied_stay_whole() -> None:
    check = CheckResult(
        name="weights",
        status=Status.FAULT,
        found="a folder that " + "is told at length " * 9,
        way_out="hf download an-organisation/" + "a-model-" * 9,
        details=("a line " * 20,),
    )
    lines = tell(check)
    assert lines[0].startswith("fault    weights       a folder")
    assert all(len(line) <= WIDTH for line in lines if "a-model" not in line)
    assert any(line.strip() == "an-organisation/" + "a-model-" * 9 for line in lines)
    assert find_worst([check, replace(check, status=Status.WARNING)]) is Status.FAULT


def test_the_frame_of_a_hub_model_shows_prompt_answer_and_end_without_weights(tmp_path: Path) -> None:
    write_backbone("qwen2_5_vl", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    backbone = Backbone(name="mine", path=str(tmp_path), revision="0" * 16, answer=AnswerForm.LETTER)
    check = check_frame(backbone, tmp_path, Question(text="Is it bent?", options=("yes", "no"), answer=1))
    assert check.status is Status.OK
    text = "\n".join(check.details)
    assert "Is it bent?" in text
    assert "| <|im_start|>assistant" in text
    assert "trained on   'B' '<|im_end|>'" in text
    assert "stops at     '<|im_end|>'" in text
    assert "attention sdpa" in check_architecture(tmp_path).found
    (tmp_path / "chat_template.jinja").write_text("no question here", encoding="utf-8")
    assert check_frame(backbone, tmp_path, Question(text="?", options=("a", "b"), answer=0)).status is Status.FAULT


def test_a_server_that_does_not_answer_is_a_warning_and_a_folder_without_rights_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, tracking = Layout(tmp_path / "results"), read_study([]).tracking
    assert check_mlflow(tracking, layout).status is Status.OK
    down = check_mlflow(replace(tracking, uri="http://me:secret@127.0.0.1:9"), layout)
    assert (down.status, "secret" in down.found) == (Status.WARNING, False)
    assert check_results(layout).status is Status.OK
    assert not layout.root.exists()

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("cg_lab.doctor.places.tempfile.TemporaryDirectory", deny)
    assert check_results(layout).status is Status.FAULT


def test_slurm_that_is_not_there_is_a_fault_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert check_slurm(read_study([]).cluster).status is Status.OK
    assert check_slurm(read_study(["cluster=slurm"]).cluster).status is Status.FAULT


@pytest.mark.parametrize(
    ("kind", "kept", "calls"),
    [
        ("llava", "pixels as bytes", "1 call"),
        ("qwen2_5_vl", "pixels as the processor's values", "1 call"),
        ("llava_onevision", "pixels as the processor's values", "2 calls"),  # a tile, and the whole
    ],
)
def test_the_line_on_the_question_says_what_an_image_costs(kind: str, kept: str, calls: str, tmp_path: Path) -> None:
    write_backbone(kind, tmp_path)
    backbone = Backbone(name="mine", path=str(tmp_path), revision="0" * 16, answer=AnswerForm.LETTER)
    found = check_frame(backbone, tmp_path, Question(text="Is it bent?", options=("yes", "no"), answer=1)).found
    assert re.search(rf" [\d,]+ bytes of disk once prepared \({kept}\) and {calls} of the vision tower", found)
