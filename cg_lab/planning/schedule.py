"""How many optimizer steps and samples a recipe's epochs are, and its floor of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from cg_lab.recipe import Recipe


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

    Where these are fewer steps than `min_steps`, samples are gone through again, until it is just these. Smaller
    batches would give as many steps of other, noisier gradients, for which the learning rate was not chosen.

    >>> from types import SimpleNamespace
    >>> found = schedule_epochs(SimpleNamespace(by="cg_lab", epochs=2.5, batch_size=4, min_steps=0), 10)
    >>> (found.whole_epochs, found.rest, found.samples, found.steps)
    (2, 5, 25, 8)
    >>> found = schedule_epochs(SimpleNamespace(by="cg_lab", epochs=2.5, batch_size=4, min_steps=11), 10)
    >>> (found.whole_epochs, found.rest, found.samples, found.steps)
    (3, 8, 38, 11)
    """
    if recipe.by == "elsewhere":  # nothing is left to do
        return Schedule(num_samples=num_samples, batch_size=recipe.batch_size, whole_epochs=0, rest=0)
    total = max(1, round(num_samples * recipe.epochs))
    whole, rest = divmod(total, num_samples) if num_samples else (0, 0)
    asked = Schedule(num_samples=num_samples, batch_size=recipe.batch_size, whole_epochs=whole, rest=rest)
    if not num_samples or asked.steps >= recipe.min_steps:
        return asked
    whole, further = divmod(recipe.min_steps, math.ceil(num_samples / recipe.batch_size))
    return replace(asked, whole_epochs=whole, rest=further * recipe.batch_size)


def fit_floor(recipe: Recipe, num_samples: int) -> Recipe:
    """Give the recipe of a fine-tune of so many samples: without a floor where its epochs are as many steps anyway.

    So equal work is one job, and work that no floor changes keeps its id.
    """
    if not recipe.min_steps:
        return recipe
    free = replace(recipe, min_steps=0)
    return recipe if schedule_epochs(free, num_samples).steps < recipe.min_steps else free


def has_changed(recipe: Recipe, num_samples: int) -> bool:
    """Tell whether fine-tunes saw other samples while steps were counted as samples over batch size.

    An epoch whose last batch is not full has more steps than that, so that the last epochs were cut off. No fine-tune
    of that time had a floor of steps.
    """
    if recipe.min_steps or recipe.by == "elsewhere":
        return False
    schedule = schedule_epochs(recipe, num_samples)
    steps = max(1, math.ceil(num_samples * recipe.epochs / recipe.batch_size))
    whole, rest = divmod(steps, max(1, math.ceil(num_samples / recipe.batch_size)))
    seen = whole * num_samples + min(num_samples, rest * recipe.batch_size)
    return (steps, seen) != (schedule.steps, schedule.samples)
