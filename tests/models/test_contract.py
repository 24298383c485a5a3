"""What every architecture has to do, shown on tiny random models that are loaded as hub models are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cg_lab.catalog import PhantomData
from cg_lab.config import read_study
from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.models.adapters import adapting
from cg_lab.models.backbone import LoadedBackbone, load_backbone, restore_weights, select_trainable
from cg_lab.models.encoding import Example, encode_questions
from cg_lab.models.scoring import score_options
from cg_lab.planning.work import FinetuneJob, Mixture
from cg_lab.questions import AnswerForm, Question, format_question
from cg_lab.study import Backbone, Lora
from cg_lab.training.finetune import Surroundings, Training, run_finetune
from tests.models.tiny_backbones import ARCHITECTURES, write_backbone

DATA = PhantomData(version=1, world="compositional", seed=0, image_size=48, train_per_subset=1, test_per_subset=1)
QUESTIONS = [
    Question(text="What is shown?", options=("the left side", "right"), answer=0),
    Question(text="Which of these is it, if you look again?", options=("a", "bb", "ccc", "d"), answer=3),
    Question(text="Hm?", options=("x", "y", "z"), answer=1),
]


def make_images(count: int = len(QUESTIONS)) -> list[Image.Image]:
    """Make images of several shapes."""
    generator = np.random.default_rng(0)
    shapes = [(60, 80, 3), (80, 60, 3), (64, 64, 3)]
    return [Image.fromarray(generator.integers(0, 255, shapes[i % 3], dtype=np.uint8)) for i in range(count)]


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedBackbone:
    folder = tmp_path_factory.mktemp(request.param)
    write_backbone(request.param, folder)
    torch.set_num_threads(1)
    return load_backbone(Backbone(name=request.param, path=str(folder), revision="tiny", answer=AnswerForm.LETTER))


def with_texts(backbone: LoadedBackbone) -> LoadedBackbone:
    return replace(backbone, identity=replace(backbone.identity, answer=AnswerForm.TEXT))


def train(
    backbone: LoadedBackbone,
    examples: list[Example],
    folder: Path,
    stop: Any = bool,
    lora: Lora | None = None,
    **more: Any,
) -> Training:
    recipe = replace(read_study([]).finetune, batch_size=4, epochs=8, learning_rate=1e-2, lora=lora)
    job = FinetuneJob(data=DATA, backbone=backbone.identity, mixture=Mixture(parts=(), seed=0), recipe=recipe, seed=0)
    surroundings = Surroundings(
        folder=folder / "checkpoints", weights=folder / "model", save_every_s=1e9, event=lambda *_, **__: None,
        is_stopping=stop, **more,
    )  # fmt: skip
    return run_finetune(job, backbone, examples, surroundings)


def repeat(examples: list[Example]) -> list[Example]:
    """Make a little training set."""
    return [examples[number % len(examples)] for number in range(12)]


def test_letters_are_read_in_one_forward_whatever_stands_beside(loaded: LoadedBackbone) -> None:
    """The same alone and in a batch of other lengths and image shapes; and the whole model's own answer."""
    examples = encode_questions(loaded, QUESTIONS, make_images())
    together, alone = (score_options(loaded, examples, size) for size in (3, 1))
    for first, second in zip(together, alone, strict=True):
        assert first == pytest.approx(second, abs=1e-4)
    for question, image, scores in zip(QUESTIONS, make_images(), alone, strict=True):
        assert len(scores) == len(question.options)
        assert scores == pytest.approx(ask_whole_model(loaded, question, image), abs=1e-4)


@torch.inference_mode()
def ask_whole_model(backbone: LoadedBackbone, question: Question, image: Image.Image) -> list[float]:
    """Ask through the model's own forward, with the prompt that its template and processor give."""
    backbone.model.eval()
    turn = {
        "role": "user",
        "content": [{"type": "image"}, {"type": "text", "text": format_question(question, AnswerForm.LETTER)}],
    }
    text = backbone.processor.tokenizer.apply_chat_template(
        [turn], chat_template=backbone.processor.chat_template, tokenize=False, add_generation_prompt=True
    )
    inputs = backbone.processor(text=[text], images=[[image]], return_tensors="pt")
    logits_V = backbone.model(**inputs).logits[0, -1].float().log_softmax(-1)
    tokenizer = backbone.processor.tokenizer
    return [
        float(logits_V[tokenizer(letter, add_special_tokens=False)["input_ids"][0]])
        for letter in "ABCD"[: len(question.options)]
    ]


def test_the_image_reaches_the_answer(loaded: LoadedBackbone) -> None:
    examples = encode_questions(loaded, [QUESTIONS[0]] * 2, [make_images(1)[0], Image.new("RGB", (80, 60))])
    seen, blank = score_options(loaded, examples, 2)
    assert seen != pytest.approx(blank, abs=1e-7)


def test_texts_are_scored_by_all_of_their_tokens(loaded: LoadedBackbone) -> None:
    asked = with_texts(loaded)
    examples = encode_questions(asked, QUESTIONS, make_images())
    together, alone = (score_options(asked, examples, size) for size in (3, 1))
    for first, second in zip(together, alone, strict=True):
        assert first == pytest.approx(second, abs=2e-4)
    assert len({len(option) for example in examples for option in example.options}) > 1


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, Lora(rank=8, alpha=32, dropout=0.1)], ids=["full", "lora"])
def test_a_fine_tune_learns_and_goes_on_bit_for_bit_where_it_stopped(
    lora: Lora | None, loaded: LoadedBackbone, tmp_path: Path
) -> None:
    examples = repeat(encode_questions(loaded, QUESTIONS, make_images()))
    done = train(loaded, examples, tmp_path / "whole", lora=lora)
    assert done.loss_last < (0.5 if lora is None else 0.97) * done.loss_first  # a random head that stays can do little
    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps == 5

    with pytest.raises(InterruptedByUserError):
        train(loaded, examples, tmp_path / "cut", stop, lora=lora)
    train(loaded, examples, tmp_path / "cut", lora=lora)
    file = "adapter_model.safetensors" if lora else "model.safetensors"
    whole, cut = (load_file(tmp_path / name / "model" / file) for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(whole[name].equal(cut[name]) for name in whole)
    asked = examples[: len(QUESTIONS)]
    restore_weights(loaded, None)
    before = score_options(loaded, asked, 3)
    restore_weights(loaded, tmp_path / "whole" / "model")
    after = score_options(loaded, asked, 3)
    restore_weights(loaded, None)
    gains = [new[one.answer] - old[one.answer] for new, old, one in zip(after, before, asked, strict=True)]
    assert sum(gains) > 0.3


def test_adapters_leave_no_trace_and_name_what_they_can_be_put_on(loaded: LoadedBackbone) -> None:
    before = {name: parameter.detach().clone() for name, parameter in loaded.model.named_parameters()}
    with adapting(
        loaded, Lora(rank=2, alpha=2, dropout=0, targets=("q_proj",)), "language_model_and_projector"
    ) as model:
        trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        assert trained
        assert all("q_proj" in name and "vision" not in name for name in trained)
    assert {name for name, _ in loaded.model.named_parameters()} == set(before)
    assert all(parameter.equal(before[name]) for name, parameter in loaded.model.named_parameters())
    wrong = Lora(rank=2, alpha=2, dropout=0, targets=("nothing",))
    with (
        pytest.raises(UserError, match="no linear layer ends in nothing; there are .*q_proj"),
        adapting(loaded, wrong, "all"),
    ):
        pass


@pytest.mark.slow
def test_a_batch_in_parts_trains_the_same(loaded: LoadedBackbone, tmp_path: Path) -> None:
    examples = repeat(encode_questions(loaded, QUESTIONS, make_images()))
    whole, parts = (train(loaded, examples, tmp_path / str(parts), parts=parts) for parts in (1, 2))
    assert parts.loss_last == pytest.approx(whole.loss_last, rel=0.02)


@pytest.mark.parametrize("part", ["language_model_and_projector", "projector"])
def test_frozen_parts_stay(part: str, loaded: LoadedBackbone) -> None:
    """Every architecture has something in each part that a recipe can name."""
    select_trainable(loaded, part)
    trained = {name for name, parameter in loaded.model.named_parameters() if parameter.requires_grad}
    everything = {name for name, _ in loaded.model.named_parameters()}
    select_trainable(loaded, "all")
    assert trained
    assert trained < everything
    has_text = any(
        "layers.0.self_attn" in name or "layers.1.cross_attn" in name for name in trained if "vision" not in name
    )
    assert has_text == (part != "projector")
