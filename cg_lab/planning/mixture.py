"""What an arm trains on: how many samples of which subsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from cg_lab.mat import Subset
from cg_lab.planning.members import Members, NameSet, join
from cg_lab.planning.work import Mixture, MixturePart, PartGroups, Parts, give_part
from cg_lab.serialize import TextHasher

if TYPE_CHECKING:
    import numpy as np  # takes 0.1 s, which plans over few subsets need not pay
    from numpy.typing import NDArray

MOST_DEALT_SINGLY = 64
"""Subsets that a mixture's samples are dealt to one by one."""


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
        self.names = tuple(subset.name for subset in subsets)
        self._sizes = tuple(subset.num_train for subset in subsets)
        self._all_filled = join([place for place, size in enumerate(self._sizes) if size], len(self._sizes))
        self._places = {name: place for place, name in enumerate(self.names)}
        self._smallest = min(filter(None, self._sizes), default=0)
        self._drawn: dict[int, tuple[list[int], dict[int, int]]] = {}
        self._orders: dict[int, NDArray[np.int64]] = {}
        self._filled: dict[tuple[str, ...], tuple[NDArray[np.bool_], Members]] = {}

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

        What can't be divided evenly goes to subsets in an order that the seed draws, a sample to each; what a subset
        lacks is divided among the others in the same way, each time that some run out.

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
            parts = tuple(give_part(name, named[name]) for name in sorted(named))
        return Mixture(parts=parts, seed=seed, labels=labels)

    def _spread(self, names: tuple[str, ...], num_samples: int, seed: int) -> Parts:
        """Spread samples over subsets, what can't be divided in the seed's order; in order of name."""
        if len(names) > MOST_DEALT_SINGLY:
            parts = self._spread_evenly(names, num_samples, seed)
            if parts is not None:
                return parts
        rank = self._draw(seed)[1]
        places = [self._places[name] for name in names]
        waiting: list[int] = sorted((place for place in places if self._sizes[place]), key=rank.__getitem__)
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
        return tuple(give_part(self.names[place], counts[place]) for place in sorted(counts))

    def _spread_evenly(self, names: tuple[str, ...], num_samples: int, seed: int) -> PartGroups | None:
        """Do the same for many subsets of which none runs out, a hundred times as fast; None if one does."""
        import numpy as np

        filled = self._filled.get(names)
        if filled is None:
            if isinstance(names, NameSet) and names.table == self.names:
                members = names.members & self._all_filled
            else:
                members = join([self._places[name] for name in names], len(self.names)) & self._all_filled
            filled = self._filled[names] = _mark(members, len(self.names)), members
        is_filled, members = filled
        if seed not in self._orders:
            self._orders[seed] = np.array(self._draw(seed)[0])
        order = self._orders[seed]
        waiting = order[is_filled[order]]
        share, extra = divmod(num_samples, max(1, len(waiting)))
        if share >= self._smallest:
            return None
        has_more = np.zeros(len(self.names), bool)
        has_more[waiting[:extra]] = True
        given_more = _join(has_more)
        groups = ((share, members & ~given_more if share else 0), (share + 1, given_more))
        return PartGroups(self.names, tuple((count, group) for count, group in groups if group))

    def _draw(self, seed: int) -> tuple[list[int], dict[int, int]]:
        """Give all places in the order that a seed draws, and the rank of each place in it."""
        drawn = self._drawn.get(seed)
        if drawn is None:
            hasher = TextHasher("draw", 1, [seed])
            order = sorted(range(len(self.names)), key=lambda place: hasher.digest([self.names[place]]))
            drawn = self._drawn[seed] = order, {place: number for number, place in enumerate(order)}
        return drawn


def _join(is_member: NDArray[np.bool_]) -> Members:
    import numpy as np

    return int.from_bytes(np.packbits(is_member, bitorder="little").tobytes(), "little")


def _mark(members: Members, size: int) -> NDArray[np.bool_]:
    import numpy as np

    digits = np.frombuffer(members.to_bytes(-(-size // 8), "little"), np.uint8)
    return np.unpackbits(digits, count=size, bitorder="little").astype(bool)
