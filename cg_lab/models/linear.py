"""Linear layers through oneDNN, on processors where it is faster than torch's default, MKL."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def let_onednn_multiply(model: nn.Module) -> None:
    """Have the linear layers of a model computed by oneDNN where that is faster.

    MKL takes AVX-512 on Intel's processors alone; oneDNN takes it wherever it is: 1.5 to 1.9 times the speed on AMD's
    Zen 5 (`benchmarks/linear.py`). The layers stay `nn.Linear` to whoever asks, with the same weights and names.
    """
    if not is_onednn_faster():
        return
    for layer in model.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = OneDnnLinear


def is_onednn_faster() -> bool:
    """Tell whether this is a processor of AMD with AVX-512, where torch is built with oneDNN."""
    describe = getattr(torch.cpu, "get_capabilities", dict)  # not in every torch that may be installed
    capabilities = describe()
    is_amd = str(capabilities.get("cpu_name", "")).startswith("AMD")
    return is_amd and bool(capabilities.get("avx512_f")) and torch.backends.mkldnn.is_available()


class OneDnnLinear(nn.Linear):
    """`nn.Linear` for float32 on CPUs."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:  # type: ignore[override] - Linear says `input`
        """Multiply by the weights; no values, and other kinds of numbers, go the usual way."""
        if not values.numel() or {values.dtype, self.weight.dtype} != {torch.float32}:
            return super().forward(values)
        return _Multiply.apply(values, self.weight, self.bias)


class _Multiply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(values, weight_OI)
        ctx.has_bias = bias_O is not None
        return _multiply(values, weight_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = grad_outputs
        values, weight_OI = ctx.saved_tensors
        for_values, for_weight, for_bias = ctx.needs_input_grad
        gradient_NO = gradient.reshape(-1, gradient.shape[-1])
        values_NI = values.reshape(-1, values.shape[-1])
        return (
            _multiply(gradient, weight_OI.t()) if for_values else None,
            _multiply(gradient_NO.t(), values_NI.t()) if for_weight else None,
            gradient_NO.sum(dim=0) if ctx.has_bias and for_bias else None,
        )


def _multiply(values: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None = None) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(values, weight_OI, bias_O, "none", [], "")
