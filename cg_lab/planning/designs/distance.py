"""Train on nodes, test on shells of Hamming distance 1 to n (the last is CrossMed's zero overlap, 2511.11034)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import PositiveInt

from cg_lab.errors import UserError, suggest
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Fact
from cg_lab.planning.posing import order, pose
from cg_lab.study import DesignSettings


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


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
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
    candidates = [target for target in targets if target.num_test]
    for number, nodes in enumerate(_list_sets(graph, candidates, settings)):
        shells = _sort_into_shells(graph, nodes, candidates)
        for distance, members in sorted(shells.items()):
            for name in sorted(order(members, ["distance", number, distance])[: settings.per_shell]):
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
                if contrast is not None:
                    yield contrast


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return (
        "it is a node, was not drawn for its shell (design.per_shell), or no design.num_nodes nodes leave a target at "
        "every distance"
    )


def _list_sets(graph: MatGraph, candidates: list[Subset], settings: Settings) -> Iterator[tuple[str, ...]]:
    if settings.nodes is not None:
        for name in settings.nodes:
            if name not in graph.index:
                raise UserError(f"design.nodes: no subset '{name}'; {suggest(name, graph.index)}")
        yield tuple(sorted(settings.nodes))
        return
    seen: set[tuple[str, ...]] = set()
    trainable = [subset.name for subset in graph.subsets if subset.num_train]
    for first in order(trainable, ["nodes"]):
        nodes = [first]
        for name in order(trainable, ["nodes", first]):
            if len(nodes) == settings.num_nodes:
                break
            if name not in nodes and _fills_shells(graph, (*nodes, name), candidates):
                nodes.append(name)
        found = tuple(sorted(nodes))
        if len(nodes) == settings.num_nodes and found not in seen and _fills_shells(graph, found, candidates):
            seen.add(found)
            yield found
        if len(seen) == settings.num_sets:
            return


def _fills_shells(graph: MatGraph, nodes: tuple[str, ...], candidates: list[Subset]) -> bool:
    return len(_sort_into_shells(graph, nodes, candidates)) == len(graph.factors)


def _sort_into_shells(graph: MatGraph, nodes: tuple[str, ...], candidates: list[Subset]) -> dict[int, list[str]]:
    """Sort targets by their distance from the nearest node; nodes themselves and their twins are left out."""
    members = graph.gather(nodes)
    shells: dict[int, list[str]] = {}
    for target in candidates:
        if members & (graph.bit(target) | graph.twins(target)):
            continue
        shared = max(graph.count_shared(target, graph[node]) for node in nodes)
        shells.setdefault(len(graph.factors) - shared, []).append(target.name)
    shells.pop(0, None)
    return shells
