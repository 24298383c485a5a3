"""Source pairs that together cover a target, for the designs that ask about pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations as choose_factors, product

from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph, Members, find_tied
from cg_lab.planning.posing import choose

PAIR = "pair"
"""The direction in which the first two factors act as one element."""
ALL_RELATED = "all_related"
"""In place of a direction: every related subset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """A target with the sources that its curve is about."""

    target: Subset
    sources: tuple[str, ...]
    view: tuple[str, ...]
    direction: str
    label: str


def list_combinations(
    graph: MatGraph, targets: tuple[Subset, ...], directions: tuple[str, ...], combinations: int | None
) -> Iterator[Combination]:
    """Choose source pairs as `two_source` does; the direction `all_related` takes every related subset."""
    tied = find_tied(graph)
    for target in targets:
        if not graph.unrelated_pool(target).names:
            continue
        for direction in directions:
            if direction == ALL_RELATED:
                related = graph.names(graph.related(target))
                if related:
                    yield Combination(
                        target=target, sources=related, view=target.own, direction=direction, label=direction
                    )
                continue
            found = find_pairs(graph, target, direction, tied)
            for pair in choose(found, combinations, [target.name, direction]):
                yield Combination(
                    target=target,
                    sources=pair,
                    view=found[pair],
                    direction=direction,
                    label=f"{direction}/{'+'.join(pair)}",
                )


def find_pairs(
    graph: MatGraph, target: Subset, direction: str, tied: tuple[tuple[str, str], ...]
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Find all source pairs of a target in one direction, each with what the target then stands for.

    Returns
    -------
    Two names in order, and the element of each factor.

    """
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for view in graph.views(target):
        for first, second in _list_pools(graph, target, view, direction, tied):
            for pick in product(first, second):
                found.setdefault((min(pick), max(pick)), view)
    return found


def _list_pools(
    graph: MatGraph,
    target: Subset,
    view: tuple[str, ...],
    direction: str,
    tied: tuple[tuple[str, str], ...],
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """List who can be the first and who the second source, for each way of dealing the elements to them."""
    allowed = graph.everything & ~graph.bit(target) & ~graph.twins(target)
    factors = range(len(graph.factors))
    if direction == PAIR:
        if view[:2] not in tied:
            return
        ties = 0
        for first, second in tied:
            ties |= graph.holding(0, first) & graph.holding(1, second)
        rest = factors[2:]
        yield (
            graph.names(allowed & _show(graph, view, (0, 1)) & _hide(graph, view, rest)),
            graph.names(allowed & ties & _show(graph, view, rest) & _hide(graph, view, (0, 1))),
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
            yield (
                graph.names(common & _show(graph, view, left) & _hide(graph, view, right)),
                graph.names(common & _show(graph, view, right) & _hide(graph, view, left)),
            )


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
