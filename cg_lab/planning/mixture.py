"""What an arm trains on: how many samples of which subsets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

from cg_lab.mat import Subset
from cg_lab.planning.work import Mixture, MixturePart
from cg_lab.serialize import content_id


def build_mixture(
    subsets: tuple[Subset, ...],
    num_samples: int,
    seed: int,
    *,
    further: tuple[MixturePart, ...] = (),
    labels: Literal["true", "shuffled"] = "true",
) -> Mixture:
    """Spread a number of samples evenly over subsets, none beyond what it has.

    What can't be divided evenly goes to subsets in an order that the seed draws.

    Parameters
    ----------
    subsets, num_samples
        What is spread; fewer are given where the subsets have fewer.
    seed
        Also decides which samples of each subset are drawn.
    further
        Parts beside them: samples of the target, or of a filler.
    labels
        Whether the labels are the samples' own.

    Examples
    --------
    >>> def subset(name, size):
    ...     return Subset(name=name, elements=(("CT",), (name,)), num_options=2, num_train=size, num_test=9)
    >>> [part.count for part in build_mixture((subset("a", 10), subset("b", 100)), 50, seed=0).parts]
    [10, 40]

    """
    available = count_available(subsets)
    left = min(num_samples, available)
    counts = dict.fromkeys((subset.name for subset in subsets), 0)
    if left == available:
        counts = {subset.name: subset.num_train for subset in subsets}
        left = 0
    waiting = [subset for subset in subsets if subset.num_train > 0] if left else []
    waiting.sort(key=lambda subset: _rank(seed, subset.name))
    while left > 0:
        share, extra = divmod(left, len(waiting))
        for position, subset in enumerate(waiting[: extra if share == 0 else len(waiting)]):
            given = min(share + (position < extra), subset.num_train - counts[subset.name])
            counts[subset.name] += given
            left -= given
        waiting = [subset for subset in waiting if counts[subset.name] < subset.num_train]
    for part in further:
        counts[part.subset] = counts.get(part.subset, 0) + part.count
    parts = tuple(MixturePart(subset=name, count=count) for name, count in sorted(counts.items()) if count > 0)
    return Mixture(parts=parts, seed=seed, labels=labels)


def count_available(subsets: Sequence[Subset]) -> int:
    """Count the training samples of some subsets together."""
    return sum(subset.num_train for subset in subsets)


@cache
def _rank(seed: int, name: str) -> str:
    return content_id("draw", 1, [seed, name])
