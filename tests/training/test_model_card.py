"""What a fine-tune leaves opens anywhere, and is asked and trained on as any model is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from cg_lab.config import read_study
from cg_lab.errors import UserError
from cg_lab.models.backbone import LoadedBackbone, load_backbone, using_weights
from cg_lab.models.batches import Example
from cg_lab.models.identity import identify_backbone
from cg_lab.models.scoring import score_options
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.recipe import Lora
from tests.training.test_finetune import Stopper, examples, run

__all__ = ["examples"]
LORA = Lora(rank=4, alpha=32, dropout=0)


@pytest.fixture(scope="module")
def trained(backbone: LoadedBackbone, examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run(backbone, examples[:16], folder / "full", Stopper(), trainable="projector", epochs=1)
    run(backbone, examples[:16], folder / "lora", Stopper(), lora=LORA, epochs=2)
    return folder


def score(backbone: LoadedBackbone, examples: list[Example]) -> list[float]:
    return [value for ((row),) in score_options(backbone, [(one,) for one in examples[:4]], 4) for value in row]


def ask_plainly(model: Any, examples: list[Example]) -> list[float]:
    """Score the first option of each question by the model's own forward pass."""
    model.eval()
    found: list[float] = []
    for example in examples[:4]:
        with torch.inference_mode():
            ids = torch.tensor([[*example.prompt, *example.options[0]]])
            logits_TV = model(input_ids=ids, **dict(example.image)).logits[0].log_softmax(-1)
        first = len(example.prompt) - 1
        found.append(sum(float(logits_TV[first + place, token]) for place, token in enumerate(example.options[0])))
    return found


def test_a_checkpoint_opens_in_plain_transformers_and_its_processor_with_it(
    trained: Path, backbone: LoadedBackbone, examples: list[Example]
) -> None:
    folder = trained / "full" / "model"
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    assert processor.chat_template == backbone.processor.chat_template
    assert model.generation_config.eos_token_id == backbone.model.generation_config.eos_token_id
    assert load_file(folder / "model.safetensors").keys() <= load_file(WEIGHTS / "model.safetensors").keys()
    with using_weights(backbone, folder):
        ours = score(backbone, examples)[::2]
    assert ask_plainly(model, examples) == pytest.approx(ours, abs=1e-4)
    with using_weights(backbone, None):
        assert ours != pytest.approx(score(backbone, examples)[::2], abs=1e-3)


def test_a_checkpoint_is_a_model_of_its_own(trained: Path, backbone: LoadedBackbone, examples: list[Example]) -> None:
    folder = trained / "full" / "model"
    own = load_backbone(identify_backbone(replace(read_study([]).model, name="mine", path=str(folder))))
    with using_weights(backbone, folder):
        assert score(own, examples) == score(backbone, examples)


def test_adapters_open_in_plain_peft_and_are_asked_without_training(
    trained: Path, backbone: LoadedBackbone, examples: list[Example], tmp_path: Path
) -> None:
    folder = trained / "lora" / "model"
    model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(WEIGHTS), folder)
    assert AutoProcessor.from_pretrained(folder).chat_template == backbone.processor.chat_template
    settings = replace(read_study([]).model, adapter=str(folder))
    asked = replace(backbone, identity=identify_backbone(settings))
    with using_weights(backbone, folder):
        ours = score(backbone, examples)
    with using_weights(asked, None):
        assert score(asked, examples) == ours
    with using_weights(backbone, None):
        assert score(backbone, examples) != ours
    assert ask_plainly(model, examples) == pytest.approx(ours[::2], abs=1e-4)
    with pytest.raises(UserError, match="^model.adapter: .* is asked, not trained any further; take arms=.zero_shot."):
        run(asked, examples[:8], tmp_path, Stopper())


def test_a_card_tells_what_was_trained_on_what(trained: Path) -> None:
    full, lora = ((trained / name / "model" / "README.md").read_text() for name in ("full", "lora"))
    assert full.startswith("---\nlibrary_name: transformers\n")
    assert lora.startswith("---\nlibrary_name: peft\n")
    for text in (full, lora):
        assert "`package:tiny_llava` at revision `81263f88a132caef`" in text
        assert "| learning_rate | 0.001 |" in text
    assert "AutoModelForImageTextToText.from_pretrained(FOLDER)" in full
    assert "PeftModel.from_pretrained(" in lora
