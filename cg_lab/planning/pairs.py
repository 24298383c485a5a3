"""Source pairs that together cover a target, for the designs that ask about pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations as choose_factors, product
from typing import Literal

from cg_lab.errors import UserError, suggest
from cg_lab.mat import Kind, Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.members import Members
from cg_lab.planning.plan import Contrast
from cg_lab.planning.posing import choose, pose
from cg_lab.study import DesignSettings

PAIR = "pair"
"""The direction in which the first two factors act as one element."""
Prefer = Literal["sharing", "hash"]
"""Which combinations are asked about where there are more than are wanted."""
ALL_RELATED = "all_related"
"""In place of a direction: every related subset."""
Pairs = dict[tuple[str, ...], tuple[str, ...]]
"""Pairs of sources, two names in order, each with the element of each factor that the target then stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """A target with the sources that should explain it."""

    target: Subset
    sources: tuple[str, ...]
    view: tuple[str, ...]
    """The element of each factor that the target then stands for."""
    direction: str

    @property
    def label(self) -> str:
        """Tell it from others about the target."""
        return self.direction if self.direction == ALL_RELATED else f"{self.direction}/{'+'.join(self.sources)}"


def list_combinations(
    graph: MatGraph,
    targets: tuple[Subset, ...],
    directions: tuple[str, ...],
    combinations: int | None,
    *,
    prefer: Prefer = "sharing",
    kinds: frozenset[Kind] | None = None,
) -> Iterator[Combination]:
    """Choose source pairs of targets that have unrelated subsets too.

    Parameters
    ----------
    graph, targets
        Where sources are looked for, and for whom.
    directions
        Factors that target and sources share, in turn; `pair`; or `all_related`, which takes every related subset.
    combinations
        Pairs for each target and direction; None for all.
    prefer
        Which ones where there are more: those that share most fine-tunes with other questions, or any, drawn by name.
    kinds
        Kinds that the two sources must have between them; None for any.

    Raises
    ------
    UserError
        For a direction that there is not.

    """
    known = [*graph.factors, PAIR, ALL_RELATED]
    for direction in directions:
        if direction not in known:
            raise UserError(f"design.directions: no factor '{direction}'; {suggest(direction, known)}")
    asked = [target for target in targets if graph.unrelated(target) & graph.filled]
    shared: dict[tuple[str, str], Pairs] = {}
    if prefer == "sharing" and combinations is not None:
        shared = _choose_to_share(graph, asked, directions, combinations, kinds)
    for target in asked:
        for direction in directions:
            if direction == ALL_RELATED:
                related = graph.names(graph.related(target))
                if related:
                    yield Combination(target=target, sources=related, view=target.own, direction=direction)
                continue
            pairs = shared.get((target.name, direction))
            if pairs is None:
                found = find_pairs(graph, target, direction, kinds)
                pairs = {pair: found[pair] for pair in choose(found, combinations, [target.name, direction])}
            for pair, view in pairs.items():
                yield Combination(target=target, sources=pair, view=view, direction=direction)


def _choose_to_share(
    graph: MatGraph, targets: Sequence[Subset], directions: Sequence[str], count: int, kinds: frozenset[Kind] | None
) -> dict[tuple[str, str], Pairs]:
    """Choose pairs that share fine-tunes with those that others chose, or may come to choose.

    A pair trains one model for every target that it explains, such as both opposite corners of a square; each of its
    sources alone serves every pair that it is part of, and is the ceiling of the target that it is itself. Starting
    from pairs drawn by name, each target in turn takes others if they add fewer to those of all other targets, so that
    there are never more than were drawn.
    """
    places = [(target, direction) for target in targets for direction in directions if direction != ALL_RELATED]
    places.sort(key=lambda place: place[0].name)
    chosen: dict[tuple[str, str], Pairs] = {}
    ledger = _Ledger(target.name for target in targets)
    for target, direction in places:
        found = find_pairs(graph, target, direction, kinds)
        ledger.popular.update(list(found))
        key = target.name, direction
        chosen[key] = {pair: found[pair] for pair in choose(found, count, [*key])}
        ledger.enter(chosen[key])
    for target, direction in places:
        key = target.name, direction
        found = find_pairs(graph, target, direction, kinds)
        if len(found) <= count:
            continue
        ledger.strike(chosen[key])
        others = ledger.choose(found, count, [*key])
        if ledger.rank(others) < ledger.rank(chosen[key]):
            chosen[key] = {pair: found[pair] for pair in others}
        ledger.enter(chosen[key])
    return chosen


class _Ledger:
    """What pairs and sources alone are trained on, by how many targets."""

    def __init__(self, targets: Iterable[str]) -> None:
        self.popular: Counter[tuple[str, ...]] = Counter()
        """For each pair, how many targets it explains."""
        self._pairs: Counter[tuple[str, ...]] = Counter()
        self._alone: Counter[str] = Counter(targets)

    def enter(self, pairs: Iterable[tuple[str, ...]]) -> None:
        """Add the pairs of a target."""
        for pair in pairs:
            self._pairs[pair] += 1
            self._alone.update(pair)

    def strike(self, pairs: Iterable[tuple[str, ...]]) -> None:
        """Take the pairs of a target out."""
        for pair in pairs:
            self._pairs[pair] -= 1
            self._alone.subtract(pair)

    def rank(self, pairs: Iterable[tuple[str, ...]]) -> tuple[int, int]:
        """Say how much some pairs would add, and of equals how little they could come to share."""
        listed = list(pairs)
        new = sum(not self._pairs[pair] for pair in listed)
        new += sum(not self._alone[name] for name in {name for pair in listed for name in pair})
        return new, -sum(self.popular[pair] for pair in listed)

    def choose(self, found: Pairs, count: int, key: list[str]) -> list[tuple[str, ...]]:
        """Choose those that add fewest, one after the other; those that share alike are drawn."""
        chosen: list[tuple[str, ...]] = []
        pairs, alone, popular = self._pairs.get, self._alone.get, self.popular
        while len(chosen) < count:
            ranked: defaultdict[tuple[int, int], list[tuple[str, ...]]] = defaultdict(list)
            for pair in found:
                if pair not in chosen:
                    new = (not pairs(pair)) + (not alone(pair[0])) + (not alone(pair[1]))  # as `rank`, and faster
                    ranked[new, -popular[pair]].append(pair)
            (picked,) = choose(ranked[min(ranked)], 1, key)
            chosen.append(picked)
            self.enter([picked])
        self.strike(chosen)
        return sorted(chosen)


def pose_combination(
    graph: MatGraph,
    part: Combination,
    settings: DesignSettings,
    *,
    level: float | None = None,
    max_samples: int | None = None,
    asks_sources: bool = False,
) -> Contrast | None:
    """Pose the held-out question of a combination, or the one at a level of its curve."""
    return pose(
        graph,
        part.target,
        part.sources,
        design=settings.name,
        label=part.label if level is None else f"{part.label}/{level:g}",
        max_samples=settings.max_samples if max_samples is None else max_samples,
        view=part.view,
        direction=part.direction,
        level=level,
        curve="" if level is None else f"{part.target.name}/{part.label}",
        takes_apart=part.direction != ALL_RELATED,
        asks_sources=asks_sources,
    )


def find_pairs(
    graph: MatGraph, target: Subset, direction: str, kinds: frozenset[Kind] | None = None
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Find all source pairs of a target in one direction, each with what the target then stands for.

    With `kinds`, those whose sources are of these kinds between them.

    Returns
    -------
    Two names in order, and the element of each factor.

    """
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for view in graph.views(target):
        for first, second in _list_pools(graph, target, view, direction):
            for one, other in product(first, second):
                if one != other and (kinds is None or frozenset((graph[one].kind, graph[other].kind)) == kinds):
                    found.setdefault((one, other) if one < other else (other, one), view)
    return found


def _list_pools(
    graph: MatGraph, target: Subset, view: tuple[str, ...], direction: str
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """List who can be the first and who the second source, for each way of dealing the elements to them.

    Of each only those that have training samples, if any has; ways in which neither has some are left out.
    """
    allowed = graph.everything & ~graph.bit(target) & ~graph.twins(target)
    factors = range(len(graph.factors))
    if direction == PAIR:
        if view[:2] not in graph.tied or not factors[2:]:
            return
        ties = 0
        for first, second in graph.tied:
            ties |= graph.holding(0, first) & graph.holding(1, second)
        rest = factors[2:]
        yield from _name_pools(
            graph,
            allowed & _show(graph, view, (0, 1)) & _hide(graph, view, rest),
            allowed & ties & _show(graph, view, rest) & _hide(graph, view, (0, 1)),
        )
        return
    fixed = graph.factors.index(direction)
    others = [factor for factor in factors if factor != fixed]
    common = allowed & graph.holding(fixed, view[fixed])
    for size in range(1, len(others)):
        for left in choose_factors(others, size):
            if left[0] != others[0]:
                continue
            right = [factor for factor in others if factor not in left]
            yield from _name_pools(
                graph,
                common & _show(graph, view, left) & _hide(graph, view, right),
                common & _show(graph, view, right) & _hide(graph, view, left),
            )


def _name_pools(graph: MatGraph, *pools: Members) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    if any(pool & graph.filled for pool in pools):
        first, second = (graph.names(pool & graph.filled or pool) for pool in pools)
        yield first, second


def _show(graph: MatGraph, view: tuple[str, ...], factors: Sequence[int]) -> Members:
    found = graph.everything
    for factor in factors:
        found &= graph.holding(factor, view[factor])
    return found


def _hide(graph: MatGraph, view: tuple[str, ...], factors: Sequence[int]) -> Members:
    found = graph.everything
    for factor in factors:
        found &= graph.differing(factor, view[factor])
    return found
