"""Related, unrelated and zero-overlap training (CrossMed, arXiv 2511.11034, section 3)."""

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


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
    """Train on what shares two or more elements with the target, on what shares one, and on what shares none.

    The paper's text does not say how many elements its Unrelated split may share; here it is one (the arm `partial`),
    so that the arm `unrelated` stays what it is everywhere: zero overlap.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Mass", "MRI Lung Mass", "US Breast Side")
    >>> settings = Settings(name="crossmed", kinds=("classification",), max_samples=9)
    >>> (question,) = find(graph, graph.subsets[:1], settings)
    >>> [(str(part.arm), part.subsets) for part in question.trainings[:3]]
    [('unrelated', ('us-breast-side',)), ('related', ('ct-lung-mass',)), ('partial', ('mri-lung-mass',))]

    """
    for target in targets:
        related = graph.list_members(graph.related(target))
        close = tuple(subset.name for subset in related if graph.count_shared(target, subset) >= 2)
        loose = tuple(subset.name for subset in related if graph.count_shared(target, subset) == 1)
        if not close or not loose or not graph.unrelated_pool(target).num_train:
            continue
        contrast = pose(
            graph,
            target,
            close,
            design=settings.name,
            label="crossmed",
            max_samples=settings.max_samples,
            more=[Training(arm=Arm.PARTIAL, subsets=loose, num_samples=0)],
        )
        if contrast is not None:
            yield contrast


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "it needs subsets that share two elements with it, one element, and none"
