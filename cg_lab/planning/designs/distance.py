"""Train on nodes, test on shells of Hamming distance 1 to n (the last is CrossMed's zero overlap, 2511.11034)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice

from pydantic import PositiveInt

from cg_lab.errors import UserError, suggest
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.members import Members
from cg_lab.planning.plan import Contrast, Fact, Skipped
from cg_lab.planning.posing import order, pose
from cg_lab.study import DesignSettings

MOST_TRIED = 20_000
"""Sets of nodes that are looked at beside those that were grown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """Which nodes are trained on, and how many targets each shell has."""

    nodes: tuple[str, ...] | None
    """Subsets to train on together; None draws them."""
    num_nodes: PositiveInt
    """How many are drawn for one set, if every shell can then be filled."""
    num_sets: PositiveInt
    """Sets of nodes that are drawn."""
    per_shell: PositiveInt
    """Targets at each distance."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast | Skipped]:
    """Train on a few nodes and ask about targets by the number of elements in which they differ from the nearest node.

    Distance 1 differs in one element from some node; at the greatest distance no node shares an element, and a gain
    there is what any training gives.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_cube
    >>> graph = make_cube("CT MRI", "Brain Lung", "Mass Side")
    >>> settings = Settings(
    ...     name="distance",
    ...     kinds=("classification",),
    ...     max_samples=9,
    ...     nodes=None,
    ...     num_nodes=1,
    ...     num_sets=1,
    ...     per_shell=1,
    ... )
    >>> [question.level for question in find(graph, graph.subsets, settings)]
    [1, 2, 3]

    """
    shells = _Shells(graph, targets)
    for number, nodes in enumerate(_list_sets(graph, shells, settings)):
        for distance, members in sorted(shells.sort(nodes).items()):
            names = order(graph.names(members), ["distance", number, distance])
            for name in sorted(names[: settings.per_shell]):
                target = graph[name]
                near = [
                    node for node in nodes if len(graph.factors) - graph.count_shared(target, graph[node]) == distance
                ]
                contrast = pose(
                    graph,
                    target,
                    nodes,
                    design=settings.name,
                    label=f"{'+'.join(nodes)}/distance{distance}",
                    max_samples=settings.max_samples,
                    direction=f"distance {distance}",
                    level=distance,
                    curve="+".join(nodes),
                    facts=(Fact(name="nearest", value=", ".join(near)),),
                )
                if contrast is None or contrast.main is None:
                    continue
                if contrast.main.num_samples < len(nodes):
                    reason = f"{contrast.main.num_samples} training samples can't be spread over {len(nodes)} nodes"
                    yield Skipped(target=name, question=contrast.id, reason=reason)
                    continue
                yield contrast


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return (
        "it is a node, was not drawn for its shell (design.per_shell), or no design.num_nodes nodes leave a target at "
        "every distance"
    )


def _list_sets(graph: MatGraph, shells: _Shells, settings: Settings) -> Iterator[tuple[str, ...]]:
    if settings.nodes is not None:
        for name in settings.nodes:
            if name not in graph.index:
                raise UserError(f"design.nodes: no subset '{name}'; {suggest(name, graph.index)}")
        yield graph.names(graph.gather(settings.nodes) & graph.filled)
        return
    seen: set[tuple[str, ...]] = set()
    for nodes in _draw_nodes(graph, shells, settings):
        if nodes not in seen and shells.are_filled(nodes):
            seen.add(nodes)
            yield nodes
        if len(seen) == settings.num_sets:
            return


def _draw_nodes(graph: MatGraph, shells: _Shells, settings: Settings) -> Iterator[tuple[str, ...]]:
    """Give sets of nodes in an order drawn by hash: grown so that shells stay filled, then any others."""
    trainable = [subset.name for subset in graph.subsets if subset.num_train]
    for first in order(trainable, ["nodes"]):
        nodes = [first]
        for name in order(trainable, ["nodes", first]):
            if len(nodes) == settings.num_nodes:
                break
            if name not in nodes and shells.are_filled((*nodes, name)):
                nodes.append(name)
        if len(nodes) == settings.num_nodes:
            yield tuple(sorted(nodes))
    for found in islice(combinations(order(trainable, ["nodes"]), settings.num_nodes), MOST_TRIED):
        yield tuple(sorted(found))


class _Shells:
    """Targets by the number of elements in which they differ from the nearest of some nodes."""

    def __init__(self, graph: MatGraph, targets: tuple[Subset, ...]) -> None:
        self._graph = graph
        self._targets = graph.gather(target.name for target in targets)
        self._alike: dict[str, list[Members]] = {}

    def sort(self, nodes: tuple[str, ...]) -> dict[int, Members]:
        """Give the targets at each distance above 0 where there are any; nodes and their twins are left out."""
        if not nodes:
            return {}
        graph, free = self._graph, self._targets
        reached = [0] * (len(graph.factors) + 1)
        for node in nodes:
            free &= ~(graph.bit(graph[node]) | graph.twins(graph[node]))
            reached = [known | members for known, members in zip(reached, self._rank(node), strict=True)]
        found = {
            len(graph.factors) - shared: free & reached[shared] & ~reached[shared + 1]
            for shared in range(len(graph.factors))
        }
        return {distance: members for distance, members in found.items() if members}

    def are_filled(self, nodes: tuple[str, ...]) -> bool:
        """Tell whether there is a target at every distance."""
        return len(self.sort(nodes)) == len(self._graph.factors)

    def _rank(self, node: str) -> list[Members]:
        if node not in self._alike:
            self._alike[node] = self._graph.rank_by_shared(self._graph[node])
        return self._alike[node]
