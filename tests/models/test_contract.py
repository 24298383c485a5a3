"""What every architecture has to do, shown on tiny random models that are loaded as hub models are."""

from __future__ import annotations

import os
import warnings
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cg_lab.boxes import find_style, parse_boxes
from cg_lab.catalog import PhantomData
from cg_lab.config import read_study
from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.models.adapters import adapting
from cg_lab.models.answer_loss import compute_answer_logits, compute_answer_loss
from cg_lab.models.backbone import (
    LoadedBackbone,
    keep_untouched,
    load_backbone,
    restore_weights,
    select_trainable,
    using_weights,
)
from cg_lab.models.batches import IGNORED, Example, collate, collate_training, move_batch
from cg_lab.models.chat_prompts import DATE
from cg_lab.models.encoding import Seen, encode_questions, encode_seen, find_size, see_images
from cg_lab.models.generating import write_answers
from cg_lab.models.precision import Device
from cg_lab.models.prepared import Pool, PreparedImages
from cg_lab.models.reading import reading_in_places
from cg_lab.models.scoring import score_options
from cg_lab.models.tower import FEATURES, compute_features, find_tower, playing_back
from cg_lab.planning.work import FinetuneJob, Mixture
from cg_lab.questions import AnswerForm, BoxQuestion, Question, Shots, format_question, rotate
from cg_lab.recipe import Lora
from cg_lab.study import Backbone
from cg_lab.training.finetune import Training, run_finetune
from cg_lab.training.trainer_arguments import Surroundings
from tests.models.chat_templates import TEMPLATES
from tests.models.tiny_backbones import ARCHITECTURES
from tests.models.tiny_hub_backbones import HUB_ARCHITECTURES, HUB_TEMPLATES, write_any_backbone

FRAMES = TEMPLATES | HUB_TEMPLATES
UNPREPARED = {"paligemma"}
"""Prompts that do not end in the question, so that an image can't be read apart from it."""

DATA = PhantomData(version=1, world="compositional", seed=0, image_size=48, train_per_subset=1, test_per_subset=1)
QUESTIONS = [
    Question(text="What is shown?", options=("the left side", "right"), answer=0),
    Question(text="Which of these is it, if you look again?", options=("a", "bb", "ccc", "d"), answer=3),
    Question(text="Hm?", options=("x", "y", "z"), answer=1),
]


def make_images(count: int = len(QUESTIONS)) -> list[Image.Image]:
    """Make images of several shapes."""
    generator = np.random.default_rng(0)
    shapes = [(60, 80, 3), (96, 40, 3), (64, 64, 3)]
    return [Image.fromarray(generator.integers(0, 255, shapes[i % 3], dtype=np.uint8)) for i in range(count)]


@pytest.fixture(scope="module", params=[*ARCHITECTURES, *HUB_ARCHITECTURES])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedBackbone:
    folder = tmp_path_factory.mktemp(request.param)
    write_any_backbone(request.param, folder)
    torch.set_num_threads(1)
    return load_backbone(Backbone(name=request.param, path=str(folder), revision="tiny", answer=AnswerForm.LETTER))


def score(backbone: LoadedBackbone, examples: list[Example], batch_size: int) -> list[tuple[float, ...]]:
    """Score questions that are asked in one order."""
    return [row for (row,) in score_options(backbone, [(example,) for example in examples], batch_size)]


def with_texts(backbone: LoadedBackbone) -> LoadedBackbone:
    return replace(backbone, identity=replace(backbone.identity, answer=AnswerForm.TEXT))


def train(
    backbone: LoadedBackbone,
    examples: list[Example],
    folder: Path,
    stop: Any = bool,
    *,
    lora: Lora | None = None,
    part: Literal["all", "language_model_and_projector", "projector"] = "all",
    epochs: float = 8,
    **more: Any,
) -> Training:
    recipe = replace(
        read_study([]).finetune, batch_size=4, epochs=epochs, learning_rate=1e-2, lora=lora, trainable=part
    )
    job = FinetuneJob(data=DATA, backbone=backbone.identity, mixture=Mixture(parts=(), seed=0), recipe=recipe, seed=0)
    surroundings = Surroundings(
        folder=folder / "checkpoints", weights=folder / "model", save_every_s=1e9, is_stopping=stop,
        **{"event": lambda *_, **__: None, **more},
    )  # fmt: skip
    return run_finetune(job, backbone, examples, surroundings)


def repeat(examples: list[Example]) -> list[Example]:
    """Make a little training set."""
    return [examples[number % len(examples)] for number in range(12)]


def test_letters_are_read_in_one_forward_whatever_stands_beside(loaded: LoadedBackbone) -> None:
    """The same alone and in a batch of other lengths and image shapes; and the whole model's own answer."""
    examples = encode_questions(loaded, QUESTIONS, make_images())
    together, alone = (score(loaded, examples, size) for size in (3, 1))
    for first, second in zip(together, alone, strict=True):
        assert first == pytest.approx(second, abs=1e-4)
    for question, image, scores in zip(QUESTIONS, make_images(), alone, strict=True):
        assert len(scores) == len(question.options)
        assert scores == pytest.approx(ask_whole_model(loaded, question, image), abs=1e-4)


def process_whole(backbone: LoadedBackbone, question: Question, image: Image.Image, ahead: str = "") -> Any:
    """Give what the processor makes of the template's own generation prompt, with text behind it."""
    turn = {
        "role": "user",
        "content": [{"type": "image"}, {"type": "text", "text": format_question(question, backbone.identity.answer)}],
    }
    text = backbone.processor.tokenizer.apply_chat_template(
        [turn], chat_template=backbone.processor.chat_template, tokenize=False, add_generation_prompt=True
    )
    text = text.replace(f"{datetime.now().astimezone():%d %b %Y}", f"{DATE:%d %b %Y}")
    has_start = text.startswith("<s>")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # processors that make arrays of tensors
        return backbone.processor(
            text=[text + ahead], images=[[image]], return_tensors="pt", add_special_tokens=not has_start
        )


@torch.inference_mode()
def ask_whole_model(backbone: LoadedBackbone, question: Question, image: Image.Image) -> list[float]:
    """Ask through the model's own forward, with the prompt that its template and processor give."""
    backbone.model.eval()
    inputs = process_whole(backbone, question, image, FRAMES[backbone.identity.name].ahead)
    logits_V = backbone.model(**inputs).logits[0, -1].float().log_softmax(-1)
    tokenizer = backbone.processor.tokenizer
    return [
        float(logits_V[tokenizer(letter, add_special_tokens=False)["input_ids"][0]])
        for letter in "ABCD"[: len(question.options)]
    ]


@pytest.mark.parametrize("form", list(AnswerForm))
def test_an_answer_is_trained_behind_inferences_own_prompt_and_ends_where_generation_stops(
    form: AnswerForm, loaded: LoadedBackbone
) -> None:
    asked = replace(loaded, identity=replace(loaded.identity, answer=form))
    (example,) = encode_questions(asked, QUESTIONS[1:2], make_images(1))
    (question,), (image,) = QUESTIONS[1:2], make_images(1)
    assert example.prompt == process_whole(asked, question, image)["input_ids"][0].tolist()
    batch = collate_training([example], pad_id=0)
    (labels,) = [[one for one in row if one != IGNORED] for row in batch["labels"].tolist()]
    template, tokenizer = FRAMES[loaded.identity.name], loaded.processor.tokenizer
    end = tokenizer.convert_tokens_to_ids(template.end)
    assert tokenizer.decode(labels[:-1]) == template.ahead + ("D" if form is AnswerForm.LETTER else "d")
    assert labels[-1] == end
    assert labels.count(end) == 1
    stops = loaded.model.generation_config.eos_token_id
    assert end in stops


def test_the_image_reaches_the_answer(loaded: LoadedBackbone) -> None:
    examples = encode_questions(loaded, [QUESTIONS[0]] * 2, [make_images(1)[0], Image.new("RGB", (80, 60))])
    seen, blank = score(loaded, examples, 2)
    assert seen != pytest.approx(blank, abs=1e-7)


def test_texts_are_scored_by_all_of_their_tokens(loaded: LoadedBackbone) -> None:
    asked = with_texts(loaded)
    examples = encode_questions(asked, QUESTIONS, make_images())
    together, alone = (score(asked, examples, size) for size in (3, 1))
    for first, second in zip(together, alone, strict=True):
        assert first == pytest.approx(second, abs=2e-4)
    assert len({len(option) for example in examples for option in example.options}) > 1


@pytest.mark.parametrize("form", list(AnswerForm))
def test_all_orders_of_the_options_behind_one_image_score_as_they_do_alone(
    form: AnswerForm, loaded: LoadedBackbone
) -> None:
    asked = replace(loaded, identity=replace(loaded.identity, answer=form))
    turned = [[rotate(question, steps) for steps in range(len(question.options))] for question in QUESTIONS]
    turns = [encode_questions(asked, row, [image] * len(row)) for row, image in zip(turned, make_images(), strict=True)]
    together = score_options(asked, turns, batch_size=16)
    for row, found in zip(turns, together, strict=True):
        assert len(found) == len(row)
        for turn, scores in zip(row, found, strict=True):
            assert scores == pytest.approx(score(asked, [turn], 1)[0], abs=2e-4)


def test_what_it_writes_is_the_likeliest_token_each_time_whatever_stands_beside(loaded: LoadedBackbone) -> None:
    examples = encode_questions(loaded, QUESTIONS, make_images())
    together, alone = (write_answers(loaded, examples, size, max_new_tokens=5) for size in (3, 1))
    for first, second in zip(together, alone, strict=True):
        assert first.text == second.text
        assert first.log_prob == pytest.approx(second.log_prob, abs=1e-4)
    for example, first in zip(examples, write_answers(loaded, examples, 3, max_new_tokens=1), strict=True):
        with torch.inference_mode():
            token = int(loaded.model(**collate([example], [()], 0)).logits[0, -1].argmax())
        assert first.text == loaded.processor.tokenizer.decode([token], skip_special_tokens=True).strip()


def test_boxes_are_trained_on_and_read_back_in_the_model_s_own_convention(loaded: LoadedBackbone) -> None:
    question = BoxQuestion(text="Where is it?", boxes=((0.125, 0.25, 0.5, 0.75), (0.5, 0.5, 0.75, 1.0)))
    (example,) = encode_questions(loaded, [question], make_images(1))
    text = loaded.processor.tokenizer.decode(example.options[0], skip_special_tokens=True)
    style = find_style(loaded.model.config.model_type)
    size = find_size(loaded, example.image)
    read = parse_boxes(text, style, size)
    exact = 0.5 / min(size) if style.unit == "pixel" else 0.0051
    assert [value for box in read for value in box] == pytest.approx(
        [value for box in question.boxes for value in box], abs=exact
    )


def test_examples_in_the_prompt_come_before_the_question_with_their_images(loaded: LoadedBackbone) -> None:
    shots = Shots(questions=tuple(QUESTIONS[1:]), images=tuple(make_images()[1:]))
    image = make_images(1)
    (plain,) = encode_questions(loaded, QUESTIONS[:1], image)
    (shown,) = encode_questions(loaded, QUESTIONS[:1], image, shots)
    text = loaded.processor.tokenizer.decode(shown.prompt)
    places = [text.index(question.text) for question in (*QUESTIONS[1:], QUESTIONS[0])]
    assert places == sorted(places)
    assert len(shown.prompt) > 2 * len(plain.prompt)
    (first,), (second,) = score(loaded, [shown], 1), score(loaded, [plain], 1)
    assert first != pytest.approx(second, abs=1e-7)
    other = replace(shots, images=(Image.new("RGB", (80, 60)), *shots.images[1:]))
    (changed,) = score(loaded, encode_questions(loaded, QUESTIONS[:1], image, other), 1)
    assert changed != pytest.approx(first, abs=1e-7)


def test_prepared_images_are_what_the_processor_gives(loaded: LoadedBackbone, tmp_path: Path) -> None:
    """Written to disk and mapped, with and without the frozen tower's outputs."""
    restore_weights(loaded)
    images = dict(zip("abc", make_images(), strict=True))
    pool = Pool(key="pool", ids=tuple(images), read=lambda ids: [images[one] for one in ids])
    asked = [QUESTIONS[2], QUESTIONS[0]]
    plain = encode_questions(loaded, asked, [images["c"], images["a"]])
    for with_features in (False, True):
        for _ in range(2):  # written, then read by another process
            prepared = PreparedImages(loaded, tmp_path, max_gb=1)
            if loaded.identity.name in UNPREPARED:
                assert prepared.see(pool, ["c", "a"], with_features=with_features) is None
                return
            seen = prepared.see(pool, ["c", "a"], with_features=with_features)
            assert seen is not None
            for first, second in zip(encode_seen(loaded, asked, seen), plain, strict=True):
                assert (first.prompt, first.options) == (second.prompt, second.options)
                assert set(first.image) - {FEATURES} == set(second.image)
                assert all(first.image[key].equal(second.image[key]) for key in second.image)
                assert all(first.tokens[key].equal(second.tokens[key]) for key in second.tokens)
    files = list(tmp_path.glob("*.safetensors"))
    assert len(files) == (1 if find_tower(loaded) is None else 2)
    full = PreparedImages(loaded, tmp_path / "full", max_gb=0)
    assert full.see(pool, ["a"]) is not None
    assert not (tmp_path / "full").exists()


def test_a_damaged_shard_is_made_again(loaded: LoadedBackbone, tmp_path: Path) -> None:
    """Cut short, or with one bit turned: its hash tells."""
    images = dict(zip("abc", make_images(), strict=True))
    pool = Pool(key="pool", ids=tuple(images), read=lambda ids: [images[one] for one in ids])

    def see() -> list[Seen]:
        found = PreparedImages(loaded, tmp_path, max_gb=1).see(pool, list(images))
        assert found is not None
        return found

    if loaded.identity.name in UNPREPARED:
        return
    plain = see()
    (file,) = tmp_path.glob("*.safetensors")
    whole = file.read_bytes()
    turned = bytearray(whole)
    turned[-40] ^= 4
    for payload in (whole[:100], bytes(turned), b""):
        file.unlink()  # what is mapped must not change
        file.write_bytes(payload)
        for first, second in zip(see(), plain, strict=True):
            assert all(first.image[key].equal(second.image[key]) for key in second.image)
        assert file.read_bytes() == whole


def test_shards_that_were_not_used_for_longest_make_room(loaded: LoadedBackbone, tmp_path: Path) -> None:
    images = dict(zip("abc", make_images(), strict=True))
    pools = [
        Pool(key=f"pool{number}", ids=tuple(images), read=lambda ids: [images[one] for one in ids])
        for number in range(3)
    ]
    if loaded.identity.name in UNPREPARED:
        return
    PreparedImages(loaded, tmp_path, max_gb=1).see(pools[0], ["a"])
    (first,) = tmp_path.glob("*.safetensors")
    prepared = PreparedImages(loaded, tmp_path, max_gb=2.5 * first.stat().st_size / 1e9)
    os.utime(first, (1, 1))
    for pool in pools[1:]:
        assert prepared.see(pool, ["a", "c"]) is not None
    assert not first.exists()
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_a_frozen_tower_played_back_trains_as_one_that_runs(
    loaded: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_tower(loaded) is None:
        without = {"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "mllama", *HUB_ARCHITECTURES}
        assert loaded.identity.name in without
        return
    restore_weights(loaded)
    monkeypatch.setattr("cg_lab.models.tower.LEAST_SHARE", 0)
    images = dict(zip("abc", make_images(), strict=True))
    pool = Pool(key="pool", ids=tuple(images), read=lambda ids: [images[one] for one in ids])
    seen = [
        PreparedImages(loaded, tmp_path, max_gb=1).see(pool, list(images), with_features=has) for has in (True, False)
    ]
    curves = []
    calls = []
    inside = next(layer for layer in find_tower(loaded).modules() if isinstance(layer, torch.nn.Linear))
    handle = inside.register_forward_hook(lambda *_: calls.append(1))
    for part in seen:
        assert part is not None
        examples = repeat(encode_seen(loaded, QUESTIONS, part))
        calls.clear()
        folder = tmp_path / str(len(curves))
        curves.append((train(loaded, examples, folder, part="language_model_and_projector", epochs=1), len(calls)))
    handle.remove()
    (first, calls_back), (second, calls_run) = curves
    assert (calls_back, calls_run > 0) == (0, True)
    assert (first.loss_first, first.loss_last) == pytest.approx((second.loss_first, second.loss_last), rel=1e-3)


def test_a_tower_played_back_answers_as_one_that_runs(
    loaded: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By likelihood, in one and in all orders, and in its own words."""
    tower = find_tower(loaded)
    if tower is None:
        return
    restore_weights(loaded)
    monkeypatch.setattr("cg_lab.models.tower.LEAST_SHARE", 0)
    images = dict(zip("abc", make_images(), strict=True))
    pool = Pool(key="pool", ids=tuple(images), read=lambda ids: [images[one] for one in ids])
    kept = PreparedImages(loaded, tmp_path, max_gb=1).see(pool, list(images), with_features=True)
    plain = see_images(loaded, make_images())
    assert kept
    assert plain
    calls = []
    inside = next(layer for layer in tower.modules() if isinstance(layer, torch.nn.Linear))
    handle = inside.register_forward_hook(lambda *_: calls.append(1))
    found = []
    for seen in (kept, plain):
        calls.clear()
        turns = [
            encode_seen(loaded, [rotate(question, steps) for steps in range(2)], [one] * 2)
            for question, one in zip(QUESTIONS, seen, strict=True)
        ]
        one = score(loaded, [row[0] for row in turns], 2)
        texts = [written.text for written in write_answers(loaded, [row[0] for row in turns], 2, max_new_tokens=3)]
        found.append((one, score_options(loaded, turns, 4), texts, len(calls)))
    handle.remove()
    (one, every, texts, calls_back), (other, each, words, calls_run) = found
    assert (calls_back, calls_run > 0) == (0, True)
    assert [value for row in one for value in row] == pytest.approx([v for row in other for v in row], abs=1e-4)
    flat = [[value for rows in asked for row in rows for value in row] for asked in (every, each)]
    assert flat[0] == pytest.approx(flat[1], abs=1e-4)
    assert texts == words


def test_no_answer_token_is_in_sight_of_its_own_prediction(loaded: LoadedBackbone) -> None:
    """Nor any behind it: other answers change nothing of what is foretold before them."""
    restore_weights(loaded)
    loaded.model.eval()
    (example,) = encode_questions(with_texts(loaded), QUESTIONS[:1], make_images(1))
    batch = collate_training([example], pad_id=0)
    start, answer = len(example.prompt), example.options[example.answer]
    with torch.no_grad(), playing_back(loaded):
        expected, _ = compute_answer_logits(loaded.model, move_batch(loaded.model, batch))
        for place in range(len(answer)):
            other = {**batch, "input_ids": batch["input_ids"].clone()}
            other["input_ids"][0, start + place] = answer[place - 1]
            logits, _ = compute_answer_logits(loaded.model, move_batch(loaded.model, other))
            assert torch.allclose(logits[: place + 1], expected[: place + 1], atol=1e-6)
            assert answer[place] == answer[place - 1] or place + 1 == len(answer) or not logits.equal(expected)


def test_the_loss_and_its_gradients_are_the_model_s_own(loaded: LoadedBackbone) -> None:
    """Though head and last layer run at the answers alone, which are of unequal length, and padding is not masked."""
    restore_weights(loaded)
    select_trainable(loaded, "all")
    loaded.model.eval()
    asked = encode_questions(with_texts(loaded), QUESTIONS, make_images())
    assert len({len(one.options[one.answer]) for one in asked}) > 1
    batch = collate_training(asked, pad_id=0)
    moved = {**move_batch(loaded.model, batch), "labels": batch["labels"]}
    gradients: list[dict[str, torch.Tensor]] = []
    losses: list[float] = []

    def take(loss: torch.Tensor) -> None:
        loss.backward()
        named = loaded.model.named_parameters()
        gradients.append({name: one.grad.clone() for name, one in named if one.grad is not None and one.grad.any()})
        losses.append(float(loss.detach()))
        loaded.model.zero_grad()

    rows: list[int] = []
    inside = loaded.model.get_decoder().layers[-1].mlp.down_proj
    handle = inside.register_forward_hook(lambda _, given, __: rows.append(given[0].shape[:-1].numel()))
    take(loaded.model(**moved).loss)
    with playing_back(loaded), reading_in_places(loaded.model):
        take(compute_answer_loss(loaded.model, moved))
    handle.remove()
    longest = max(len(one.options[one.answer]) for one in asked)
    assert rows == [batch["labels"].numel(), len(asked) * longest]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[0].items():
        assert torch.allclose(gradients[1][name], expected, atol=1e-5, rtol=1e-3), name


def test_what_a_gpu_would_load_is_asked_and_trained_with_float32_masters(
    loaded: LoadedBackbone, tmp_path: Path
) -> None:
    """In bfloat16, shown on the CPU: scores stay near float32's, and weights are saved as they were loaded."""
    restore_weights(loaded)
    half = replace(loaded, model=deepcopy(loaded.model).to(torch.bfloat16), untouched={})
    examples = encode_questions(half, QUESTIONS, make_images())
    for found, expected in zip(score(half, examples, 3), score(loaded, examples, 3), strict=True):
        assert found == pytest.approx(expected, abs=0.15)
    device = Device(name="stand-in", memory=100_000_000, host_memory=100_000_000, is_gpu=True, has_bfloat16=True)
    events: list[dict[str, Any]] = []
    note = lambda event, **facts: events.append({"event": event, **facts})  # noqa: E731
    done = train(half, repeat(examples), tmp_path, epochs=1, device=device, event=note)
    assert np.isfinite(done.loss_last)
    assert {"event": "precision", "loaded": "bfloat16", "float32_masters": "device"} in events
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert {values.dtype for values in saved.values()} == {torch.bfloat16}


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
    restore_weights(loaded)
    before = score(loaded, asked, 3)
    with using_weights(loaded, tmp_path / "whole" / "model"):
        after = score(loaded, asked, 3)
    with using_weights(loaded, None):
        assert score(loaded, asked, 3) == before
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


def test_a_checkpoint_has_the_hub_s_names_and_is_read_back(loaded: LoadedBackbone, tmp_path: Path) -> None:
    restore_weights(loaded)
    before = {name: values.clone() for name, values in loaded.model.state_dict().items()}
    keep_untouched(loaded, before)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.add_(0.5)
    moved = {name: values.clone() for name, values in loaded.model.state_dict().items()}
    loaded.model.save_pretrained(tmp_path)
    restore_weights(loaded)
    assert (
        load_file(tmp_path / "model.safetensors").keys()
        == load_file(Path(loaded.identity.path) / "model.safetensors").keys()
    )
    with using_weights(loaded, tmp_path):
        state = loaded.model.state_dict()
        assert all(state[name].equal(values) for name, values in moved.items())
    restore_weights(loaded)
    assert all(values.equal(before[name]) for name, values in loaded.model.state_dict().items())


@pytest.mark.slow
def test_a_batch_in_parts_trains_the_same(loaded: LoadedBackbone, tmp_path: Path) -> None:
    if loaded.model.config.model_type not in {"llava", "qwen2_5_vl", "mllama"}:
        return  # one of each way to hand over images is enough
    examples = repeat(encode_questions(loaded, QUESTIONS, make_images()))
    whole, parts = (train(loaded, examples, tmp_path / str(parts), parts=parts) for parts in (1, 2))
    assert parts.loss_last == pytest.approx(whole.loss_last, rel=0.02)


@pytest.mark.parametrize("part", ["language_model_and_projector", "vision_and_projector", "projector"])
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
    assert has_text == (part == "language_model_and_projector")


def test_a_tower_s_outputs_are_those_of_the_untouched_one(loaded: LoadedBackbone, tmp_path: Path) -> None:
    """Also if a job before trained the tower."""
    tower = find_tower(loaded)
    if tower is None:
        return
    images = dict(zip("abc", make_images(), strict=True))
    pool = Pool(key="pool", ids=tuple(images), read=lambda ids: [images[one] for one in ids], is_kept=False)
    restore_weights(loaded)
    expected = compute_features(loaded, see_images(loaded, make_images()) or [])
    keep_untouched(loaded, loaded.model.state_dict())
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.mul_(1.5)
    seen = PreparedImages(loaded, tmp_path, max_gb=1).see(pool, ["b"], with_features=True)
    assert seen is not None
    assert expected is not None
    if FEATURES in seen[0].image:
        assert seen[0].image[FEATURES].equal(expected[1])
    restore_weights(loaded)
