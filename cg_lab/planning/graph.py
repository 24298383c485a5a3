"""The MAT graph: subsets and elements are nodes, and an edge says that a subset shows an element."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

from cg_lab.catalog import Overlap
from cg_lab.mat import Elements, Kind, Subset
from cg_lab.planning.members import Members, NameSet, join, pick
from cg_lab.serialize import content_id

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Subsets that an arm draws from."""

    members: Members
    names: tuple[str, ...]
    num_train: int


class MatGraph:
    """A catalogue as a bipartite graph, with its neighbourhoods kept as bit sets.

    Bit sets make "all that share an element with the target" one operation on 2,000 subsets, which is what a million
    cells need; `incidence` is the same graph for networkx.

    Parameters
    ----------
    subsets
        In order of name.
    factors
        Names of the factors, in the order of the subsets' elements.
    strict
        Whether subsets that share an element of every factor count as the target itself, so that none of them is ever
        trained on; otherwise only subsets with equal elements do (a subset may count as several things, see `views`).
    tied
        Values of the first two factors that act as one element; None for those that occur only together.
    overlaps
        What training and test sides have in common.

    """

    def __init__(
        self,
        subsets: tuple[Subset, ...],
        factors: tuple[str, ...],
        *,
        strict: bool = True,
        tied: tuple[tuple[str, str], ...] | None = None,
        overlaps: Iterable[Overlap] = (),
    ) -> None:
        self.subsets = subsets
        self.factors = factors
        self.strict = strict
        self.index = {subset.name: number for number, subset in enumerate(subsets)}
        self.everything: Members = (1 << len(subsets)) - 1
        holders: list[dict[str, Members]] = [defaultdict(int) for _ in factors]
        solely: list[dict[str, Members]] = [defaultdict(int) for _ in factors]
        equal: dict[Elements, Members] = defaultdict(int)
        for number, subset in enumerate(subsets):
            bit = 1 << number
            for factor, values in enumerate(subset.elements):
                for value in values:
                    holders[factor][value] |= bit
                if len(values) == 1:
                    solely[factor][values[0]] |= bit
            equal[_sort(subset.elements)] |= bit
        self._holders = tuple(dict(part) for part in holders)
        self._solely = tuple(dict(part) for part in solely)
        self._equal = dict(equal)
        self._names = tuple(subset.name for subset in subsets)
        self._planes = tuple(
            join([number for number, subset in enumerate(subsets) if subset.num_train >> digit & 1], len(subsets))
            for digit in range(max((subset.num_train for subset in subsets), default=0).bit_length())
        )
        """For each binary digit of a number of training samples, the subsets whose number has it."""
        self.filled: Members = join([number for number, subset in enumerate(subsets) if subset.num_train], len(subsets))
        """Subsets with training samples."""
        self._kinds = {
            kind: join([number for number, subset in enumerate(subsets) if subset.kind is kind], len(subsets))
            for kind in Kind
        }
        self._copies: dict[str, Members] = defaultdict(int)
        for overlap in overlaps:
            if overlap.count and overlap.train in self.index:
                self._copies[overlap.test] |= 1 << self.index[overlap.train]
        self._pool: tuple[str, Pool] | None = None
        self._neighbours: tuple[Subset, tuple[Members, ...]] | None = None
        self._tied = tied

    @cached_property
    def tied(self) -> tuple[tuple[str, str], ...]:
        """Values of the first two factors that act as one element, as declared or as found."""
        return find_tied(self) if self._tied is None else self._tied

    @cached_property
    def incidence(self) -> nx.Graph[str | tuple[str, str]]:
        """Subsets by name and elements as (factor, value); an edge joins a subset to each element that it shows."""
        import networkx as nx  # takes 0.1 s, which most plans need not pay

        graph: nx.Graph[str | tuple[str, str]] = nx.Graph()
        for subset in self.subsets:
            graph.add_node(subset.name, bipartite=0)
            for factor, values in zip(self.factors, subset.elements, strict=True):
                graph.add_edges_from((subset.name, (factor, value)) for value in values)
        return graph

    @cached_property
    def ring(self) -> tuple[str, ...]:
        """All names in the order of their hashes."""
        return tuple(sorted(self._names, key=lambda name: content_id("ring", 1, name)))

    @cached_property
    def places_on_ring(self) -> dict[str, int]:
        """Positions of names in `ring`."""
        return {name: place for place, name in enumerate(self.ring)}

    def __getitem__(self, name: str) -> Subset:
        return self.subsets[self.index[name]]

    def bit(self, subset: Subset) -> Members:
        """Give the set of one."""
        return 1 << self.index[subset.name]

    def gather(self, names: Iterable[str]) -> Members:
        """Give the set of the named subsets."""
        return join([self.index[name] for name in names], len(self.subsets))

    def translate(self, names: tuple[str, ...], members: Members) -> Members:
        """Give a set whose bits stand for `names` as one of this graph's subsets."""
        return members if names == self._names else self.gather(pick(names, members))

    def names(self, members: Members) -> tuple[str, ...]:
        """Name the members of a set, in order."""
        return NameSet.pick(self._names, members)

    def list_members(self, members: Members) -> tuple[Subset, ...]:
        """Give the members of a set, in order of name."""
        return pick(self.subsets, members)

    def list_values(self, factor: int) -> tuple[str, ...]:
        """Give all elements of a factor, in order."""
        return tuple(sorted(self._holders[factor]))

    def holding(self, factor: int, value: str) -> Members:
        """Give the subsets that show an element."""
        return self._holders[factor].get(value, 0)

    def differing(self, factor: int, value: str) -> Members:
        """Give the subsets that can stand for another element: by all their values if strict, by any if not."""
        same = self._holders if self.strict else self._solely
        return self.everything & ~same[factor].get(value, 0)

    def sharing(self, target: Subset, factor: int) -> Members:
        """Give the other subsets that share any value of a factor with a target; the last target's are kept."""
        if self._neighbours is None or self._neighbours[0] is not target:
            self._neighbours = (
                target,
                tuple(self._find_sharing(target, number) for number in range(len(self.factors))),
            )
        return self._neighbours[1][factor]

    def _find_sharing(self, target: Subset, factor: int) -> Members:
        found = 0
        for value in target.elements[factor]:
            found |= self._holders[factor][value]
        return found & ~self.bit(target)

    def twins(self, target: Subset) -> Members:
        """Give the other subsets that count as the target itself; none of them may be trained on."""
        if self.strict:
            return self.sharing_all(target)
        return self._equal[_sort(target.elements)] & ~self.bit(target)

    def sharing_all(self, target: Subset) -> Members:
        """Give the other subsets that share an element of every factor with a target."""
        found = self.everything
        for factor in range(len(self.factors)):
            found &= self.sharing(target, factor)
        return found

    def copying(self, target: Subset) -> Members:
        """Give the subsets whose training side has samples, or patients, of a target's test side."""
        return self._copies.get(target.name, 0)

    def list_twin_groups(self) -> list[Members]:
        """Give the sets of subsets that can't be told apart by elements, directly or over others; most hold one."""
        groups: list[Members] = []  # by hand: as a networkx graph, n equal subsets would have n * n edges
        left = self.everything
        while left:
            group = reached = left & -left
            while reached:
                found = 0
                for subset in self.list_members(reached):
                    found |= self.twins(subset)
                reached = found & ~group
                group |= found
            groups.append(group)
            left &= ~group
        return sorted(groups)

    def related(self, target: Subset) -> Members:
        """Give the subsets that share an element with the target and are no twins of it."""
        found = 0
        for factor in range(len(self.factors)):
            found |= self.sharing(target, factor)
        return found & ~self.twins(target)

    def unrelated(self, target: Subset) -> Members:
        """Give the subsets that share no element with the target."""
        found = self.bit(target)
        for factor in range(len(self.factors)):
            found |= self.sharing(target, factor)
        return self.everything & ~found

    def unrelated_pool(self, target: Subset) -> Pool:
        """Give the subsets that share no element with the target; the last one asked for is kept."""
        if self._pool is None or self._pool[0] != target.name:
            members = self.unrelated(target)
            pool = Pool(members=members, names=self.names(members), num_train=self.count_train(members))
            self._pool = (target.name, pool)
        return self._pool[1]

    def gather_kinds(self, kinds: Iterable[Kind]) -> Members:
        """Give the subsets of some kinds."""
        found = 0
        for kind in kinds:
            found |= self._kinds[kind]
        return found

    def count_train(self, members: Members) -> int:
        """Count the training samples of a set, in a few operations."""
        return sum((members & plane).bit_count() << digit for digit, plane in enumerate(self._planes))

    def having(self, num_train: int) -> Members:
        """Give the subsets with at least so many training samples."""
        more, equal = 0, self.everything
        for digit in range(max(len(self._planes), num_train.bit_length()) - 1, -1, -1):
            plane = self._planes[digit] if digit < len(self._planes) else 0
            if num_train >> digit & 1:
                equal &= plane
            else:
                more |= equal & plane
                equal &= ~plane
        return more | equal

    def count_shared(self, target: Subset, other: Subset) -> int:
        """Count the factors of which two subsets share an element."""
        return sum(
            not set(first).isdisjoint(second) for first, second in zip(target.elements, other.elements, strict=True)
        )

    def rank_by_shared(self, target: Subset) -> list[Members]:
        """Give for 0, 1, ... those that share an element of at least so many factors with a target, itself left out."""
        at_least = [self.everything & ~self.bit(target)]
        for factor in range(len(self.factors)):
            at_least.append(0)
            for count in range(len(at_least) - 1, 0, -1):
                at_least[count] |= at_least[count - 1] & self.sharing(target, factor)
        return at_least

    def views(self, target: Subset) -> Iterator[tuple[str, ...]]:
        """Give everything that a target can stand for: one element of each factor.

        A subset about COVID that counts as State too can be asked about as either (Med-MAT, Table 3).
        """
        return product(*target.elements)

    def list_elements(self) -> Iterator[tuple[int, str, Members]]:
        """Give each element with the subsets that show it: factor, value, members; in order."""
        for factor in range(len(self.factors)):
            for value in self.list_values(factor):
                yield factor, value, self._holders[factor][value]


def find_tied(graph: MatGraph) -> tuple[tuple[str, str], ...]:
    """Find the values of the first two factors that occur only together, so that they act as one element.

    >>> from cg_lab.planning.examples import make_graph
    >>> find_tied(make_graph("CT Lung State", "Der Skin State", "MRI Lung State"))
    (('Der', 'Skin'),)
    """
    elements = list(graph.list_elements())
    second: dict[Members, list[str]] = defaultdict(list)
    for factor, value, members in elements:
        if factor == 1:
            second[members].append(value)
    return tuple(
        (value, other) for factor, value, members in elements if factor == 0 for other in second.get(members, ())
    )


def _sort(elements: Elements) -> Elements:
    return tuple(tuple(sorted(set(values))) for values in elements)
