"""Models of another build than is narrowed are left alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from cg_lab.models.reading import reading_in_places


class Mixture(nn.Module):
    """A feed-forward layer of experts, which gives more than its output."""

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, int]:
        return values, 0


class Layer(nn.Module):
    """As decoders have it, but for the mixture."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = nn.ModuleDict({"q_proj": nn.Linear(2, 2), "o_proj": nn.Linear(2, 2)})
        self.mlp = Mixture()


class Model(nn.Module):
    """Has a decoder with layers by some name."""

    def __init__(self, **decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = nn.Module()
        for name, module in decoder.items():
            setattr(self.decoder, name, module)

    def get_decoder(self) -> Any:
        return self.decoder


def test_mixtures_of_experts_and_other_names_are_computed_whole() -> None:
    for model in (Model(layers=nn.ModuleList([Layer()])), Model(h=nn.ModuleList([Layer()])), Model()):
        with reading_in_places(model):
            assert not any("forward" in vars(module) for module in model.modules())
        assert not hasattr(model, "read_places")
