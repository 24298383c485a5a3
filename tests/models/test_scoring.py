"""One forward for all options gives what one forward for each gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from cg_lab.errors import UserError
from cg_lab.models.backbone import LoadedBackbone, load_backbone
from cg_lab.models.batches import Example
from cg_lab.models.encoding import encode_questions
from cg_lab.models.identity import identify_backbone
from cg_lab.models.scoring import score_options
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.questions import AnswerForm, Question, format_question
from cg_lab.study import ModelSettings

QUESTIONS = [
    Question(text="What is shown?", options=("circle", "a small square", "pseudohypoparathyroidism"), answer=1),
    Question(text="Left or right?", options=("left", "right"), answer=0),
    Question(text="How many shapes are there in this picture?", options=("one", "two", "three", "four"), answer=3),
]


def make_images(count: int) -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 255, (48, 48), dtype=np.uint8)) for _ in range(count)]


def with_form(backbone: LoadedBackbone, form: AnswerForm) -> LoadedBackbone:
    return replace(backbone, identity=replace(backbone.identity, answer=form))


@torch.inference_mode()
def score_separately(backbone: LoadedBackbone, example: Example, *, first_token_only: bool) -> list[float]:
    scores: list[float] = []
    for option in example.options:
        tokens = option[:1] if first_token_only else option
        ids = torch.tensor([example.prompt + list(tokens)])
        logits = backbone.model(input_ids=ids, **example.image).logits[0].log_softmax(-1)
        places = range(len(example.prompt) - 1, len(example.prompt) - 1 + len(tokens))
        scores.append(sum(float(logits[place, token]) for place, token in zip(places, tokens, strict=True)))
    return scores


@pytest.mark.parametrize("form", list(AnswerForm))
def test_one_forward_scores_as_one_forward_for_each_option(backbone: LoadedBackbone, form: AnswerForm) -> None:
    asked = with_form(backbone, form)
    examples = encode_questions(asked, QUESTIONS, make_images(3))
    together = score_options(asked, [(example,) for example in examples], batch_size=2)
    for example, (scores,) in zip(examples, together, strict=True):
        apart = score_separately(asked, example, first_token_only=form is AnswerForm.LETTER)
        assert scores == pytest.approx(apart, abs=2e-4)


def test_letters_are_single_tokens_and_differ(backbone: LoadedBackbone) -> None:
    examples = encode_questions(with_form(backbone, AnswerForm.LETTER), QUESTIONS, make_images(3))
    firsts = [option[0] for option in examples[2].options]
    assert len(set(firsts)) == 4
    assert all(len(option) == 2 for option in examples[2].options)  # the letter and the turn's end


def test_the_prompt_holds_the_question_and_one_token_for_each_patch(backbone: LoadedBackbone) -> None:
    example = encode_questions(backbone, QUESTIONS[:1], make_images(1))[0]
    text = backbone.processor.tokenizer.decode(example.prompt)
    assert format_question(QUESTIONS[0], backbone.identity.answer) in text
    assert example.prompt.count(backbone.processor.image_token_id) == 36


def test_the_packaged_model_is_small_and_loads_like_any_other(backbone: LoadedBackbone) -> None:
    assert type(backbone.model).__name__ == "LlavaForConditionalGeneration"
    assert 0.5e6 <= sum(parameter.numel() for parameter in backbone.model.parameters()) <= 2e6
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) <= 6_000_000
    assert list(WEIGHTS.glob("*.safetensors"))


def make_settings(path: str, revision: str | None = None) -> ModelSettings:
    return ModelSettings(
        name="m",
        path=path,
        revision=revision,
        answer=AnswerForm.LETTER,
        train_samples_per_s=1,
        eval_samples_per_s=1,
        checkpoint_gb=1,
        adapter_mb=1,
    )


def test_a_model_that_is_not_there_is_told_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable is read at import
    with pytest.raises(UserError, match="model.revision=COMMIT"):
        identify_backbone(make_settings("someone/some-model"))
    with pytest.raises(UserError, match="no packaged model 'package:none'; known: package:tiny_llava"):
        identify_backbone(make_settings("package:none"))
    with pytest.raises(UserError, match="hf download someone/some-model"):
        load_backbone(identify_backbone(make_settings("someone/some-model", "abc")))
