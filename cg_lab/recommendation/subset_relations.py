"""What each subset of a catalogue has in common with each other one: elements by factor, and labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cg_lab.planning.graph import MatGraph

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetRelations:
    """Sources against targets; both are all subsets of a graph, in its order."""

    graph: MatGraph
    shared_STF: BoolArray
    """Whether a source shows an element of a factor that a target shows."""
    labels_ST: FloatArray
    """Labels that both have, among those that either has."""
    extra_STK: FloatArray
    """What an untouched backbone tells of a source for a target; no columns where it was not asked."""

    @property
    def num_subsets(self) -> int:
        """Number of subsets."""
        return len(self.graph.subsets)

    def find_related(self, target: int) -> BoolArray:
        """Tell which subsets may be trained on for a target and show one of its elements, by their positions."""
        graph = self.graph
        allowed = {graph.index[name] for name in self.list_allowed(graph.subsets[target].name)}
        return self.shared_STF[:, target].any(axis=1) & np.isin(np.arange(self.num_subsets), list(allowed))

    def list_allowed(self, target: str) -> tuple[str, ...]:
        """List the subsets that may be trained on for a target: with samples, and neither it, its like nor its copy."""
        graph, subset = self.graph, self.graph[target]
        return graph.names(graph.filled & ~(graph.bit(subset) | graph.twins(subset) | graph.copying(subset)))


def relate_subsets(graph: MatGraph) -> SubsetRelations:
    """Compare all subsets of a graph with each other.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> relations = relate_subsets(make_graph("CT Brain Mass", "CT Lung Side"))
    >>> relations.shared_STF[0, 1].tolist(), relations.list_allowed("ct-brain-mass")
    ([True, False, False], ('ct-lung-side',))

    """
    by_factor = [
        _count_common([{*subset.elements[factor]} for subset in graph.subsets]) > 0
        for factor in range(len(graph.factors))
    ]
    labels = [{label.casefold() for label in subset.labels} for subset in graph.subsets]
    common_ST = _count_common(labels)
    sizes_S = np.array([len(own) for own in labels], float)
    either_ST = sizes_S[:, None] + sizes_S[None, :] - common_ST
    return SubsetRelations(
        graph=graph,
        shared_STF=np.stack(by_factor, axis=-1),
        labels_ST=np.divide(common_ST, either_ST, out=np.zeros_like(common_ST), where=either_ST > 0),
        extra_STK=np.zeros((len(graph.subsets), len(graph.subsets), 0)),
    )


def _count_common(values: list[set[str]]) -> FloatArray:
    """Count what each two of some sets have in common."""
    columns = {value: column for column, value in enumerate(sorted(set[str]().union(*values)))}
    has_SV = np.zeros((len(values), len(columns)))
    for row, own in enumerate(values):
        has_SV[row, [columns[value] for value in own]] = 1
    return has_SV @ has_SV.T
