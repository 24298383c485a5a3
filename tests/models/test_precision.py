"""How numbers are held, by the sizes of real models and memories that stand in for real ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cg_lab.config import read_study
from cg_lab.errors import UserError
from cg_lab.models.adapters import adapting
from cg_lab.models.backbone import LoadedBackbone, select_trainable
from cg_lab.models.model_parts import count_by_shapes, read_shapes
from cg_lab.models.precision import Device, Holdings, ParameterCounts, choose_precision
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.training.memory import count_parameters

H100 = Device(name="H100", memory=85_500_000_000, host_memory=512 * 10**9, is_gpu=True, has_bfloat16=True)
H200 = replace(H100, name="H200", memory=150_700_000_000)
SMALL = replace(H100, name="T1000", memory=8 * 10**9)
FULL = ParameterCounts(trained=7_063_000_000, frozen=0, has_adapters=False)  # LLaVA-1.5-7B
FROZEN_VISION = ParameterCounts(trained=6_760_000_000, frozen=303_000_000, has_adapters=False)
PROJECTOR = ParameterCounts(trained=21_000_000, frozen=7_042_000_000, has_adapters=False)
LORA = ParameterCounts(trained=40_000_000, frozen=7_063_000_000, has_adapters=True)
ALL = {"full": FULL, "frozen_vision": FROZEN_VISION, "projector": PROJECTOR, "lora": LORA}


@pytest.mark.parametrize(
    ("recipe", "device", "masters", "device_gb", "host_gb"),
    [
        ("full", H200, "device", 113.0, 14.1),
        ("full", H100, "host", 28.3, 98.9),
        ("frozen_vision", H200, "device", 108.8, 13.5),
        ("frozen_vision", H100, "host", 27.6, 94.6),
        ("projector", H100, "device", 14.4, 0.0),
        ("lora", H100, "device", 14.8, 0.0),
    ],
)
def test_masters_are_float32_on_the_device_where_it_has_room_and_else_on_the_host(
    recipe: str, device: Device, masters: str, device_gb: float, host_gb: float
) -> None:
    precision = choose_precision(ALL[recipe], device, loaded=device.loaded)
    assert (precision.masters, precision.computes_in_bfloat16) == (masters, True)
    assert (round(precision.on_device.total / 1e9, 1), round(precision.on_host.total / 1e9, 1)) == (device_gb, host_gb)


@pytest.mark.parametrize("recipe", ALL)
def test_what_has_no_room_is_refused_with_the_bytes_that_it_takes_and_those_that_are_there(recipe: str) -> None:
    with pytest.raises(UserError) as caught:
        choose_precision(ALL[recipe], SMALL, loaded="bfloat16")
    told = str(caught.value)
    assert "T1000, which has 8.0 GB" in told
    assert {"full": "113 GB", "frozen_vision": "109 GB", "projector": "14.4 GB", "lora": "14.8 GB"}[recipe] in told
    assert ("on the host" in told) == (recipe != "lora")  # what fills it there are frozen weights


def test_a_host_without_room_for_masters_is_told_too() -> None:
    with pytest.raises(UserError) as caught:
        choose_precision(FULL, replace(H100, host_memory=64 * 10**9), loaded="bfloat16")
    assert str(caught.value) == (
        "finetune: 7,063,000,000 of 7,063,000,000 parameters to train take 113 GB before any activation, of H100, "
        "which has 85.5 GB; with float32 weights and moments on the host 28.3 GB, and 98.9 GB of the host's 64.0 GB. "
        "At most 85 % of a memory is taken for these; take finetune=lora, finetune=projector or a smaller model, a "
        "larger GPU, or cluster=slurm cluster.gpus=N cluster.sharding=fsdp"
    )


@pytest.mark.parametrize("recipe", ALL)
def test_nothing_that_is_trained_has_its_only_copy_or_its_moments_in_bfloat16(recipe: str) -> None:
    counts = ALL[recipe]
    for device in (H100, H200):
        precision = choose_precision(counts, device, loaded="bfloat16")
        of_trained = precision.on_device.weights - 2 * counts.frozen, precision.on_host.masters
        assert max(of_trained) == 4 * counts.trained
        assert precision.on_device.moments + precision.on_host.moments == 8 * counts.trained


def test_weights_that_several_gpus_share_take_a_part_of_each() -> None:
    precision = choose_precision(FULL, H100, loaded="bfloat16", num_processes=4, is_sharded=True)
    assert (precision.masters, precision.on_device.total) == ("device", 16 * FULL.trained // 4)
    assert choose_precision(FULL, H100, loaded="bfloat16", num_processes=4).masters == "host"


def test_a_processor_and_a_gpu_without_bfloat16_hold_all_in_float32() -> None:
    cpu = Device(name="this machine", memory=2 * 10**11, host_memory=2 * 10**11, is_gpu=False, has_bfloat16=True)
    turing = replace(H200, name="T4", has_bfloat16=False)
    for device in (cpu, turing):
        precision = choose_precision(FULL, device, loaded=device.loaded)
        assert (precision.loaded, precision.computes_in_bfloat16, precision.masters) == ("float32", False, "device")
    trained = 7_063_000_000
    on_cpu = choose_precision(FULL, cpu, loaded="float32")
    assert on_cpu.on_device == Holdings(
        weights=4 * trained, gradients=4 * trained, moments=8 * trained, untouched=4 * trained
    )
    assert on_cpu.on_host == Holdings()
    with pytest.raises(UserError, match="this machine, which has 16.0 GB"):
        choose_precision(FULL, replace(cpu, memory=16 * 10**9), loaded="float32")


@pytest.mark.parametrize("choice", ["full", "frozen_vision", "frozen_language_model", "projector", "lora"])
def test_what_a_recipe_trains_is_counted_from_files_as_from_memory(choice: str, backbone: LoadedBackbone) -> None:
    recipe = read_study([f"finetune={choice}"]).finetune
    select_trainable(backbone, recipe.trainable)
    with adapting(backbone, recipe.lora, recipe.trainable) as model:
        counted = count_parameters(model, has_adapters=recipe.lora is not None)
    assert count_by_shapes(read_shapes(WEIGHTS), recipe) == counted
