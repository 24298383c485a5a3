"""Merged adapters in memory: the very weights that peft makes, and no trace of them afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from cg_lab.models.backbone import LoadedBackbone, using_weights
from cg_lab.models.trained_adapters import MergedAdapters, UnreadableCheckpointError
from cg_lab.planning.work import AdapterMerge
from cg_lab.study import MergeMethod

WEIGHTS = (0.25, 0.75)
LAYER = "model.language_model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def folders(backbone: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Two adapters of random values on two layers."""
    made: list[Path] = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        names = [LAYER, LAYER.replace("q_proj", "v_proj")]
        adapted: Any = get_peft_model(backbone.model, LoraConfig(r=4, lora_alpha=8, target_modules=names))
        for name, values in adapted.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(values, std=0.1)
        made.append(tmp_path_factory.mktemp(f"adapters{seed}"))
        adapted.save_pretrained(made[-1])
        adapted.unload()
    return tuple(made)


def ask_merged(backbone: LoadedBackbone, folders: tuple[Path, ...], merge: AdapterMerge) -> torch.Tensor:
    with using_weights(backbone, MergedAdapters(folders=folders, merge=merge)):
        layer: Any = backbone.model.get_submodule(LAYER)
        assert layer.active_adapters == ["merged"]
        return layer.get_delta_weight("merged").detach().clone()


def merge_by(method: MergeMethod, **more: Any) -> AdapterMerge:
    density = None if method in {"linear", "cat", "svd"} else 0.5
    return AdapterMerge(**{"of": ("a", "b"), "weights": WEIGHTS, "method": method, "density": density} | more)


@pytest.mark.parametrize("method", get_args(MergeMethod))
def test_merged_weights_are_those_of_peft(
    backbone: LoadedBackbone, folders: tuple[Path, ...], method: MergeMethod
) -> None:
    merge = merge_by(method, seed=3)
    found = ask_merged(backbone, folders, merge)
    model: Any = PeftModel.from_pretrained(backbone.model, str(folders[0]), adapter_name="a")
    model.load_adapter(str(folders[1]), adapter_name="b")
    torch.manual_seed(3)
    model.add_weighted_adapter(
        ["a", "b"], list(WEIGHTS), "c", combination_type=method, density=merge.density, svd_full_matrices=False
    )
    layer: Any = backbone.model.get_submodule(LAYER)
    expected = layer.get_delta_weight("c").detach().clone()
    model.unload()
    torch.testing.assert_close(found, expected)


def test_cat_adds_up_what_each_adapter_does(backbone: LoadedBackbone, folders: tuple[Path, ...]) -> None:
    deltas: list[torch.Tensor] = []
    for folder in folders:
        with using_weights(backbone, folder):
            layer: Any = backbone.model.get_submodule(LAYER)
            deltas.append(layer.get_delta_weight("default").detach().clone())
    torch.testing.assert_close(ask_merged(backbone, folders, merge_by("cat")), 0.25 * deltas[0] + 0.75 * deltas[1])
    assert not torch.allclose(deltas[0], deltas[1])


def test_what_is_drawn_at_random_hangs_on_the_seed_alone(backbone: LoadedBackbone, folders: tuple[Path, ...]) -> None:
    first, again, other = (ask_merged(backbone, folders, merge_by("dare_linear", seed=seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_nothing_of_a_merge_stays(backbone: LoadedBackbone, folders: tuple[Path, ...]) -> None:
    before = {name: values.clone() for name, values in backbone.model.state_dict().items()}
    ask_merged(backbone, folders, merge_by("ties"))
    after = backbone.model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(values, after[name]) for name, values in before.items())


def test_whole_weights_and_broken_adapters_are_not_merged(
    backbone: LoadedBackbone, folders: tuple[Path, ...], tmp_path: Path
) -> None:
    before = list(backbone.model.state_dict())
    (tmp_path / "model.safetensors").write_bytes(b"")
    for wrong in (tmp_path, folders[0].parent / "gone"):
        with pytest.raises(UnreadableCheckpointError, match="no adapters in it"):
            ask_merged(backbone, (folders[0], wrong), merge_by("cat"))
        assert list(backbone.model.state_dict()) == before
