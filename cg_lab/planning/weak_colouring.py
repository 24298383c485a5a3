"""Weak colouring of a hypergraph: no hyperedge in one colour, and every colour on about as many vertices.

The search is backtracking that always colours the vertex with the fewest colours left (DSATUR, Brelaz 1979). Two
colours can need exponential time (Lovasz 1973), so that it has a limit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

MOST_STEPS = 20_000
"""Vertices that the search colours before it gives a number of colours up."""


def find_colouring(sizes: Sequence[int], ties: Sequence[tuple[int, ...]], count: int) -> list[int] | None:
    """Colour units so that each tie has two colours, and that colours differ by at most the largest unit.

    Parameters
    ----------
    sizes
        What each unit adds to its colour.
    ties
        Units that must not all have one colour, by number; each tie has two units or more.
    count
        Colours, each of which is used.

    Returns
    -------
    The colour of each unit; None if there is no such colouring, or the search was given up.

    Examples
    --------
    >>> find_colouring([1, 1, 1], [(0, 1), (1, 2)], 2)
    [1, 0, 1]
    >>> find_colouring([1, 1, 1], [(0, 1), (1, 2), (0, 2)], 2) is None
    True

    """
    return _Colouring(sizes, ties, count).search()


class _Colouring:
    """The units coloured so far, and what that leaves to the others.

    Which colours a unit may have hangs on its size and on the colours that ties forbid it, so that units are kept in
    one heap for each such class; entries that no longer hold are dropped when they come up.
    """

    def __init__(self, sizes: Sequence[int], ties: Sequence[tuple[int, ...]], count: int) -> None:
        self.sizes = sizes
        self.ties_of: list[list[int]] = [[] for _ in sizes]
        for number, tie in enumerate(ties):
            for unit in tie:
                self.ties_of[unit].append(number)
        self.capacity = -(-sum(sizes) // count) + max(sizes, default=0) - 1
        self.colours = [-1] * len(sizes)
        self.loads = [0] * count
        self.num_waiting = len(sizes)
        self.num_open = [len(tie) for tie in ties]
        self.sum_open = [sum(tie) for tie in ties]
        """Of the numbers of a tie's uncoloured units: the number itself where one is left."""
        self.shades: list[Counter[int]] = [Counter() for _ in ties]
        """How many units of a tie have each colour."""
        self.forbidden: list[Counter[int]] = [Counter() for _ in sizes]
        """How many ties forbid a unit each colour."""
        self.heaps: dict[tuple[int, frozenset[int]], list[tuple[int, int]]] = {}
        for unit in range(len(sizes)):
            self._enter(unit)

    def search(self) -> list[int] | None:
        """Give the colour of each unit; None if there is no such colouring, or the search was given up."""
        trail: list[tuple[int, Iterator[int]]] = []
        steps = 0
        while True:
            if self.num_waiting:
                steps += 1
                if steps > MOST_STEPS:
                    return None
                unit = self._find_tightest()
                trail.append((unit, iter(self._list_colours(self._classify(unit)))))
            elif min(self.loads) > 0 and max(self.loads) - min(self.loads) <= max(self.sizes):
                return list(self.colours)
            while trail:  # the deepest unit that has a colour left takes it
                unit, left = trail[-1]
                if self.colours[unit] >= 0:
                    self._take_back(unit)
                colour = next(left, None)
                if colour is not None:
                    self._colour(unit, colour)
                    break
                trail.pop()
            else:
                return None

    def _find_tightest(self) -> int:
        """Find the uncoloured unit with the fewest colours left; of equals the one with most ties, then the first."""
        best: tuple[int, int, int] | None = None
        for kind, heap in list(self.heaps.items()):
            while heap and (self.colours[heap[0][1]] >= 0 or self._classify(heap[0][1]) != kind):
                heappop(heap)
            if not heap:
                del self.heaps[kind]
                continue
            candidate = (len(self._list_colours(kind)), *heap[0])
            best = candidate if best is None else min(best, candidate)
        assert best is not None
        return best[-1]

    def _classify(self, unit: int) -> tuple[int, frozenset[int]]:
        return self.sizes[unit], frozenset(self.forbidden[unit])

    def _enter(self, unit: int) -> None:
        heappush(self.heaps.setdefault(self._classify(unit), []), (-len(self.ties_of[unit]), unit))

    def _list_colours(self, kind: tuple[int, frozenset[int]]) -> list[int]:
        """List colours that break nothing, emptiest first; of colours that are still unused, one stands for all."""
        size, forbidden = kind
        allowed = [
            colour
            for colour, load in enumerate(self.loads)
            if load and load + size <= self.capacity and colour not in forbidden
        ]
        allowed.sort(key=self.loads.__getitem__)
        return allowed if all(self.loads) else [self.loads.index(0), *allowed]

    def _colour(self, unit: int, colour: int) -> None:
        self.colours[unit] = colour
        self.loads[colour] += self.sizes[unit]
        self.num_waiting -= 1
        for tie in self.ties_of[unit]:
            self._forbid(tie, -1)
            self.num_open[tie] -= 1
            self.sum_open[tie] -= unit
            self.shades[tie][colour] += 1
            self._forbid(tie, 1)

    def _take_back(self, unit: int) -> None:
        colour = self.colours[unit]
        for tie in self.ties_of[unit]:
            self._forbid(tie, -1)
            self.num_open[tie] += 1
            self.sum_open[tie] += unit
            self.shades[tie][colour] -= 1
            if not self.shades[tie][colour]:
                del self.shades[tie][colour]
            self._forbid(tie, 1)
        self.loads[colour] -= self.sizes[unit]
        self.colours[unit] = -1
        self.num_waiting += 1
        self._enter(unit)

    def _forbid(self, tie: int, change: int) -> None:
        """Count that a tie of one colour forbids it to its last uncoloured unit, or no longer does."""
        if self.num_open[tie] != 1 or len(self.shades[tie]) != 1:
            return
        unit, (colour,) = self.sum_open[tie], self.shades[tie]
        self.forbidden[unit][colour] += change
        if not self.forbidden[unit][colour]:
            del self.forbidden[unit][colour]
        self._enter(unit)
