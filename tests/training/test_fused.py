"""Adapters side by side: the gradients and the ends are those of training alone."""

from __future__ import annotations

from collections.abc import Iterator
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
from cg_lab.errors import InterruptedByUserError
from cg_lab.models import fused as fusing
from cg_lab.models.adapters import adapting
from cg_lab.models.answer_loss import compute_answer_loss
from cg_lab.models.backbone import LoadedBackbone, restore_weights, select_trainable
from cg_lab.models.batches import Example, collate_training
from cg_lab.models.encoding import encode_questions
from cg_lab.models.fused import attached, build_fused, count_side_by_side
from cg_lab.models.reading import reading_in_places
from cg_lab.planning.work import FinetuneJob, Mixture
from cg_lab.questions import Question
from cg_lab.recipe import Lora
from cg_lab.training.finetune import run_finetune
from cg_lab.training.fused import _SideBySide, run_fused
from cg_lab.training.trainer_arguments import Surroundings

DATA = PhantomData(version=1, world="compositional", seed=0, image_size=48, train_per_subset=1, test_per_subset=1)
PART = "language_model_and_projector"


def make_examples(backbone: LoadedBackbone, seed: int, count: int = 16) -> list[Example]:
    """Ask about noise, in questions of unequal length."""
    generator = np.random.default_rng(seed)
    images = [Image.fromarray(generator.integers(0, 255, (48, 48), dtype=np.uint8)) for _ in range(count)]
    asked = [
        Question(text="Which?" if number % 3 else "Which is it?", options=("left", "none of these"), answer=number % 2)
        for number in range(count)
    ]
    return encode_questions(backbone, asked, images)


def make_jobs(backbone: LoadedBackbone, count: int) -> list[FinetuneJob]:
    recipe = replace(
        read_study([]).finetune, batch_size=4, epochs=2, lora=Lora(rank=4, alpha=8, dropout=0.0), trainable=PART,
        max_grad_norm=0.05,
    )  # fmt: skip
    return [
        FinetuneJob(data=DATA, backbone=backbone.identity, mixture=Mixture(parts=(), seed=0), recipe=recipe, seed=seed)
        for seed in range(count)
    ]


def surround(folder: Path, stop: Any = bool) -> Surroundings:
    return Surroundings(
        folder=folder / "checkpoints", weights=folder / "model", save_every_s=1e9, event=lambda *_, **__: None,
        is_stopping=stop,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _untouched(backbone: LoadedBackbone) -> Iterator[None]:
    restore_weights(backbone)
    yield
    assert not any("lora" in name or "base" in name for name, _ in backbone.model.named_parameters())


def test_gradients_side_by_side_are_those_of_each_alone(backbone: LoadedBackbone) -> None:
    jobs = make_jobs(backbone, 3)
    parts = [make_examples(backbone, seed)[:4] for seed in range(3)]
    select_trainable(backbone, PART)
    fused = build_fused(backbone, jobs[0].recipe, [job.seed for job in jobs])
    with torch.no_grad():
        for layer in fused.layers.values():  # a fresh adapter changes nothing, and its first half gets no gradient
            layer.up_KOR.normal_(std=0.02)
    with attached(fused), reading_in_places(backbone.model):
        losses = fused.compute_losses(collate_training([one for part in parts for one in part], pad_id=0))
        losses.sum().backward()
    for place, part in enumerate(parts):
        with adapting(backbone, jobs[0].recipe.lora, PART) as model:
            layers: Any = {name: model.base_model.model.get_submodule(name) for name in fused.layers}
            with torch.no_grad():
                for name, layer in fused.layers.items():
                    layers[name].lora_A["default"].weight.copy_(layer.down_KRI[place])
                    layers[name].lora_B["default"].weight.copy_(layer.up_KOR[place])
            loss = compute_answer_loss(backbone.model, collate_training(part, pad_id=0))
            loss.backward()
            assert float(losses[place].detach()) == pytest.approx(float(loss.detach()), abs=1e-5)
            for name, layer in fused.layers.items():
                for own, alone in ((layer.down_KRI, "lora_A"), (layer.up_KOR, "lora_B")):
                    assert own.grad is not None
                    expected = getattr(layers[name], alone)["default"].weight.grad
                    assert torch.allclose(own.grad[place], expected, atol=1e-5, rtol=1e-3)


def test_few_samples_are_gone_through_side_by_side_until_the_floor_of_steps(backbone: LoadedBackbone) -> None:
    jobs = [replace(job, recipe=replace(job.recipe, epochs=1, min_steps=7)) for job in make_jobs(backbone, 2)]
    parts = [make_examples(backbone, seed)[:8] for seed in range(2)]
    assert len(_SideBySide(jobs, parts)) >= 7 * 4


@pytest.mark.slow
def test_each_ends_as_if_it_had_been_trained_alone_also_when_interrupted(
    backbone: LoadedBackbone, tmp_path: Path
) -> None:
    """Clipping, order of samples, schedule and start are each one's own."""
    jobs, parts = make_jobs(backbone, 2), [make_examples(backbone, seed) for seed in range(2)]
    folders = [tmp_path / f"fused{place}" for place in range(2)]
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    with pytest.raises(InterruptedByUserError):
        run_fused(jobs, backbone, parts, folders, surround(tmp_path, stop))
    done = run_fused(jobs, backbone, parts, folders, surround(tmp_path))
    for place, (job, part) in enumerate(zip(jobs, parts, strict=True)):
        alone = run_finetune(job, backbone, part, surround(tmp_path / str(place)))
        assert done[place].training.steps == alone.steps == 8
        assert done[place].training.loss_first == pytest.approx(alone.loss_first, abs=1e-4)
        found = (folders[place], tmp_path / str(place) / "model")
        one, other = (load_file(folder / "adapter_model.safetensors") for folder in found)
        assert one.keys() == other.keys()
        assert all(torch.allclose(one[name], other[name], atol=2e-4) for name in one)
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in folders)
    assert not all(torch.allclose(first[name], second[name], atol=2e-4) for name in first)


def test_it_turns_itself_off_where_it_would_not_pay(backbone: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    (job, *_), examples = make_jobs(backbone, 1), make_examples(backbone, 0)
    assert count_side_by_side(backbone, job.recipe, examples, 8) == 1  # a CPU is filled by one

    class Gpu:
        type = "cuda"

    def count(recipe: Any, part: list[Example] = examples) -> int:
        return count_side_by_side(backbone, recipe, part, 8)

    monkeypatch.setattr(type(backbone.model), "device", Gpu())
    assert count(job.recipe) == 8
    assert count_side_by_side(backbone, job.recipe, examples, 3) == 3
    assert count(replace(job.recipe, fuse="never")) == 1
    assert count(replace(job.recipe, lora=None)) == 1
    assert count(replace(job.recipe, lora=Lora(rank=4, alpha=8, dropout=0.1))) == 1
    assert count(job.recipe, examples[:3]) == 1  # the last batch would be smaller
    uneven = [replace(examples[0], image={"pixel_values": torch.zeros(2, 3, 48, 48)}), *examples[1:]]
    assert count(job.recipe, uneven) == 1
    monkeypatch.setattr(fusing, "FILLING_WORK", 4 * 1.7e6 * 4 * 60 * 2)
    assert 1 <= count(job.recipe) <= 3
    monkeypatch.setattr(fusing, "FILLING_WORK", 1.0)
    assert count(job.recipe) == 1
