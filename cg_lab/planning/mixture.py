"""What an arm trains on: how many samples of which subsets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Literal

from cg_lab.mat import Subset
from cg_lab.planning.work import Mixture, MixturePart, give_part
from cg_lab.serialize import hash_texts


class Spreader:
    """Spreads numbers of samples over subsets of one catalogue.

    Parameters
    ----------
    subsets
        All that may be trained on, in order of name.

    Examples
    --------
    >>> def subset(name, size):
    ...     return Subset(name=name, elements=(("CT",), (name,)), num_options=2, num_train=size, num_test=9)
    >>> spreader = Spreader((subset("a", 10), subset("b", 100)))
    >>> [part.count for part in spreader.build_mixture(("a", "b"), 50, seed=0).parts]
    [10, 40]

    """

    def __init__(self, subsets: Sequence[Subset]) -> None:
        self._names = tuple(subset.name for subset in subsets)
        self._sizes = tuple(subset.num_train for subset in subsets)
        self._places = {name: place for place, name in enumerate(self._names)}
        self._orders: dict[int, tuple[int, ...]] = {}
        self._marked: dict[tuple[str, ...], bytes] = {}

    def build_mixture(
        self,
        names: tuple[str, ...],
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
        names, num_samples
            What is spread over whom; fewer are given where the subsets have fewer.
        seed
            Also decides which samples of each subset are drawn.
        further
            Parts beside them: samples of the target, or of a filler.
        labels
            Whether the labels are the samples' own.

        """
        counts = self._spread(names, num_samples, seed)
        parts = [give_part(self._names[place], counts[place]) for place in sorted(counts)]
        if further:
            named = {part.subset: part.count for part in parts}
            for part in further:
                named[part.subset] = named.get(part.subset, 0) + part.count
            parts = [give_part(name, named[name]) for name in sorted(named)]
        return Mixture(parts=tuple(parts), seed=seed, labels=labels)

    def _spread(self, names: tuple[str, ...], num_samples: int, seed: int) -> dict[int, int]:
        """Give places of subsets with how many samples each gives, never none."""
        order = self._order(seed)
        waiting: list[int] = list(compress(order, map(self._mark(names).__getitem__, order)))
        counts: dict[int, int] = {}
        left = num_samples
        while left > 0 and waiting:
            share, extra = divmod(left, len(waiting))
            given = dict.fromkeys(waiting[:extra], share + 1)
            if share:
                given |= dict.fromkeys(waiting[extra:], share)
            if not counts and share < min(map(self._sizes.__getitem__, waiting)):
                return given
            counts.update((place, counts.get(place, 0) + more) for place, more in given.items())
            over = [place for place in given if counts[place] >= self._sizes[place]]
            left = sum(counts[place] - self._sizes[place] for place in over)
            counts.update((place, self._sizes[place]) for place in over)
            if left:
                full = set(over)
                waiting = [place for place in waiting if place not in full]
        return counts

    def _mark(self, names: tuple[str, ...]) -> bytes:
        """Mark the places of some subsets that have samples with ones."""
        marked = self._marked.get(names)
        if marked is None:
            flags = bytearray(len(self._names))
            for place in map(self._places.__getitem__, names):
                flags[place] = self._sizes[place] > 0
            marked = self._marked[names] = bytes(flags)
        return marked

    def _order(self, seed: int) -> tuple[int, ...]:
        order = self._orders.get(seed)
        if order is None:
            drawn = sorted(range(len(self._names)), key=lambda place: hash_texts("draw", 1, [seed, self._names[place]]))
            order = self._orders[seed] = tuple(drawn)
        return order


def count_available(subsets: Sequence[Subset]) -> int:
    """Count the training samples of some subsets together."""
    return sum(subset.num_train for subset in subsets)
