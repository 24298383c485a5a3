"""What fits on a device: numbers as `precision` says, and as many samples at once as its memory holds."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from cg_lab.models.devices import find_device
from cg_lab.models.precision import Device, ParameterCounts, Precision, choose_precision

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
def trained_in_float32(model: Any, precision: Precision) -> Iterator[None]:
    """Hold the weights that are trained in float32 meanwhile, where they are not on the host."""
    changed = [
        (parameter, parameter.dtype)
        for parameter in model.parameters()
        if precision.masters == "device" and parameter.requires_grad and parameter.dtype is not torch.float32
    ]
    for parameter, _ in changed:
        parameter.data = parameter.data.float()
    try:
        yield
    finally:
        for parameter, dtype in changed:
            parameter.data = parameter.data.to(dtype)
            parameter.grad = None


def count_parameters(model: Any, *, has_adapters: bool) -> ParameterCounts:
    """Count a model's parameters, which are marked as trained or frozen."""
    sizes = [(parameter.requires_grad, parameter.numel()) for parameter in model.parameters()]
    return ParameterCounts(
        trained=sum(size for is_trained, size in sizes if is_trained),
        frozen=sum(size for is_trained, size in sizes if not is_trained),
        has_adapters=has_adapters,
    )


def find_precision(
    model: Any,
    counts: ParameterCounts,
    device: Device | None = None,
    *,
    num_processes: int = 1,
    is_sharded: bool = False,
) -> Precision:
    """Choose how the numbers of a model are held that is as it was loaded; on what it lies on if nothing else is given.

    Raises
    ------
    UserError
        If there is no room for it.

    """
    is_reduced = any(parameter.dtype is torch.bfloat16 for parameter in model.parameters())
    return choose_precision(
        counts,
        device or find_device(model.device, num_processes),
        loaded="bfloat16" if is_reduced else "float32",
        num_processes=num_processes,
        is_sharded=is_sharded,
    )


def fit_memory(
    model: Any,
    make_batch: MakeBatch | None,
    precision: Precision,
    *,
    batch_size: int,
    parts: int,
    checkpointing: bool,
) -> Fit:
    """Find out how many samples fit at once, by running the longest ones; the batch of a step stays as large as it is.

    On a CPU nothing is tried, since memory that runs out there takes the process with it.

    Parameters
    ----------
    model
        Ready to train, its loss given by `forward(batch)`.
    make_batch
        Makes a batch of so many samples, the longest ones; None tries nothing.
    precision
        How numbers are held.
    batch_size
        Samples of one optimizer step.
    parts
        The fewest parts to try, since an earlier attempt ran out of memory with fewer.
    checkpointing
        Whether to compute activations twice in any case.

    """
    device, is_reduced = next(model.parameters()).device, precision.computes_in_bfloat16
    if device.type != "cuda" or make_batch is None:
        return Fit(parts=parts, checkpointing=checkpointing, is_reduced=is_reduced, is_measured=False)

    def run(size: int, *, checkpointing: bool) -> None:
        _run_once(model, make_batch(size), device, precision, checkpointing=checkpointing)

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
    model: Any, batch: dict[str, torch.Tensor], device: torch.device, precision: Precision, *, checkpointing: bool
) -> None:
    """Run one pass forward and backward, beside as much memory as the optimizer will hold there."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    moments = 2 if precision.masters == "device" else 0
    state = [torch.empty_like(weight, dtype=torch.float32) for weight in trained for _ in range(moments)]
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    try:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision.computes_in_bfloat16):
            model({key: values.to(device) for key, values in batch.items()}).backward()
    finally:
        del state
        for weight in trained:
            weight.grad = None
        if checkpointing:
            model.gradient_checkpointing_disable()
