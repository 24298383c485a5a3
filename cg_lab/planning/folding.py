"""Partition a catalogue into folds so that every element of a held-out triplet is shown by the rest.

Subsets that count as the same are one vertex; all that show one element are a hyperedge. A partition is valid if no
hyperedge lies in one fold, that is, if the folds are a weak colouring of the hypergraph. Exchanges then keep as many
pairs of elements covered as they can.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from cg_lab.planning.graph import MatGraph
from cg_lab.planning.members import Members
from cg_lab.planning.weak_colouring import find_colouring

MOST_ROUNDS = 4
"""Passes over all exchanges."""
MOST_EXCHANGES = 2_000_000
"""Exchanges that are weighed before the partition is taken as it is: all that 1,000 subsets can have."""

Ties = dict[tuple[int, ...], int]
"""Units that must not all lie in one fold, by number in rising order, and how many elements (or pairs) hang on that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """A valid partition."""

    folds: tuple[tuple[str, ...], ...]
    """Names of the subsets that are held out together."""
    smallest: int
    """The fewest folds that are feasible (that the search found so)."""
    most: int
    """The most that there can be: held-out subsets, those that count as the same taken as one."""
    always_trained: tuple[str, ...]
    """Subsets with an element that no other shows, which can't be held out, and those that count as the same."""
    pairs: int
    """Pairs of elements of held-out triplets that some other subset shows."""
    pairs_covered: int
    """Those that the rest of the held-out triplet's fold still shows."""


def fold(graph: MatGraph, num_folds: int | None) -> Folding | None:
    """Find a balanced valid partition; an element counts as shown by subsets with training samples only.

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
    showing = graph.gather(subset.name for subset in graph.subsets if subset.num_train)
    units = graph.list_twin_groups()
    lone = {unit for unit in units if not _is_coverable(graph, unit, showing)}
    free = [unit for unit in units if unit not in lone]
    always = sum(lone)
    elements, _ = _tie(graph, free, showing, always, size=1)
    sizes = [unit.bit_count() for unit in free]
    smallest = 0
    colours: list[int] | None = None
    while colours is None and smallest < len(free):
        smallest = max(smallest + 1, min(2, len(free)))
        colours = find_colouring(sizes, sorted(elements), smallest)
    count = smallest if num_folds is None else num_folds
    if colours is None or not smallest <= count <= len(free):
        return None
    if count != smallest:
        colours = find_colouring(sizes, sorted(elements), count)
        if colours is None:
            return None
    pairs, num_safe = _tie(graph, free, showing, always, size=2)
    pairs_torn = _exchange(sizes, elements, pairs, colours)
    folds = [0] * count
    for unit, colour in zip(free, colours, strict=True):
        folds[colour] |= unit
    return Folding(
        folds=tuple(graph.names(members) for members in folds),
        smallest=smallest,
        most=len(free),
        always_trained=graph.names(always),
        pairs=num_safe + sum(pairs.values()),
        pairs_covered=num_safe + pairs_torn,
    )


def _is_coverable(graph: MatGraph, unit: Members, showing: Members) -> bool:
    return all(
        graph.holding(factor, value) & showing & ~unit
        for subset in graph.list_members(unit)
        for factor, value in enumerate(subset.own)
    )


def _tie(graph: MatGraph, free: list[Members], showing: Members, always: Members, *, size: int) -> tuple[Ties, int]:
    """Find which units tie each other: whoever shows an element of a held-out subset (or a pair, with size 2), and it.

    Returns
    -------
    The ties, and how many elements (or pairs) need none since training always shows them.

    """
    needed: Counter[tuple[tuple[tuple[int, str], ...], int]] = Counter()
    if size == 1:
        needed.update((((factor, value),), -1) for factor, value, _ in graph.list_elements())
    for number, unit in enumerate(free):
        for subset in graph.list_members(unit):
            shows_own = showing & graph.bit(subset)
            for elements in combinations(enumerate(subset.own), size):
                needed[elements, -1 if shows_own else number] += 1
    unit_of = {name: number for number, unit in enumerate(free) for name in graph.names(unit)}
    ties: Ties = {}
    num_safe = 0
    for (elements, needing), count in needed.items():
        members = showing
        for factor, value in elements:
            members &= graph.holding(factor, value)
        if members & always:
            num_safe += count
            continue
        tied = {unit_of[name] for name in graph.names(members)} | {needing} - {-1}
        if len(tied) > 1:
            tie = tuple(sorted(tied))
            ties[tie] = ties.get(tie, 0) + count
    return ties, num_safe


class _Shades:
    """How many units of each tie have each colour, while units exchange theirs."""

    def __init__(self, ties: Ties, colours: list[int]) -> None:
        self.colours = colours
        self.ties = list(ties)
        self.weights = list(ties.values())
        self.shades = [Counter(colours[unit] for unit in tie) for tie in self.ties]
        self.ties_of: list[set[int]] = [set() for _ in colours]
        for number, tie in enumerate(self.ties):
            for unit in tie:
                self.ties_of[unit].add(number)

    def weigh(self, first: int, second: int) -> tuple[int, int]:
        """Give what hangs on the ties that an exchange would tear, and on those that it would leave with one colour."""
        torn = whole = 0
        for leaving, entering in ((first, second), (second, first)):
            old, new = self.colours[leaving], self.colours[entering]
            for number in self.ties_of[leaving] - self.ties_of[entering]:
                shades, size = self.shades[number], len(self.ties[number])
                torn += self.weights[number] * (shades[old] == size)
                whole += self.weights[number] * (shades[new] == size - 1)
        return torn, whole

    def exchange(self, first: int, second: int) -> None:
        """Count anew before two units exchange their colours."""
        for leaving, entering in ((first, second), (second, first)):
            for number in self.ties_of[leaving] - self.ties_of[entering]:
                self.shades[number][self.colours[leaving]] -= 1
                self.shades[number][self.colours[entering]] += 1

    def list_whole(self) -> Iterator[int]:
        """List the ties of one colour."""
        for number, tie in enumerate(self.ties):
            if self.shades[number][self.colours[tie[0]]] == len(tie):
                yield number


def _exchange(sizes: list[int], elements: Ties, pairs: Ties, colours: list[int]) -> int:
    """Exchange units of equal size between folds while that keeps more pairs covered and the partition valid.

    Returns
    -------
    How many pairs are then covered.

    """
    kept, wanted = _Shades(elements, colours), _Shades(pairs, colours)

    def find_stuck() -> set[int]:
        return {unit for number in wanted.list_whole() for unit in wanted.ties[number]}

    stuck = find_stuck()
    left = MOST_EXCHANGES
    for _ in range(MOST_ROUNDS):
        improved = False
        for first, second in combinations(range(len(sizes)), 2) if stuck else ():
            is_idle = first not in stuck and second not in stuck  # it would cover no further pair
            if is_idle or colours[first] == colours[second] or sizes[first] != sizes[second]:
                continue
            left -= 1
            torn, whole = wanted.weigh(first, second)
            if torn > whole and not kept.weigh(first, second)[1]:
                for shades in (kept, wanted):
                    shades.exchange(first, second)
                colours[first], colours[second] = colours[second], colours[first]
                stuck = find_stuck()
                improved = True
            if not left:
                break
        if not improved or not left:
            break
    return sum(wanted.weights) - sum(wanted.weights[number] for number in wanted.list_whole())
