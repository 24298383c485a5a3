"""Detection and classification sources together (Med-MAT, arXiv 2412.20070, Tables 5, 6, 13 and 14)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydantic import NonNegativeInt, PositiveInt

from cg_lab.arms import Arm
from cg_lab.mat import Kind, Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.pairs import Prefer, list_combinations, pose_combination
from cg_lab.planning.plan import Contrast, Skipped
from cg_lab.planning.rows import SourceRow, find_rows
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """Which combinations, and how much target data a detection target gets."""

    directions: tuple[str, ...]
    combinations: PositiveInt | None
    prefer: Prefer = "sharing"
    target_samples: NonNegativeInt
    """Samples of a detection target in every arm: boxes can't be learned from none (section 5)."""
    rows: tuple[SourceRow, ...] | None = None


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast | Skipped]:
    """Find source pairs as `two_source` does, of which one is about boxes and the other about classes.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Mass", "CT Brain Find!", "US Breast Side")
    >>> settings = Settings(
    ...     name="cross_kind",
    ...     kinds=("classification", "detection"),
    ...     max_samples=9,
    ...     target_samples=0,
    ...     directions=("modality",),
    ...     combinations=1,
    ... )
    >>> [question.related for question in find(graph, (graph["ct-brain-mass"],), settings)]
    [('ct-brain-find', 'ct-lung-mass')]

    """
    for contrast in _list_contrasts(graph, targets, settings):
        if isinstance(contrast, Skipped) or graph[contrast.target].kind is not Kind.DETECTION:
            yield contrast
            continue
        amount = min(settings.target_samples, graph[contrast.target].num_train)
        grown = tuple(
            part if part.arm is Arm.CEILING else replace(part, num_target=amount)
            for part in contrast.trainings
            if not amount  # boxes have no labels that could be dealt anew, and no adapters are of the target alone
            or (part.labels == "true" and part.arm.traits.model != "merged")
        )
        yield replace(contrast, trainings=grown)


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "it needs a detection and a classification subset that cover its elements between them"


def _list_contrasts(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast | Skipped]:
    if settings.rows is not None:
        yield from find_rows(graph, targets, settings.rows, settings)
        return
    kinds = frozenset({Kind.DETECTION, Kind.CLASSIFICATION})
    for part in list_combinations(
        graph, targets, settings.directions, settings.combinations, prefer=settings.prefer, kinds=kinds
    ):
        contrast = pose_combination(graph, part, settings, asks_sources=True)
        if contrast is not None:
            yield contrast
