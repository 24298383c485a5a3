"""What an arm trains on: how many samples of which subsets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import compress
from typing import Literal

from cg_lab.mat import Subset
from cg_lab.planning.work import Mixture, MixturePart, give_part
from cg_lab.serialize import content_id


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
        self._orders: dict[int, list[int]] = {}
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
        parts = [give_part(self._names[place], count) for place, count in self._spread(names, num_samples, seed)]
        if further:
            counts = {part.subset: part.count for part in parts}
            for part in further:
                counts[part.subset] = counts.get(part.subset, 0) + part.count
            parts = [give_part(name, counts[name]) for name in sorted(counts)]
        return Mixture(parts=tuple(parts), seed=seed, labels=labels)

    def _spread(self, names: tuple[str, ...], num_samples: int, seed: int) -> list[tuple[int, int]]:
        """Give places of subsets, in order, with how many samples each gives."""
        marked = self._mark(names)
        waiting = list(compress(self._order(seed), map(marked.__getitem__, self._order(seed))))
        if num_samples <= len(waiting):
            return [(place, 1) for place in sorted(waiting[: max(0, num_samples)])]
        left = min(num_samples, sum(self._sizes[place] for place in waiting))
        counts = dict.fromkeys(waiting, 0)
        while left > 0:
            share, extra = divmod(left, len(waiting))
            for position, place in enumerate(waiting[: extra if share == 0 else len(waiting)]):
                given = min(share + (position < extra), self._sizes[place] - counts[place])
                counts[place] += given
                left -= given
            waiting = [place for place in waiting if counts[place] < self._sizes[place]]
        return sorted(counts.items())

    def _mark(self, names: tuple[str, ...]) -> bytes:
        """Mark the places of some subsets that have samples with ones."""
        marked = self._marked.get(names)
        if marked is None:
            flags = bytearray(len(self._names))
            for place in map(self._places.__getitem__, names):
                flags[place] = self._sizes[place] > 0
            marked = self._marked[names] = bytes(flags)
        return marked

    def _order(self, seed: int) -> list[int]:
        order = self._orders.get(seed)
        if order is None:
            order = sorted(range(len(self._names)), key=lambda place: _rank(seed, self._names[place]))
            self._orders[seed] = order
        return order


def count_available(subsets: Sequence[Subset]) -> int:
    """Count the training samples of some subsets together."""
    return sum(subset.num_train for subset in subsets)


@cache
def _rank(seed: int, name: str) -> str:
    return content_id("draw", 1, [seed, name])
