"""What an arm trains on: how many samples of which subsets."""

from __future__ import annotations

from cg_lab.mat import Subset
from cg_lab.planning.plan import Mixture, MixturePart
from cg_lab.serialize import content_id


def build_mixture(subsets: tuple[Subset, ...], num_samples: int, seed: int) -> Mixture:
    """Spread a number of samples evenly over subsets, none beyond what it has.

    What can't be divided evenly goes to subsets in an order that the seed draws.

    >>> def subset(name, size):
    ...     return Subset(
    ...         name=name, triplet=Triplet("CT", name, "Mass"), labels=("no", "yes"), num_train=size, num_test=9
    ...     )
    >>> from cg_lab.mat import Triplet
    >>> [part.count for part in build_mixture((subset("a", 10), subset("b", 100)), 50, seed=0).parts]
    [10, 40]
    """
    order = sorted(subsets, key=lambda subset: content_id("draw", 1, [seed, subset.name]))
    counts = dict.fromkeys((subset.name for subset in subsets), 0)
    left = min(num_samples, sum(subset.num_train for subset in subsets))
    open_subsets = [subset for subset in order if subset.num_train > 0]
    while left > 0:
        share, extra = divmod(left, len(open_subsets))
        for position, subset in enumerate(open_subsets):
            wanted = share + (position < extra)
            given = min(wanted, subset.num_train - counts[subset.name])
            counts[subset.name] += given
            left -= given
        open_subsets = [subset for subset in open_subsets if counts[subset.name] < subset.num_train]
    parts = tuple(MixturePart(subset=name, count=count) for name, count in sorted(counts.items()) if count > 0)
    return Mixture(parts=parts, seed=seed)


def count_available(subsets: tuple[Subset, ...]) -> int:
    """Count the training samples of some subsets together."""
    return sum(subset.num_train for subset in subsets)
