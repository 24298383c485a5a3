"""The MAT graph: subsets are nodes, and an edge says which elements two subsets share."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import networkx as nx

from cg_lab.mat import Element, Subset


@dataclass(frozen=True, slots=True, kw_only=True)
class MatGraph:
    """A catalogue as a graph."""

    subsets: dict[str, Subset]
    graph: nx.Graph[str]
    """Edge attribute `shared`: the frozenset of shared elements; subsets that share none have no edge."""

    def related(self, target: Subset) -> tuple[Subset, ...]:
        """Give the subsets that share an element with the target but not its whole triplet, in order of name."""
        return tuple(
            self.subsets[name]
            for name in sorted(self.graph.neighbors(target.name))
            if self.subsets[name].triplet != target.triplet
        )

    def unrelated(self, target: Subset) -> tuple[Subset, ...]:
        """Give the subsets that share no element with the target, in order of name."""
        return tuple(self.subsets[name] for name in sorted(nx.non_neighbors(self.graph, target.name)))

    def shared(self, first: Subset, second: Subset) -> frozenset[Element]:
        """Tell which elements two subsets share."""
        return (
            self.graph.edges[first.name, second.name]["shared"]
            if self.graph.has_edge(first.name, second.name)
            else frozenset()
        )


def build_graph(subsets: tuple[Subset, ...]) -> MatGraph:
    """Connect subsets that share an element; only pairs with a common value are looked at."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(subset.name for subset in subsets)
    by_value: dict[tuple[Element, str], list[Subset]] = defaultdict(list)
    for subset in subsets:
        for element in Element:
            by_value[element, subset.triplet.value(element)].append(subset)
    for group in by_value.values():
        for position, first in enumerate(group):
            for second in group[position + 1 :]:
                if not graph.has_edge(first.name, second.name):
                    graph.add_edge(first.name, second.name, shared=first.triplet.shared(second.triplet))
    return MatGraph(subsets={subset.name: subset for subset in subsets}, graph=graph)
