"""A local model's name stays with all that decides what it reads and writes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cg_lab.config import read_study
from cg_lab.errors import UserError
from cg_lab.models.identity import identify_backbone
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.serialize import canonical_json, omit_defaults
from cg_lab.study import ModelSettings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WEIGHTS, tmp_path / "mine"))


def settings(folder: Path | str, adapter: str | None = None) -> ModelSettings:
    return replace(read_study([]).model, name="mine", path=str(folder), adapter=adapter)


@pytest.mark.parametrize(
    "file",
    [
        "config.json", "model.safetensors", "chat_template.jinja", "tokenizer.json", "tokenizer_config.json",
        "processor_config.json", "generation_config.json",
    ],
)  # fmt: skip
def test_a_change_of_any_file_that_is_read_is_another_model(file: str, folder: Path) -> None:
    before = identify_backbone(settings(folder))
    path = folder / file
    path.write_bytes(path.read_bytes() + b" ")
    assert identify_backbone(settings(folder)).revision != before.revision


def test_a_file_that_comes_or_goes_is_another_model_and_a_note_is_not(folder: Path) -> None:
    before = identify_backbone(settings(folder))
    (folder / "README.md").write_text("a card")
    (folder / ".cache").mkdir()
    assert identify_backbone(settings(folder)) == before
    (folder / "chat_template.json").write_text("{}")
    more = identify_backbone(settings(folder))
    (folder / "chat_template.json").rename(folder / "preprocessor_config.json")
    assert len({before.revision, more.revision, identify_backbone(settings(folder)).revision}) == 3


def test_the_embedded_model_keeps_its_name() -> None:
    found = identify_backbone(read_study([]).model)
    assert found.revision == "81263f88a132caef"
    assert "adapter" not in canonical_json(omit_defaults(found))


def write_adapter(folder: Path, base: str | None = "org/base") -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def test_adapters_are_part_of_what_is_asked(folder: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    plain, first = (identify_backbone(settings(folder, name)) for name in (None, str(adapter)))
    assert replace(first, adapter="") == plain
    (adapter / "adapter_model.safetensors").write_bytes(b"others")
    second = identify_backbone(settings(folder, str(adapter)))
    assert len({plain.adapter, first.adapter, second.adapter}) == 3
    assert identify_backbone(settings(folder, "org/adapter@abc")).adapter == "org/adapter@abc"


@pytest.mark.parametrize(
    ("adapter", "reason"), [("org/adapter", "need their commit"), (".", "holds no adapter_config.json")]
)
def test_adapters_that_are_not_there_are_told(adapter: str, reason: str, folder: Path, tmp_path: Path) -> None:
    path = str(tmp_path) if adapter == "." else adapter
    with pytest.raises(UserError, match=f"^model.adapter: '{path}' .*{reason}"):
        identify_backbone(settings(folder, path))


def test_adapters_given_as_a_model_are_told_with_the_right_command(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    with pytest.raises(
        UserError, match=f"^model.path: '{adapter}' holds adapters.*model.path=org/base model.adapter={adapter}"
    ):
        identify_backbone(settings(adapter))
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(UserError, match="holds no config.json"):
        identify_backbone(settings(adapter))
