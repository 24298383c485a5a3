"""All Related against All Unrelated against All Data (Med-MAT, arXiv 2412.20070, section 4.3 and Figure 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cg_lab.arms import Arm
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Training
from cg_lab.planning.posing import pose
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """Nothing beyond what every design has."""

    asks_sources: bool
    """Whether the related model is also asked about each of its sources."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
    """Take every subset that shares an element with the target as its related set.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Side", "US Breast Side")
    >>> settings = Settings(name="all_related", kinds=("classification",), max_samples=9, asks_sources=True)
    >>> (question,) = find(graph, graph.subsets[:1], settings)
    >>> question.related, question.unrelated, question.fully_covered
    (('ct-lung-side',), ('us-breast-side',), False)

    """
    for target in targets:
        related, unrelated = graph.names(graph.related(target)), graph.unrelated_pool(target)
        if not related or not unrelated.num_train:
            continue
        together = Training(arm=Arm.ALL_DATA, subsets=related + unrelated.names, num_samples=0)
        contrast = pose(
            graph,
            target,
            related,
            design=settings.name,
            label="all_related",
            max_samples=settings.max_samples,
            more=[together],
            asks_sources=settings.asks_sources,
        )
        if contrast is not None:
            yield contrast


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "it needs a subset that shares an element with it, and one that shares none"
