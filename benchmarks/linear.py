"""What a linear layer costs through oneDNN and through torch's default, MKL, forward and backward, one thread each.

Shapes are those of the embedded model: tokens of a batch of 32 questions, channels in and out. Both take turns, and
figures are medians. Decides nothing: `cg_lab.models.linear` goes by the processor.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from shapes import describe_machine
from torch import nn

from cg_lab.models.linear import OneDnnLinear, is_onednn_faster

SHAPES = ((1952, 128, 128), (1952, 128, 256), (1952, 256, 128), (1152, 128, 384), (1152, 384, 128), (4608, 48, 96))


def measure(layers: tuple[nn.Linear, nn.Linear], values: torch.Tensor, rounds: int) -> list[float]:
    """Give seconds of a forward and a backward pass of each."""
    seconds: tuple[list[float], ...] = ([], [])
    for number in range(rounds + 3):
        for layer, taken in zip(layers, seconds, strict=True):
            began = time.perf_counter()
            output = layer(values)
            output.backward(output.detach())
            if number >= 3:  # the first warm up
                taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in seconds]


def main() -> None:
    """Print a line for each shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(describe_machine())
    print(f"models here go through {'oneDNN' if is_onednn_faster() else 'MKL'}")
    for count, num_in, num_out in SHAPES:
        layers = (OneDnnLinear(num_in, num_out, bias=False), nn.Linear(num_in, num_out, bias=False))
        ours, default = measure(layers, torch.randn(count, num_in, requires_grad=True), arguments.rounds)
        work = 6 * count * num_in * num_out
        print(
            f"{count} x {num_in} -> {num_out}: oneDNN {work / ours / 1e9:.0f} GFLOP/s, MKL {work / default / 1e9:.0f}: "
            f"{default / ours:.2f} x"
        )


if __name__ == "__main__":
    main()
