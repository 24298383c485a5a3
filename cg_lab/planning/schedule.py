"""How many optimizer steps and samples the epochs of a recipe are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cg_lab.study import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Whole epochs, each ending in a batch that may not be full, and maybe the beginning of one more."""

    num_samples: int
    """Of one epoch."""
    batch_size: int
    whole_epochs: int
    rest: int
    """Samples of the epoch that is begun and not ended."""

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        whole = self.whole_epochs * math.ceil(self.num_samples / self.batch_size)
        return whole + math.ceil(self.rest / self.batch_size)

    @property
    def samples(self) -> int:
        """Samples seen."""
        return self.whole_epochs * self.num_samples + self.rest


def schedule_epochs(recipe: Recipe, num_samples: int) -> Schedule:
    """Give as many samples as the epochs that are asked for, to the nearest sample, one at least.

    >>> from types import SimpleNamespace
    >>> found = schedule_epochs(SimpleNamespace(epochs=2.5, batch_size=4), 10)
    >>> (found.whole_epochs, found.rest, found.samples, found.steps)
    (2, 5, 25, 8)
    """
    total = max(1, round(num_samples * recipe.epochs))
    whole, rest = divmod(total, num_samples) if num_samples else (0, 0)
    return Schedule(num_samples=num_samples, batch_size=recipe.batch_size, whole_epochs=whole, rest=rest)


def has_changed(recipe: Recipe, num_samples: int) -> bool:
    """Tell whether fine-tunes saw other samples while steps were counted as samples over batch size.

    An epoch whose last batch is not full has more steps than that, so that the last epochs were cut off.
    """
    schedule = schedule_epochs(recipe, num_samples)
    steps = max(1, math.ceil(num_samples * recipe.epochs / recipe.batch_size))
    whole, rest = divmod(steps, max(1, math.ceil(num_samples / recipe.batch_size)))
    seen = whole * num_samples + min(num_samples, rest * recipe.batch_size)
    return (steps, seen) != (schedule.steps, schedule.samples)
