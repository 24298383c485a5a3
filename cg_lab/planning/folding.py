"""Partition a catalogue into folds so that every element of a held-out triplet is shown by the rest.

Subsets are vertices; all that show one element are a hyperedge. A partition is valid if no hyperedge lies in one fold,
that is, if the folds are a weak colouring of the hypergraph. It is looked for by backtracking that always colours the
vertex with the fewest colours left (DSATUR, Brelaz 1979), with folds filled evenly; two colours can need exponential
time (Lovasz 1973), so that the search has a limit. Swaps then keep as many pairs of elements covered as they can.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from cg_lab.planning.graph import MatGraph, Members

MOST_STEPS = 20_000
"""Vertices that the search colours before it gives a number of folds up."""
MOST_ROUNDS = 4
"""Passes over all swaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """A valid partition."""

    folds: tuple[tuple[str, ...], ...]
    """Names of the subsets that are held out together."""
    smallest: int
    """The fewest folds that are feasible (that the search found so)."""
    always_trained: tuple[str, ...]
    """Subsets with an element that no other shows, which can't be held out."""
    pairs: int
    """Pairs of elements of held-out triplets that some other subset shows."""
    pairs_covered: int
    """Those that the rest of the held-out triplet's fold still shows."""


def fold(graph: MatGraph, num_folds: int | None) -> Folding | None:
    """Find a balanced valid partition.

    Parameters
    ----------
    graph
        All subsets.
    num_folds
        None for the fewest that are feasible.

    Returns
    -------
    None if there is none with that many folds, or none was found.

    """
    units = graph.list_twin_groups()
    lone = {unit for unit in units if not _is_coverable(graph, unit)}
    free = [unit for unit in units if unit not in lone]
    if not free:
        return None
    edges = _list_edges(graph, free, lone)
    smallest: int | None = None
    colours: list[int] | None = None
    for count in range(2, len(free) + 1):
        found = _Colouring(free, edges, count).search()
        if found is not None:
            smallest, colours = count, found
            break
    if smallest is None or colours is None or (num_folds is not None and num_folds < smallest):
        return None
    if num_folds is not None and num_folds != smallest:
        colours = _Colouring(free, edges, num_folds).search() if num_folds <= len(free) else None
        if colours is None:
            return None
    count = num_folds or smallest
    pairs = list(_list_pairs(graph, free, lone))
    _swap(free, edges, pairs, colours)
    folds = [0] * count
    for unit, colour in zip(free, colours, strict=True):
        folds[colour] |= unit
    return Folding(
        folds=tuple(graph.names(members) for members in folds),
        smallest=smallest,
        always_trained=graph.names(sum(lone)),
        pairs=len(pairs),
        pairs_covered=sum(_is_apart(others, colours, unit) for unit, others in pairs),
    )


def _is_coverable(graph: MatGraph, unit: Members) -> bool:
    return all(
        graph.holding(factor, value) & ~unit
        for subset in graph.list_members(unit)
        for factor, value in enumerate(subset.own)
    )


def _list_edges(graph: MatGraph, free: list[Members], lone: set[Members]) -> list[tuple[int, ...]]:
    """Give the units that show each element, of which others must; elements that training always shows are safe."""
    always = sum(lone)
    edges: set[tuple[int, ...]] = set()
    for _, __, members in graph.list_elements():
        if not members & always:
            edge = tuple(number for number, unit in enumerate(free) if unit & members)
            if len(edge) > 1:
                edges.add(edge)
    return sorted(edges)


class _Colouring:
    """Searches one weak colouring with evenly filled colours."""

    def __init__(self, units: list[Members], edges: list[tuple[int, ...]], count: int) -> None:
        self.sizes = [unit.bit_count() for unit in units]
        self.count = count
        self.edges = edges
        self.edges_of: list[list[int]] = [[] for _ in units]
        for number, edge in enumerate(edges):
            for unit in edge:
                self.edges_of[unit].append(number)
        self.capacity = -(-sum(self.sizes) // count) + max(self.sizes) - 1
        self.colours = [-1] * len(units)
        self.loads = [0] * count
        self.steps = 0

    def search(self) -> list[int] | None:
        """Give the colour of each unit; None if there is no such colouring, or the search was given up."""
        return list(self.colours) if self._extend() else None

    def _extend(self) -> bool:
        waiting = [unit for unit, colour in enumerate(self.colours) if colour < 0]
        if not waiting:
            return max(self.loads) - min(self.loads) <= max(self.sizes)
        self.steps += 1
        if self.steps > MOST_STEPS:
            return False
        choices = {unit: self._list_colours(unit) for unit in waiting}
        unit = min(waiting, key=lambda part: (len(choices[part]), -len(self.edges_of[part]), part))
        for colour in choices[unit]:
            self.colours[unit] = colour
            self.loads[colour] += self.sizes[unit]
            if self._extend():
                return True
            self.loads[colour] -= self.sizes[unit]
            self.colours[unit] = -1
        return False

    def _list_colours(self, unit: int) -> list[int]:
        """List colours that break nothing, emptiest first; of colours that are still unused, one stands for all."""
        forbidden: set[int] = set()
        for number in self.edges_of[unit]:
            others = {self.colours[other] for other in self.edges[number] if other != unit}
            if len(others) == 1:
                forbidden |= others
        allowed = [
            colour
            for colour in range(self.count)
            if colour not in forbidden and self.loads[colour] + self.sizes[unit] <= self.capacity
        ]
        unused = [colour for colour in allowed if self.loads[colour] == 0]
        kept = [colour for colour in allowed if self.loads[colour] or colour == unused[0]]
        return sorted(kept, key=lambda colour: (self.loads[colour], colour))


def _list_pairs(graph: MatGraph, free: list[Members], lone: set[Members]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Give for each pair of elements of a triplet its unit and the others that show the pair; -1 is training itself."""
    always = sum(lone)
    for number, unit in enumerate(free):
        for subset in graph.list_members(unit):
            for first, second in combinations(range(len(subset.own)), 2):
                members = graph.holding(first, subset.own[first]) & graph.holding(second, subset.own[second]) & ~unit
                others = tuple(other for other, part in enumerate(free) if part & members)
                if members & always:
                    others = (-1, *others)
                if others:
                    yield number, others


def _is_apart(others: tuple[int, ...], colours: list[int], unit: int) -> bool:
    return any(other < 0 or colours[other] != colours[unit] for other in others)


def _swap(
    free: list[Members],
    edges: list[tuple[int, ...]],
    pairs: list[tuple[int, tuple[int, ...]]],
    colours: list[int],
) -> None:
    """Exchange units of equal size between folds while that keeps more pairs covered and the partition valid."""
    touching: list[list[int]] = [[] for _ in free]
    for number, (unit, others) in enumerate(pairs):
        for part in {unit, *others} - {-1}:
            touching[part].append(number)
    edges_of: list[list[int]] = [[] for _ in free]
    for number, edge in enumerate(edges):
        for unit in edge:
            edges_of[unit].append(number)
    for _ in range(MOST_ROUNDS):
        improved = False
        for first, second in combinations(range(len(free)), 2):
            if colours[first] == colours[second] or free[first].bit_count() != free[second].bit_count():
                continue
            affected = Counter(touching[first] + touching[second])
            before = sum(_is_apart(pairs[number][1], colours, pairs[number][0]) for number in affected)
            colours[first], colours[second] = colours[second], colours[first]
            after = sum(_is_apart(pairs[number][1], colours, pairs[number][0]) for number in affected)
            is_valid = all(
                len({colours[unit] for unit in edges[number]}) > 1 for number in edges_of[first] + edges_of[second]
            )
            if is_valid and after > before:
                improved = True
            else:
                colours[first], colours[second] = colours[second], colours[first]
        if not improved:
            return
