"""Which combination of elements that no subset is would help a target most, were it annotated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.recommendation.mixture_scores import open_search
from cg_lab.recommendation.mixture_search import MOST_SOURCES, ScoredMixture
from cg_lab.recommendation.subset_relations import SubsetRelations, relate_subsets
from cg_lab.recommendation.transfer_model import TransferModel

MOST_USEFUL = 3
"""Combinations that are told as worth annotating."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsefulSubset:
    """A combination of elements that the catalogue does not have, and what it would add if it were annotated."""

    elements: tuple[str, ...]
    accuracy: float
    """Expected of the best mixture with it."""
    gain: float
    """Less that of the best mixture without it."""


def find_useful(
    relations: SubsetRelations,
    model: TransferModel,
    target: str,
    num_samples: int,
    expect: Callable[[float], float],
    found: list[ScoredMixture],
) -> tuple[UsefulSubset, ...]:
    """Try combinations that differ from the target in one element and that no subset is.

    Parameters
    ----------
    relations, model, target, num_samples
        As they were ranked with.
    expect
        Gives the accuracy that is expected where a skill is predicted.
    found
        What was ranked, single subsets among it.

    """
    graph, subset = relations.graph, relations.graph[target]
    have = {part.own for part in graph.subsets}
    best = expect(found[0].score)
    sources = [mixture.subsets[0] for mixture in found if len(mixture.subsets) == 1][:MOST_SOURCES]
    near = [graph[name] for name in sorted([*sources, target])]
    useful: list[UsefulSubset] = []
    for factor in range(len(graph.factors)):
        for value in graph.list_values(factor):
            own = (*subset.own[:factor], value, *subset.own[factor + 1 :])
            if own in have:
                continue
            new = _make_subset(graph, own, num_samples, subset)
            search = open_search(relate_subsets(MatGraph((*near, new), graph.factors)), model, target, num_samples)
            mixtures = [(_NEW,), *((name, _NEW) for name in sorted(sources))]
            accuracy = expect(search.score(mixtures)[0].score)
            useful.append(UsefulSubset(elements=own, accuracy=accuracy, gain=accuracy - best))
    useful.sort(key=lambda part: (-part.gain, part.elements))
    return tuple(part for part in useful[:MOST_USEFUL] if part.gain > 0)


_NEW = "\x7fnew"
"""Name of a subset that there is not yet; no catalogue has such a one, and it comes last."""


def _make_subset(graph: MatGraph, own: tuple[str, ...], num_samples: int, target: Subset) -> Subset:
    """Make a subset of some elements, with the labels of its task, which the last factor says."""
    alike = next((part for part in graph.subsets if part.own[-1] == own[-1]), target)
    elements = tuple((value,) for value in own)
    return replace(alike, name=_NEW, elements=elements, num_train=num_samples, num_test=0)
