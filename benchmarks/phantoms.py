"""Images a second that phantoms are drawn at, on one core."""

from __future__ import annotations

import statistics
import time

import numpy as np

from cg_lab.data.phantom import MODALITIES, PhantomKey, World, draw_phantom_labels, render_phantoms

NUM = 1024
RUNS = 5


def measure(world: World, modality: str) -> float:
    """Give the median speed of several runs."""
    key = PhantomKey(modality=modality, area="Brain", task="Mass")
    ids = np.arange(NUM)
    labels = draw_phantom_labels(key, ids, world=world, seed=0)
    speeds: list[float] = []
    for _ in range(RUNS):
        began = time.perf_counter()
        render_phantoms(key, labels, ids, world=world, seed=0)
        speeds.append(NUM / (time.perf_counter() - began))
    return statistics.median(speeds)


def main() -> None:
    """Print a line for each world and modality."""
    for world in World:
        for modality in MODALITIES:
            print(f"{world:<14} {modality:<6} {measure(world, modality):6.0f} images/s")


if __name__ == "__main__":
    main()
