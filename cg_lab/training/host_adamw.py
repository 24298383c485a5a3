"""AdamW whose float32 weights and moments lie on the host, for weights that a device holds in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

MASTERS = "masters"
"""Of a state: the float32 weights by number."""


class HostAdamW(torch.optim.AdamW):
    """Steps on float32 copies of a model's weights, and gives the model what they round to.

    Parameters
    ----------
    groups
        Parameters of the model, in groups with options, as for AdamW.
    options
        As for AdamW.

    """

    def __init__(self, groups: list[dict[str, Any]], **options: Any) -> None:
        self._weights = [weight for group in groups for weight in group["params"]]
        copied = [{**group, "params": [_copy_to_host(weight) for weight in group["params"]]} for group in groups]
        super().__init__(copied, **options)

    @property
    def _masters(self) -> list[torch.Tensor]:
        return [master for group in self.param_groups for master in group["params"]]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Step once; one gradient at a time is on the host."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for weight, master in zip(self._weights, self._masters, strict=True):
            if weight.grad is not None:
                master.grad = weight.grad.to(master.device, master.dtype)
                super().step()  # passes over those without a gradient, which all others are
                master.grad = None
                weight.copy_(master)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: FBT001, FBT002 - torch's signature
        """Let go of the model's gradients."""
        for weight in self._weights:
            if set_to_none:
                weight.grad = None
            elif weight.grad is not None:
                weight.grad.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint holds; masters once they differ from the model's weights."""
        state = super().state_dict()
        return {**state, MASTERS: [master.detach() for master in self._masters]} if state["state"] else state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a checkpoint's state up."""
        masters = state_dict.get(MASTERS, [])
        super().load_state_dict({name: values for name, values in state_dict.items() if name != MASTERS})
        with torch.no_grad():
            for master, values in zip(self._masters if masters else [], masters, strict=True):
                master.copy_(values)


def _copy_to_host(weight: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach().to("cpu", torch.float32, copy=True))
