"""Source pairs that together cover a target, for the designs that ask about pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations as choose_factors, product

from cg_lab.errors import UserError, suggest
from cg_lab.mat import Kind, Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.members import Members
from cg_lab.planning.plan import Contrast
from cg_lab.planning.posing import choose, pose
from cg_lab.study import DesignSettings

PAIR = "pair"
"""The direction in which the first two factors act as one element."""
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
    for target in targets:
        if not graph.unrelated_pool(target).num_train:
            continue
        for direction in directions:
            if direction == ALL_RELATED:
                related = graph.names(graph.related(target))
                if related:
                    yield Combination(target=target, sources=related, view=target.own, direction=direction)
                continue
            found = find_pairs(graph, target, direction)
            if kinds is not None:
                found = {
                    pair: view for pair, view in found.items() if frozenset(graph[name].kind for name in pair) == kinds
                }
            for pair in choose(found, combinations, [target.name, direction]):
                yield Combination(target=target, sources=pair, view=found[pair], direction=direction)


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
        asks_sources=asks_sources,
    )


def find_pairs(graph: MatGraph, target: Subset, direction: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Find all source pairs of a target in one direction, each with what the target then stands for.

    Returns
    -------
    Two names in order, and the element of each factor.

    """
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for view in graph.views(target):
        for first, second in _list_pools(graph, target, view, direction):
            for one, other in product(first, second):
                if one != other:
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
