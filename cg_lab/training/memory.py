"""What fits on a device: numbers in bfloat16 where it has them, and as many samples at once as its memory holds."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

ROOM = 0.85
"""Share of a GPU's memory that weights and optimizer may take; the rest is for activations."""
MakeBatch = Callable[[int], dict[str, torch.Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How a batch goes through a device."""

    parts: int
    """Forward passes that a process splits its share of a batch over."""
    checkpointing: bool
    """Whether activations are computed twice."""
    is_reduced: bool
    """Whether computation is in bfloat16."""
    is_measured: bool
    """Whether parts were tried out."""


@contextmanager
def trained_in_float32(model: Any) -> Iterator[None]:
    """Hold the weights that are trained in float32 meanwhile; bfloat16 has no room for small updates.

    Where a GPU could not hold them with their gradients and AdamW's two moments, they stay as they are.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    changed = [(parameter, parameter.dtype) for parameter in trained if parameter.dtype is not torch.float32]
    if changed and changed[0][0].is_cuda and not _has_room(model, trained):
        changed = []
    for parameter, _ in changed:
        parameter.data = parameter.data.float()
    try:
        yield
    finally:
        for parameter, dtype in changed:
            parameter.data = parameter.data.to(dtype)
            parameter.grad = None


def _has_room(model: Any, trained: list[torch.Tensor]) -> bool:
    frozen = sum(weight.numel() * weight.element_size() for weight in model.parameters() if not weight.requires_grad)
    needed = frozen + 16 * sum(weight.numel() for weight in trained)  # weight, gradient, two moments: 4 bytes each
    return needed < ROOM * torch.cuda.get_device_properties(trained[0].device).total_memory


def fit_memory(model: Any, make_batch: MakeBatch | None, *, batch_size: int, parts: int, checkpointing: bool) -> Fit:
    """Find out how many samples fit at once, by running the longest ones; the batch of a step stays as large as it is.

    On a CPU nothing is tried, since memory that runs out there takes the process with it.

    Parameters
    ----------
    model
        Ready to train, its loss given by `forward(batch)`.
    make_batch
        Makes a batch of so many samples, the longest ones; None tries nothing.
    batch_size
        Samples of one optimizer step.
    parts
        The fewest parts to try, since an earlier attempt ran out of memory with fewer.
    checkpointing
        Whether to compute activations twice in any case.

    """
    weights = list(model.parameters())
    is_reduced = any(weight.dtype is torch.bfloat16 for weight in weights)
    device = weights[0].device
    if device.type != "cuda" or make_batch is None:
        return Fit(parts=parts, checkpointing=checkpointing, is_reduced=is_reduced, is_measured=False)

    def run(size: int, *, checkpointing: bool) -> None:
        _run_once(model, make_batch(size), device, checkpointing=checkpointing, is_reduced=is_reduced)

    found = search_fit(run, batch_size, parts, checkpointing=checkpointing)
    return Fit(parts=found[0], checkpointing=found[1], is_reduced=is_reduced, is_measured=True)


def search_fit(run: Callable[..., None], batch_size: int, parts: int, *, checkpointing: bool) -> tuple[int, bool]:
    """Try ever smaller parts of a batch, and those again with activations computed twice if not one sample fits.

    Parameters
    ----------
    run
        Takes the samples of a part and `checkpointing`; raises `torch.OutOfMemoryError` if they do not fit.
    batch_size, parts, checkpointing
        As for `fit_memory`.

    Raises
    ------
    torch.OutOfMemoryError
        If not one sample fits either way.

    """
    sizes = [size for size in range(max(1, batch_size // parts), 0, -1) if batch_size % size == 0]
    ways = [True] if checkpointing else [False, True]
    for way in ways:
        for size in sizes:
            try:
                run(size, checkpointing=way)
            except torch.OutOfMemoryError:
                if (way, size) == (ways[-1], sizes[-1]):
                    raise
            else:
                return batch_size // size, way
            if torch.cuda.is_available():
                gc.collect()
                torch.cuda.empty_cache()
    raise AssertionError("a batch has at least one size")


def _run_once(
    model: Any, batch: dict[str, torch.Tensor], device: torch.device, *, checkpointing: bool, is_reduced: bool
) -> None:
    """Run one pass forward and backward, beside as much memory as the optimizer will hold."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    state = [torch.empty_like(weight, dtype=torch.float32) for weight in trained for _ in range(2)]
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    try:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_reduced):
            model({key: values.to(device) for key, values in batch.items()}).backward()
    finally:
        del state
        for weight in trained:
            weight.grad = None
        if checkpointing:
            model.gradient_checkpointing_disable()
