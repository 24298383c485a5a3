"""Search for splits with a given compound divergence (Keysers et al. 2020, arXiv 1912.09713, section 2.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations, product
from random import Random

from cg_lab.errors import UnaskableError
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.members import Members

ATOM_ALPHA = 0.5
COMPOUND_ALPHA = 0.1
"""Weights of the Chernoff coefficient: atoms shall be alike, compounds shall at least occur in training."""
ATOM_WEIGHT = 1.0
UNCOVERED_WEIGHT = 10.0
"""Of an element of a test subset that no training subset shows."""
MOST_ROUNDS = 12
STARTS = 3

Part = tuple[int | tuple[int, int], str | tuple[str, str]]
"""An atom (factor, value) or a compound (two factors, two values)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Two sides and how far apart they are."""

    test: tuple[str, ...]
    compound: float
    atom: float


def measure_divergence(first: Counter[Part], second: Counter[Part], alpha: float) -> float:
    """Compute 1 - sum over p^alpha q^(1 - alpha), the Chernoff divergence of two frequency distributions.

    >>> measure_divergence(Counter("ab"), Counter("ab"), 0.1), measure_divergence(Counter("a"), Counter("b"), 0.1)
    (0.0, 1.0)
    """
    sums = first.total(), second.total()
    if not all(sums):
        return 1.0
    overlap = sum(
        (first[part] / sums[0]) ** alpha * (count / sums[1]) ** (1 - alpha) for part, count in second.items() if count
    )
    return max(0.0, round(1 - overlap, 12))


def split_by_divergence(graph: MatGraph, asked: float, test_share: float, seed: int) -> Split:
    """Search for the split whose compound divergence is nearest to the one asked for, with atoms alike.

    Subsets that count as each other stay on one side. The search exchanges a test with a training unit while that
    brings the split nearer, from several starts.

    Raises
    ------
    UnaskableError
        If there are no two sides.

    """
    units = graph.list_twin_groups()
    testable = [number for number, unit in enumerate(units) if any(part.num_test for part in graph.list_members(unit))]
    if len(testable) < 2:
        raise UnaskableError("it needs two subsets with test samples that don't count as each other")
    size = max(1, min(len(testable) - 1, round(test_share * len(units))))
    best: _Sides | None = None
    for start in range(STARTS):
        random = Random(f"divergence/{seed}/{start}")
        sides = _Sides(graph, units, set(random.sample(testable, size)), asked)
        sides.improve(testable)
        if best is None or sides.cost() < best.cost():
            best = sides
    assert best is not None
    members = 0
    for number in best.test:
        members |= units[number]
    compound, atom = best.measure()
    return Split(test=graph.names(members), compound=compound, atom=atom)


class _Sides:
    """Training and test side of a split, with the counts that its divergences need."""

    def __init__(self, graph: MatGraph, units: list[Members], test: set[int], asked: float) -> None:
        self.test = test
        self.asked = asked
        subsets = [graph.list_members(unit) for unit in units]
        self.atoms = _Counts(
            [[part for subset in unit for part in _list_atoms(subset)] for unit in subsets], ATOM_ALPHA
        )
        self.compounds = _Counts(
            [[part for subset in unit for part in _list_compounds(subset)] for unit in subsets], COMPOUND_ALPHA
        )
        for unit in sorted(test):
            self.atoms.move(unit, to_test=True)
            self.compounds.move(unit, to_test=True)

    def measure(self) -> tuple[float, float]:
        """Give compound and atom divergence."""
        return self.compounds.measure(), self.atoms.measure()

    def cost(self) -> float:
        """Say how far the split is from what is asked."""
        compound, atom = self.measure()
        return abs(compound - self.asked) + ATOM_WEIGHT * atom + UNCOVERED_WEIGHT * self.atoms.count_uncovered()

    def improve(self, testable: list[int]) -> None:
        """Exchange units while that brings the split nearer."""
        cost = self.cost()
        for _ in range(MOST_ROUNDS):
            before = cost
            for leaving, coming in product(sorted(self.test), testable):
                if coming in self.test or leaving not in self.test:
                    continue
                self._exchange(leaving, coming)
                now = self.cost()
                if now < cost - 1e-12:
                    cost = now
                else:
                    self._exchange(coming, leaving)
            if cost >= before - 1e-12:
                return

    def _exchange(self, leaving: int, coming: int) -> None:
        self.test.remove(leaving)
        self.test.add(coming)
        for counts in (self.atoms, self.compounds):
            counts.move(coming, to_test=True)
            counts.move(leaving, to_test=False)


class _Counts:
    """How often each part occurs on either side, kept up to date while units move."""

    def __init__(self, parts: list[list[Part]], alpha: float) -> None:
        known = {part: number for number, part in enumerate(dict.fromkeys(part for unit in parts for part in unit))}
        self.parts = [[known[part] for part in unit] for unit in parts]
        self.train = [0] * len(known)
        self.test = [0] * len(known)
        for unit in self.parts:
            for part in unit:
                self.train[part] += 1
        total = sum(self.train)
        self.alpha = alpha
        self.total = total
        self.moved = 0
        self.left = [count**alpha for count in range(total + 1)]
        self.right = [count ** (1 - alpha) for count in range(total + 1)]

    def move(self, unit: int, *, to_test: bool) -> None:
        """Move a unit to one side."""
        step = 1 if to_test else -1
        for part in self.parts[unit]:
            self.test[part] += step
            self.train[part] -= step
        self.moved += step * len(self.parts[unit])

    def measure(self) -> float:
        """Give the Chernoff divergence of the two sides, as `measure_divergence`."""
        left, right = self.left, self.right
        overlap = sum(
            [left[before] * right[after] for before, after in zip(self.train, self.test, strict=True) if after]
        )
        scale = (self.total - self.moved) ** self.alpha * self.moved ** (1 - self.alpha)
        return max(0.0, round(1 - overlap / scale, 12)) if scale else 1.0

    def count_uncovered(self) -> int:
        """Count the parts of the test side that training does not have."""
        return sum([after > 0 and before == 0 for before, after in zip(self.train, self.test, strict=True)])


def _list_atoms(subset: Subset) -> Iterable[Part]:
    return enumerate(subset.own)


def _list_compounds(subset: Subset) -> Iterable[Part]:
    return (
        ((first, second), (subset.own[first], subset.own[second]))
        for first, second in combinations(range(len(subset.own)), 2)
    )
