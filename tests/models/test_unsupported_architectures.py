"""Architectures that do not work are refused by name, by the doctor's quick part and at loading."""

from __future__ import annotations

from pathlib import Path

import pytest

from cg_lab.doctor.check_result import Status
from cg_lab.doctor.model_files import check_weights
from cg_lab.errors import UserError
from cg_lab.models.backbone import load_backbone
from cg_lab.models.unsupported_architectures import OF_THEIR_AUTHORS, UNSUPPORTED
from cg_lab.questions import AnswerForm
from cg_lab.serialize import read_json, write_json
from cg_lab.study import Backbone
from tests.models.tiny_backbones import write_backbone


@pytest.mark.parametrize("model_type", [*UNSUPPORTED, *OF_THEIR_AUTHORS])
def test_an_architecture_that_does_not_work_is_refused_by_name_before_any_job(model_type: str, tmp_path: Path) -> None:
    write_backbone("llava", tmp_path)
    assert check_weights(tmp_path).status is Status.OK
    config = read_json(tmp_path / "config.json")
    write_json(tmp_path / "config.json", {**config, "model_type": model_type})
    found = check_weights(tmp_path)
    assert found.status is Status.FAULT
    assert model_type in found.found
    identity = Backbone(name="mine", path=str(tmp_path), revision="x", answer=AnswerForm.LETTER)
    with pytest.raises(UserError, match=f"'mine' \\({model_type}\\) is refused: .*; take another"):
        load_backbone(identity)


@pytest.mark.parametrize(
    ("said", "told"),
    [("\nPictures requires the Pictures library.\nInstall it.", "Pictures requires the Pictures library."),
     ("", "ImportError")],
)  # fmt: skip
def test_a_package_that_a_model_needs_is_named(
    said: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_backbone("llava", tmp_path)

    def lack(_: object) -> None:
        raise ImportError(said)

    monkeypatch.setattr("cg_lab.models.backbone.load_processor", lack)
    identity = Backbone(name="mine", path=str(tmp_path), revision="x", answer=AnswerForm.LETTER)
    with pytest.raises(UserError, match=f"'mine' needs a package that is not here: {told}$"):
        load_backbone(identity)
