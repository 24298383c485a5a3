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
    asked = [target for target in targets if graph.unrelated_pool(target).num_train]
    chooser = _Chooser(graph, asked, directions, kinds) if prefer == "sharing" and combinations is not None else None
    for target in asked:
        for direction in directions:
            if direction == ALL_RELATED:
                related = graph.names(graph.related(target))
                if related:
                    yield Combination(target=target, sources=related, view=target.own, direction=direction)
                continue
            found = find_pairs(graph, target, direction, kinds)
            key = [target.name, direction]
            chosen = chooser.choose(found, combinations, key) if chooser else choose(found, combinations, key)
            for pair in chosen:
                yield Combination(target=target, sources=pair, view=found[pair], direction=direction)


class _Chooser:
    """Chooses pairs that share fine-tunes with those that it chose before, or that others may come to share.

    A pair trains one model for every target that it explains, such as both opposite corners of a square; each of its
    sources alone serves every pair that it is part of; and what is trained on a target as its ceiling is that target as
    a source alone.
    """

    def __init__(
        self, graph: MatGraph, targets: Sequence[Subset], directions: Sequence[str], kinds: frozenset[Kind] | None
    ) -> None:
        self._places = graph.index
        self._popular: Counter[int] = Counter()
        """For each pair, how many targets it explains."""
        for target in targets:
            for direction in directions:
                if direction != ALL_RELATED:
                    self._popular.update(map(self._number, find_pairs(graph, target, direction, kinds)))
        self._pairs: set[int] = set()
        self._alone = {target.name for target in targets}

    def choose(self, found: Iterable[tuple[str, ...]], count: int | None, key: list[str]) -> list[tuple[str, ...]]:
        """Choose some pairs of one target; those that share alike are drawn by a hash of `key` and their names."""
        scores: dict[tuple[int, int], list[tuple[str, ...]]] = defaultdict(list)
        for pair in found:
            number = self._number(pair)
            shared = self._popular[number] + len(self._popular) * (number in self._pairs)
            scores[shared, len(self._alone.intersection(pair))].append(pair)
        chosen: list[tuple[str, ...]] = []
        for score in sorted(scores, reverse=True):
            chosen += choose(scores[score], None if count is None else count - len(chosen), key)
            if count is not None and len(chosen) >= count:
                break
        self._pairs.update(map(self._number, chosen))
        self._alone.update(name for pair in chosen for name in pair)
        return sorted(chosen)

    def _number(self, pair: tuple[str, ...]) -> int:
        first, second = pair
        return self._places[first] * len(self._places) + self._places[second]


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
                    found.setdefault((min(one, other), max(one, other)), view)
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
