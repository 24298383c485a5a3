"""Low-rank adapters of several fine-tunes side by side on one frozen backbone, in one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from cg_lab.models.adapters import adapting
from cg_lab.models.answer_loss import compute_answer_logits
from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.batches import Example
from cg_lab.models.model_parts import VISION_PREFIXES
from cg_lab.models.tower import PLAYED_BACK
from cg_lab.planning.schedule import schedule_epochs
from cg_lab.recipe import Recipe

FILLING_WORK = 1e13
"""Operations of a training step (four for each parameter and token) that keep an H100-class GPU busy: below it the GPU
waits for the host to launch its many small kernels."""
MOST = 8


class FusedLinear(nn.Module):
    """A frozen linear layer with an adapter for each group of rows.

    The first axis of its input holds one group after the other, all of one size.
    """

    def __init__(
        self, base: nn.Linear, downs: Sequence[torch.Tensor], ups: Sequence[torch.Tensor], scale: float
    ) -> None:
        super().__init__()
        self.base = base
        self.down_KRI = nn.Parameter(torch.stack(list(downs)).float())
        self.up_KOR = nn.Parameter(torch.stack(list(ups)).float())
        self.scale = scale

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Add each group's own change."""
        grouped_KNI = values.reshape(len(self.down_KRI), -1, values.shape[-1]).to(self.down_KRI.dtype)
        low_KNR = torch.bmm(grouped_KNI, self.down_KRI.transpose(1, 2))
        change_KNO = torch.bmm(low_KNR, self.up_KOR.transpose(1, 2)) * self.scale
        plain = self.base(values)
        return plain + change_KNO.reshape(plain.shape).to(plain.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedAdapters:
    """The adapters of several fine-tunes on one backbone."""

    backbone: LoadedBackbone
    layers: dict[str, FusedLinear]
    """By the name of the linear layer that each stands for."""
    recipe: Recipe

    @property
    def count(self) -> int:
        """Fine-tunes."""
        return len(next(iter(self.layers.values())).down_KRI)

    def compute_losses(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Give each fine-tune's mean cross-entropy over its own answer tokens.

        Parameters
        ----------
        batch
            As many samples of each, one fine-tune after the other.

        """
        logits_NV, labels_N = compute_answer_logits(self.backbone.model, batch)
        answered_B = (batch["labels"][:, 1:] != -100).sum(dim=1)
        losses_N = functional.cross_entropy(logits_NV.float(), labels_N, reduction="none")
        lengths = answered_B.reshape(self.count, -1).sum(dim=1)
        return torch.stack([part.mean() for part in losses_N.split(lengths.tolist())])

    def parameters(self) -> Iterator[nn.Parameter]:
        """Give what is trained; the first axis of each tells fine-tunes apart."""
        for layer in self.layers.values():
            yield layer.down_KRI
            yield layer.up_KOR

    def save(self, place: int, folder: str) -> None:
        """Save one fine-tune's adapters as if they had been trained alone; the layers have to be off the backbone."""
        with adapting(self.backbone, self.recipe.lora, self.recipe.trainable) as model, torch.no_grad():
            for name, layer in self.layers.items():
                target = model.base_model.model.get_submodule(name)
                target.lora_A["default"].weight.copy_(layer.down_KRI[place])
                target.lora_B["default"].weight.copy_(layer.up_KOR[place])
            model.save_pretrained(folder)


def build_fused(backbone: LoadedBackbone, recipe: Recipe, seeds: Sequence[int]) -> FusedAdapters:
    """Make adapters that begin as each fine-tune's own would begin alone, seeded by its seed."""
    from transformers import set_seed

    assert recipe.lora is not None
    downs: dict[str, list[torch.Tensor]] = {}
    ups: dict[str, list[torch.Tensor]] = {}
    for seed in seeds:
        set_seed(seed)
        with adapting(backbone, recipe.lora, recipe.trainable) as model:
            for name, layer in model.base_model.model.named_modules():
                if hasattr(layer, "lora_A"):
                    downs.setdefault(name, []).append(layer.lora_A["default"].weight.detach().clone())
                    ups.setdefault(name, []).append(layer.lora_B["default"].weight.detach().clone())
    scale = recipe.lora.alpha / recipe.lora.rank
    layers = {name: FusedLinear(backbone.model.get_submodule(name), downs[name], ups[name], scale) for name in downs}
    return FusedAdapters(backbone=backbone, layers=layers, recipe=recipe)


@contextmanager
def attached(fused: FusedAdapters) -> Iterator[None]:
    """Put the layers in the backbone, and take them out again."""
    model = fused.backbone.model
    for parameter in model.parameters():
        parameter.requires_grad_(requires_grad=False)
    for name, layer in fused.layers.items():
        model.set_submodule(name, layer)
    try:
        yield
    finally:
        for name, layer in fused.layers.items():
            model.set_submodule(name, layer.base)


def count_side_by_side(backbone: LoadedBackbone, recipe: Recipe, examples: Sequence[Example], num_jobs: int) -> int:
    """Say how many fine-tunes go side by side: as many as fill the device; 1 where that would not pay or can't be done.

    On a CPU one fills it. Random numbers of dropout would depend on who is beside, so that adapters with dropout are
    trained alone; where images take unequal room, rows can't be told apart by place; and batches have to come out even.
    """
    lora, device = recipe.lora, backbone.model.device
    if lora is None or lora.dropout or recipe.fuse == "never" or device.type != "cuda":
        return 1
    if recipe.gradient_checkpointing == "always":
        return 1
    schedule = schedule_epochs(recipe, len(examples))
    if len(examples) % recipe.batch_size or schedule.rest % recipe.batch_size or not can_group(backbone, examples):
        return 1
    sizes = sum(
        parameter.numel()
        for name, parameter in backbone.model.named_parameters()
        if not name.startswith(VISION_PREFIXES)
    )
    work = 4 * sizes * recipe.batch_size * max(len(example.prompt) for example in examples)
    return max(1, min(MOST, num_jobs, int(FILLING_WORK // work)))


def can_group(backbone: LoadedBackbone, examples: Sequence[Example]) -> bool:
    """Tell whether every sample takes as many rows as the others in each layer's input."""
    if backbone.model.config.model_type not in PLAYED_BACK:
        return False
    shapes = {tuple((key, tuple(values.shape)) for key, values in example.image.items()) for example in examples}
    return len(shapes) == 1
