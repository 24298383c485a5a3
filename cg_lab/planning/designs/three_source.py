"""Each element from a source of its own (Med-MAT, arXiv 2412.20070, Table 10)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import PositiveInt

from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Skipped
from cg_lab.planning.posing import choose, list_or_draw, pose
from cg_lab.planning.rows import SourceRow, find_rows
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """How many combinations are asked about."""

    combinations: PositiveInt | None
    """For each target; None for all."""
    rows: tuple[SourceRow, ...] | None = None
    """Just these combinations."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast | Skipped]:
    """Find for each target one source an element, each of which shows that element and no other of the target.

    With target (m, a, t) the sources are (m, a', t'), (m', a, t'') and (m'', a'', t); with N factors they are N.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Side", "MRI Brain Side", "US Breast Mass", "XR Skin Level")
    >>> settings = Settings(name="three_source", kinds=("classification",), max_samples=9, combinations=None)
    >>> [question.related for question in find(graph, graph.subsets[:1], settings)]
    [('ct-lung-side', 'mri-brain-side', 'us-breast-mass')]

    """
    if settings.rows is not None:
        yield from find_rows(graph, targets, settings.rows, settings)
        return
    for target in targets:
        found = find_sources(graph, target, settings.combinations)
        for sources in choose(found, settings.combinations, [target.name, "sources"]):
            contrast = pose(
                graph,
                target,
                sources,
                design=settings.name,
                label="+".join(sources),
                max_samples=settings.max_samples,
                view=found[sources],
                takes_apart=True,
                asks_sources=True,
            )
            if contrast is not None and graph.unrelated_pool(target).num_train:
                yield contrast


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return (
        "it needs for each element a subset that shows this one and no other of its elements, and one that shares none"
    )


def find_sources(graph: MatGraph, target: Subset, count: int | None) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Find combinations of sources, in order of name, each with what the target then stands for."""
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    allowed = graph.everything & ~graph.bit(target) & ~graph.twins(target)
    for view in graph.views(target):
        pools: list[tuple[str, ...]] = []
        for shown in range(len(view)):
            members = allowed & graph.holding(shown, view[shown])
            for factor, value in enumerate(view):
                if factor != shown:
                    members &= graph.differing(factor, value)
            pools.append(graph.names(members & graph.filled or members))
        if all(pools):
            for pick in list_or_draw(pools, count, [target.name, *view]):
                if graph.gather(pick) & graph.filled:
                    found.setdefault(tuple(sorted(pick)), view)
    return found
