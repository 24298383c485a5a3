"""What fits on a device, without a device: the search, bfloat16 on a CPU, and activations computed twice."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.batches import Example
from cg_lab.models.precision import Device
from cg_lab.recipe import Lora
from cg_lab.training import finetune
from cg_lab.training.host_adamw import MASTERS
from cg_lab.training.memory import count_parameters, find_precision, fit_memory, search_fit
from cg_lab.training.trainer_arguments import build_arguments
from tests.training.test_finetune import Stopper, examples, make_examples, run

__all__ = ["examples"]


class Room:
    """Holds so many samples at once, and twice as many if activations are computed twice."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.tried: list[tuple[int, bool]] = []

    def __call__(self, size: int, *, checkpointing: bool) -> None:
        self.tried.append((size, checkpointing))
        if size > self.room * (2 if checkpointing else 1):
            raise torch.OutOfMemoryError


@pytest.mark.parametrize(
    ("room", "least_parts", "always", "found"),
    [
        (99, 1, False, (1, False)),
        (5, 1, False, (3, False)),  # of 12, parts of 4 fit
        (99, 4, False, (4, False)),  # an earlier attempt ran out with fewer
        (0.5, 1, False, (12, True)),
        (2, 1, True, (3, True)),
    ],
)
def test_the_fewest_parts_that_fit_are_taken_and_activations_kept_if_one_sample_fits(
    room: float, least_parts: int, always: bool, found: tuple[int, bool]
) -> None:
    assert search_fit(Room(room), 12, least_parts, checkpointing=always) == found  # type: ignore[arg-type]


def test_nothing_that_fits_is_out_of_memory() -> None:
    device = Room(0)
    with pytest.raises(torch.OutOfMemoryError):
        search_fit(device, 4, 1, checkpointing=False)
    assert device.tried == [(4, False), (2, False), (1, False), (4, True), (2, True), (1, True)]


def test_on_a_cpu_nothing_is_tried(backbone: LoadedBackbone) -> None:
    precision = find_precision(backbone.model, count_parameters(backbone.model, has_adapters=False))
    fit = fit_memory(backbone.model, None, precision, batch_size=8, parts=2, checkpointing=False)
    assert (fit.parts, fit.checkpointing, fit.is_reduced, fit.is_measured) == (2, False, False, False)


def load_in_half(backbone: LoadedBackbone) -> LoadedBackbone:
    """Give the model as a GPU would load it."""
    return replace(backbone, model=deepcopy(backbone.model).to(torch.bfloat16), untouched={})


def stand_in(megabytes: float) -> Device:
    return Device(name="stand-in", memory=int(megabytes * 1e6), host_memory=100_000_000, is_gpu=True, has_bfloat16=True)


LORA = Lora(rank=2, alpha=4, dropout=0.0)
RECIPES: dict[str, dict[str, Any]] = {
    "full": {"trainable": "all"},
    "frozen_vision": {"trainable": "language_model_and_projector"},
    "projector": {"trainable": "projector"},
    "lora": {"trainable": "language_model_and_projector", "lora": LORA},
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note whether Trainer is told to compute in bfloat16."""
    noted: list[bool] = []

    def build(*given: Any) -> Any:
        arguments = build_arguments(*given)
        noted.append(arguments.bf16)
        return arguments

    monkeypatch.setattr(finetune, "build_arguments", build)
    return noted


class Watch(Stopper):
    """Notes which formats the trained and the frozen weights have while a model is trained, and stops soon."""

    def __init__(self, model: Any) -> None:
        super().__init__(after=2)
        self.model = model
        self.formats: dict[bool, set[torch.dtype]] = {}

    def __call__(self) -> bool:
        for weight in self.model.parameters():
            self.formats.setdefault(weight.requires_grad, set()).add(weight.dtype)
        return super().__call__()


@pytest.mark.parametrize(
    ("recipe", "megabytes", "masters"),
    [
        ("full", 60, "device"),
        ("full", 9, "host"),
        ("full", 7, None),
        ("frozen_vision", 60, "device"),
        ("frozen_vision", 9, "host"),
        ("frozen_vision", 6, None),
        ("projector", 60, "device"),
        ("projector", 4, "host"),
        ("projector", 3.9, None),
        ("lora", 60, "device"),
        ("lora", 4, None),
    ],
)
def test_what_is_trained_is_held_in_float32_wherever_there_is_room_and_nothing_is_trained_otherwise(
    backbone: LoadedBackbone, told: list[bool], tmp_path: Path, recipe: str, megabytes: float, masters: str | None
) -> None:
    half = load_in_half(backbone)
    watch = Watch(half.model)
    options = {"device": stand_in(megabytes), "batch_size": 2, "epochs": 4, **RECIPES[recipe]}
    examples = make_examples(backbone, 4)
    if masters is None:
        with pytest.raises(UserError, match=r"to train take .* of stand-in, which has"):
            run(half, examples, tmp_path, watch, **options)
        assert watch.asked == 0
        return
    with pytest.raises(InterruptedByUserError):
        run(half, examples, tmp_path, watch, **options)
    assert told == [True]  # autocast to bfloat16
    assert ("precision", {"loaded": "bfloat16", "float32_masters": masters}) in watch.events
    assert watch.formats[True] == {torch.float32 if masters == "device" else torch.bfloat16}
    assert watch.formats.get(False, {torch.bfloat16}) == {torch.bfloat16}
    (saved,) = (tmp_path / "checkpoints").glob("checkpoint-*/optimizer.pt")
    state = torch.load(saved, weights_only=True)
    moments = {values.dtype for held in state["state"].values() for values in held.values()}
    assert moments == {torch.float32}
    assert {values.dtype for values in state.get(MASTERS, [])} == ({torch.float32} if masters == "host" else set())
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.bfloat16}


def test_a_model_in_bfloat16_learns_and_is_saved_as_it_was_loaded(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path
) -> None:
    done = run(load_in_half(backbone), examples, tmp_path, Stopper(), device=stand_in(60), trainable="projector")
    assert done.loss_last < 0.7 * done.loss_first
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert {values.dtype for values in saved.values()} == {torch.bfloat16}


@pytest.mark.parametrize("megabytes", [60, 9])
def test_a_fine_tune_in_bfloat16_goes_on_from_its_float32_masters(
    backbone: LoadedBackbone, tmp_path: Path, megabytes: float
) -> None:
    ends = []
    for name, after in (("whole", None), ("cut", 2)):
        half, few = load_in_half(backbone), make_examples(backbone, 4)  # of one process, as in a pack
        options = {"device": stand_in(megabytes), "batch_size": 2, "epochs": 2}
        if after:
            with pytest.raises(InterruptedByUserError):
                run(half, few, tmp_path / name, Stopper(after=after), **options)
        run(half, few, tmp_path / name, Stopper(), **options)
        ends.append(load_file(tmp_path / name / "model" / "model.safetensors"))
    assert all(ends[0][name].equal(ends[1][name]) for name in ends[0])


@pytest.mark.slow
def test_activations_computed_twice_change_nothing(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path
) -> None:
    ends = []
    for name in ("auto", "always"):
        run(backbone, examples, tmp_path / name, Stopper(), gradient_checkpointing=name)
        ends.append(load_file(tmp_path / name / "model" / "model.safetensors"))
    assert all(torch.allclose(ends[0][name], ends[1][name], atol=1e-5) for name in ends[0])


@pytest.mark.slow
def test_batches_by_length_are_the_same_after_an_interruption_in_a_later_epoch(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path
) -> None:
    ends = []
    for name, after in (("whole", None), ("cut", 35)):
        recipe = {"batches": "by_length", "trainable": "projector", "epochs": 3}
        if after:
            with pytest.raises(InterruptedByUserError):
                run(backbone, examples * 3, tmp_path / name, Stopper(after=after), **recipe)
        run(backbone, examples * 3, tmp_path / name, Stopper(), **recipe)
        ends.append(load_file(tmp_path / name / "model" / "model.safetensors"))
    assert all(ends[0][name].equal(ends[1][name]) for name in ends[0])


@pytest.mark.slow
def test_batches_by_length_pad_less_and_see_every_sample_once(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts of two lengths, of which each batch should hold one only."""
    short = [
        replace(example, prompt=example.prompt[:-3] + example.prompt[-1:]) if number % 2 else example
        for number, example in enumerate(examples * 6)
    ]
    seen: list[list[int]] = []
    from cg_lab.models.batches import collate_training

    def collate(part: list[Example], pad_id: int) -> dict[str, torch.Tensor]:
        seen.append([len(example.prompt) for example in part])
        return collate_training(part, pad_id)

    monkeypatch.setattr("cg_lab.training.finetune.collate_training", collate)
    mixed: dict[str, int] = {}
    for name in ("random", "by_length"):
        seen.clear()
        run(backbone, short, tmp_path / name, Stopper(), batches=name, trainable="projector", epochs=1)
        mixed[name] = sum(len(set(lengths)) > 1 for lengths in seen)
        assert sum(map(len, seen)) == len(short)
    assert mixed["by_length"] < mixed["random"] / 4
