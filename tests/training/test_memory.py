"""What fits on a device, without a device: the search, bfloat16 on a CPU, and activations computed twice."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cg_lab.errors import InterruptedByUserError
from cg_lab.models.backbone import LoadedBackbone, select_trainable
from cg_lab.models.batches import Example
from cg_lab.training.memory import fit_memory, search_fit, trained_in_float32
from tests.training.test_finetune import Stopper, examples, run

__all__ = ["examples"]


class Device:
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
    assert search_fit(Device(room), 12, least_parts, checkpointing=always) == found  # type: ignore[arg-type]


def test_nothing_that_fits_is_out_of_memory() -> None:
    device = Device(0)
    with pytest.raises(torch.OutOfMemoryError):
        search_fit(device, 4, 1, checkpointing=False)
    assert device.tried == [(4, False), (2, False), (1, False), (4, True), (2, True), (1, True)]


def test_on_a_cpu_nothing_is_tried(backbone: LoadedBackbone) -> None:
    fit = fit_memory(backbone.model, None, batch_size=8, parts=2, checkpointing=False)
    assert (fit.parts, fit.checkpointing, fit.is_reduced, fit.is_measured) == (2, False, False, False)


def test_computation_is_in_bfloat16_and_trained_weights_are_not(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path
) -> None:
    half = replace(backbone, model=deepcopy(backbone.model).to(torch.bfloat16), untouched={})
    select_trainable(half, "projector")
    with trained_in_float32(half.model):
        dtypes = {name: parameter.dtype for name, parameter in half.model.named_parameters()}
    assert {dtype for name, dtype in dtypes.items() if "projector" in name} == {torch.float32}
    assert {dtype for name, dtype in dtypes.items() if "projector" not in name} == {torch.bfloat16}
    done = run(half, examples, tmp_path, Stopper())
    assert done.loss_last < 0.7 * done.loss_first
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.bfloat16}
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert {values.dtype for values in saved.values()} == {torch.bfloat16}


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
