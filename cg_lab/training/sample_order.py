"""In which order a fine-tune sees its samples, the same after any interruption."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import LengthGroupedSampler

from cg_lab.planning.schedule import Schedule


class EpochSampler(Sampler[int]):
    """Gives the samples of each epoch of a schedule in a sampler's order, the last one up to where it is left.

    Processes take batches in turn and must have as many: what is missing is -1, a sample without an answer.
    """

    def __init__(self, sampler: Any, schedule: Schedule, fill_to: int = 1) -> None:
        self.sampler, self.schedule, self.fill_to = sampler, schedule, fill_to
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, maybe in a process that has not seen those before it."""
        self.epoch = epoch
        self.sampler.set_epoch(epoch)

    @property
    def num_samples(self) -> int:
        """Samples of this epoch."""
        return self.schedule.num_samples if self.epoch < self.schedule.whole_epochs else self.schedule.rest

    def __len__(self) -> int:
        return math.ceil(self.num_samples / self.fill_to) * self.fill_to

    def __iter__(self) -> Iterator[int]:
        missing = len(self) - self.num_samples
        yield from islice(self.sampler, self.num_samples)
        yield from [-1] * missing


def list_in_seeded_order(num_samples: int, seed: int) -> SeedableRandomSampler:
    """Order samples anew in each epoch, by seed and epoch alone, as accelerate does for Trainer."""
    return SeedableRandomSampler(range(num_samples), data_seed=seed)


class ByLength(LengthGroupedSampler):
    """Puts samples of like length together, in an order that depends on seed and epoch alone."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        self.drawing = torch.Generator()
        super().__init__(batch_size, lengths=lengths, generator=self.drawing)
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, maybe in a process that has not seen those before it."""
        self.drawing.manual_seed(self.seed + epoch)
