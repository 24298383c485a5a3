"""What a trainer's command leaves is taken only if it is the model that it was to train, trained as was said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cg_lab.errors import UserError
from cg_lab.models.backbone import LoadedBackbone, UnreadableCheckpointError, restore_weights
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.planning.work import FinetuneJob, Mixture
from cg_lab.recipe import Lora
from cg_lab.training.finetune import NotFiniteError
from cg_lab.training.left_checkpoint import check_left, clear_output, find_left, read_state, take_over
from tests.training.test_finetune import DATA
from tests.training.trainer_tasks import make_recipe

LORA = Lora(rank=2, alpha=4, dropout=0)


def change_weights(folder: Path, change: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
    path = folder / "model.safetensors"
    save_file({name: change(name, part) for name, part in load_file(path).items()}, path, {"format": "pt"})


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """Give a folder as a trainer leaves it that moved every weight a little."""
    folder = tmp_path / "output"
    shutil.copytree(WEIGHTS, folder)
    change_weights(folder, lambda _, part: part * 1.02)
    return folder


def check(left: Path, backbone: LoadedBackbone, **changes: Any) -> dict[str, Any]:
    recipe = make_recipe("trl", **changes)
    mixture = Mixture(parts=(), seed=0)
    job = FinetuneJob(data=DATA, backbone=backbone.identity, mixture=mixture, recipe=recipe, seed=0)
    try:
        return check_left(left, job, backbone, WEIGHTS)
    finally:
        restore_weights(backbone)


def leave_adapters(folder: Path, backbone: LoadedBackbone, *, base: str | None, size: float) -> None:
    """Write adapters as peft does, for one layer of the language model."""
    from peft import LoraConfig, get_peft_model

    names = [name for name, _ in backbone.model.named_modules() if name.endswith("q_proj") and "language" in name]
    adapted: Any = get_peft_model(backbone.model, LoraConfig(r=2, lora_alpha=4, target_modules=names))
    with torch.no_grad():
        for name, part in adapted.named_parameters():
            if "lora_B" in name:
                part.fill_(size)
    adapted.save_pretrained(folder)
    adapted.unload()
    vars(backbone.model).pop("peft_config", None)
    edit_json(folder / "adapter_config.json", base_model_name_or_path=base)


def test_a_trained_model_is_taken_with_what_it_lacks_of_the_untouched_one(
    left: Path, backbone: LoadedBackbone, tmp_path: Path
) -> None:
    (left / "generation_config.json").unlink()
    (left / "optimizer.pt").write_bytes(b"0")
    found = check(left, backbone)
    assert (found["kind"], found["base"]) == ("whole", "llava")
    assert found["moved"] == pytest.approx(0.02, abs=1e-3)
    take_over(left, tmp_path / "model", WEIGHTS)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors",
    }  # fmt: skip


def test_weights_that_nothing_was_trained_of_are_refused(left: Path, backbone: LoadedBackbone) -> None:
    shutil.copy(WEIGHTS / "model.safetensors", left)
    with pytest.raises(UserError, match="nothing was trained"):
        check(left, backbone)


def test_a_part_that_was_to_stay_and_did_not_is_named(left: Path, backbone: LoadedBackbone) -> None:
    with pytest.raises(
        UserError, match=r"trained model\.vision_tower.*finetune\.trainable=language_model_and_projector"
    ):
        check(left, backbone, trainable="language_model_and_projector")


def test_a_part_that_was_only_rounded_counts_as_it_was(left: Path, backbone: LoadedBackbone) -> None:
    shutil.copy(WEIGHTS / "model.safetensors", left)
    change_weights(left, lambda name, part: part * 1.02 if "language" in name else part.bfloat16().float())
    check(left, backbone, trainable="language_model_and_projector")


def test_a_model_of_another_architecture_is_refused(left: Path, backbone: LoadedBackbone) -> None:
    edit_json(left / "config.json", model_type="llava_next")
    with pytest.raises(UserError, match="model_type is llava_next, not llava"):
        check(left, backbone)


def test_a_model_of_another_size_does_not_open(left: Path, backbone: LoadedBackbone) -> None:
    change_weights(left, lambda name, part: part[:-1].clone() if "lm_head" in name or "embed_tokens" in name else part)
    with pytest.raises(UnreadableCheckpointError):
        check(left, backbone)


def test_a_file_that_was_cut_off_is_refused(left: Path, backbone: LoadedBackbone) -> None:
    path = left / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UnreadableCheckpointError, match="can't be read"):
        check(left, backbone)


def test_weights_that_are_no_numbers_are_a_failure_of_their_own_kind(left: Path, backbone: LoadedBackbone) -> None:
    change_weights(left, lambda _, part: part * float("nan"))
    with pytest.raises(NotFiniteError):
        check(left, backbone)


def test_a_model_that_would_not_stop_at_the_end_of_an_answer_is_refused(left: Path, backbone: LoadedBackbone) -> None:
    edit_json(left / "generation_config.json", eos_token_id=[5])
    with pytest.raises(UserError, match=r"stops at \[5\], and answers end with '<eos>'"):
        check(left, backbone)


def test_a_tokenizer_that_writes_other_tokens_or_ends_otherwise_is_refused(
    left: Path, backbone: LoadedBackbone
) -> None:
    edit_json(left / "tokenizer_config.json", eos_token="<pad>")
    with pytest.raises(UserError, match="ends with '<pad>'"):
        check(left, backbone)
    told = json.loads((left / "tokenizer.json").read_text())
    told["added_tokens"].append({**told["added_tokens"][-1], "id": 9999, "content": "cysts"})
    (left / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(UserError, match="another tokenizer"):
        check(left, backbone)


def test_adapters_are_held_against_the_model_that_they_name(backbone: LoadedBackbone, tmp_path: Path) -> None:
    leave_adapters(tmp_path / "a", backbone, base=str(WEIGHTS), size=0.1)
    assert check(tmp_path / "a", backbone, lora=LORA)["kind"] == "adapter"
    edit_json(tmp_path / "a" / "adapter_config.json", base_model_name_or_path="someone/other")
    with pytest.raises(UserError, match="adapters for 'someone/other'"):
        check(tmp_path / "a", backbone, lora=LORA)
    edit_json(tmp_path / "a" / "adapter_config.json", base_model_name_or_path=None)
    assert check(tmp_path / "a", backbone, lora=LORA)["base"] == "not said"


def test_adapters_that_nothing_was_trained_of_or_of_another_part_are_refused(
    backbone: LoadedBackbone, tmp_path: Path
) -> None:
    leave_adapters(tmp_path / "a", backbone, base=str(WEIGHTS), size=0)
    with pytest.raises(UserError, match="nothing was trained"):
        check(tmp_path / "a", backbone, lora=LORA)
    leave_adapters(tmp_path / "b", backbone, base=str(WEIGHTS), size=0.1)
    with pytest.raises(UserError, match="language_model"):
        check(tmp_path / "b", backbone, lora=LORA, trainable="projector")


def test_the_last_checkpoint_counts_if_it_is_that_of_the_end(left: Path) -> None:
    checkpoint = left / "checkpoint-4"
    checkpoint.mkdir()
    shutil.move(left / "model.safetensors", checkpoint)
    state = {"global_step": 4, "max_steps": 4, "epoch": 2.0, "log_history": [{"step": 1, "loss": 3.0}, {"step": 4}]}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    assert find_left(left) == checkpoint
    read = read_state(left)
    assert (read.steps, read.epochs, [point["loss"] for point in read.curve]) == (4, 2.0, [3.0])
    edit_json(checkpoint / "trainer_state.json", max_steps=5)
    with pytest.raises(UserError, match="let the trainer save at its end"):
        find_left(left)


def test_without_weights_what_is_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"0")
    with pytest.raises(UserError, match=r"there is: pytorch_model\.bin"):
        find_left(tmp_path)


def test_an_attempt_finds_checkpoints_of_the_one_before_and_nothing_else(left: Path) -> None:
    (left / "checkpoint-2").mkdir()
    clear_output(left)
    assert [path.name for path in left.iterdir()] == ["checkpoint-2"]
    (left / "checkpoint-2").rmdir()
    (left / "runs").mkdir()
    clear_output(left)
    assert not list(left.iterdir())


def test_what_a_trainer_does_not_say_is_not_known(tmp_path: Path) -> None:
    assert read_state(tmp_path).steps is None
