"""What an arm trains on: how many samples of which subsets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Literal

from cg_lab.mat import Subset
from cg_lab.planning.work import Mixture, MixturePart, give_part
from cg_lab.serialize import TextHasher


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
        self._drawn: dict[int, tuple[tuple[int, ...], Callable[[int], int]]] = {}
        self._marked: dict[tuple[str, ...], bytes] = {}
        self._parts: dict[int, list[MixturePart]] = {}

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
        parts = self._spread(names, num_samples, seed)
        if further:
            named = {part.subset: part.count for part in parts}
            for part in further:
                named[part.subset] = named.get(part.subset, 0) + part.count
            parts = [give_part(name, named[name]) for name in sorted(named)]
        return Mixture(parts=tuple(parts), seed=seed, labels=labels)

    def _spread(self, names: tuple[str, ...], num_samples: int, seed: int) -> list[MixturePart]:
        """Spread samples over subsets, what can't be divided in the seed's order; in order of name."""
        order, rank = self._draw(seed)
        if len(names) * 16 > len(self._names):
            marked = self._mark(names)
            waiting: list[int] = list(compress(order, map(marked.__getitem__, order)))
            share, extra = divmod(num_samples, len(waiting)) if waiting else (0, 0)
            if waiting and share < min(map(self._sizes.__getitem__, waiting)):
                chosen = list(self._give_parts(share))
                more = self._give_parts(share + 1)
                for place in waiting[:extra]:
                    chosen[place] = more[place]
                return [part for part in compress(chosen, marked) if part.count]
        else:
            waiting = sorted((place for place in map(self._places.__getitem__, names) if self._sizes[place]), key=rank)
        counts: dict[int, int] = {}
        left = num_samples
        while left > 0 and waiting:
            share, extra = divmod(left, len(waiting))
            left = 0
            for position, place in enumerate(waiting if share else waiting[:extra]):
                wanted = counts.get(place, 0) + share + (position < extra)
                counts[place] = min(wanted, self._sizes[place])
                left += wanted - counts[place]
            waiting = [place for place in waiting if counts.get(place, 0) < self._sizes[place]]
        return [give_part(self._names[place], counts[place]) for place in sorted(counts)]

    def _give_parts(self, count: int) -> list[MixturePart]:
        """Give for every place the part of so many samples."""
        parts = self._parts.get(count)
        if parts is None:
            parts = self._parts[count] = [give_part(name, count) for name in self._names]
        return parts

    def _mark(self, names: tuple[str, ...]) -> bytes:
        """Mark the places of some subsets that have samples with ones."""
        marked = self._marked.get(names)
        if marked is None:
            flags = bytearray(len(self._names))
            for place in map(self._places.__getitem__, names):
                flags[place] = self._sizes[place] > 0
            marked = self._marked[names] = bytes(flags)
        return marked

    def _draw(self, seed: int) -> tuple[tuple[int, ...], Callable[[int], int]]:
        """Give all places in the order that a seed draws, and what gives the rank of a place in it."""
        drawn = self._drawn.get(seed)
        if drawn is None:
            hasher = TextHasher("draw", 1, [seed])
            order = sorted(range(len(self._names)), key=lambda place: hasher.name([self._names[place]]))
            rank = {place: number for number, place in enumerate(order)}
            drawn = self._drawn[seed] = (tuple(order), rank.__getitem__)
        return drawn


def count_available(subsets: Sequence[Subset]) -> int:
    """Count the training samples of some subsets together."""
    return sum(subset.num_train for subset in subsets)
