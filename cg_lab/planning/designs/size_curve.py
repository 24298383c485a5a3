"""Related against unrelated at growing size (Med-MAT, arXiv 2412.20070, Figure 5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, PositiveInt

from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.pairs import Prefer, list_combinations, pose_combination
from cg_lab.planning.plan import Contrast
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """Which sizes, for which combinations."""

    sizes: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Training samples of each arm; the untouched backbone is size 0."""
    directions: tuple[str, ...]
    """As in `two_source`; `all_related` takes every related subset."""
    combinations: PositiveInt | None
    prefer: Prefer = "sharing"


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
    """Pose one question for each size; a size that an arm can't reach is left out.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Mass", "MRI Brain Mass", "US Breast Side")
    >>> settings = Settings(
    ...     name="size_curve",
    ...     kinds=("classification",),
    ...     max_samples=99,
    ...     sizes=(4, 8, 16),
    ...     directions=("task",),
    ...     combinations=1,
    ... )
    >>> [question.level for question in find(graph, graph.subsets[:1], settings)]
    [4, 8]

    """
    for part in list_combinations(graph, targets, settings.directions, settings.combinations, prefer=settings.prefer):
        for size in sorted(settings.sizes):
            most = min(size, settings.max_samples)
            contrast = pose_combination(graph, part, settings, level=size, max_samples=most)
            if contrast is not None and contrast.main is not None and contrast.main.num_samples == size:
                yield contrast


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "it needs sources as two_source does, and subsets that share no element with it, with samples for a size"
