"""Example images in the prompt (Med-MAT, arXiv 2412.20070, Table 16): evaluation only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.pairs import Prefer, list_combinations, pose_combination
from cg_lab.planning.plan import Contrast, Skipped
from cg_lab.planning.rows import SourceRow, find_rows
from cg_lab.planning.work import Protocol
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """How many examples, for which combinations."""

    shots: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    """Example images for each label, of the target's training side."""
    directions: tuple[str, ...]
    combinations: PositiveInt | None
    prefer: Prefer = "sharing"
    rows: tuple[SourceRow, ...] | None = None


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast | Skipped]:
    """Ask every arm with 0, 2, 3, ... examples for each label; the fine-tunes are those of `two_source`.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Mass", "MRI Brain Mass", "US Breast Side")
    >>> settings = Settings(
    ...     name="few_shot",
    ...     kinds=("classification",),
    ...     max_samples=9,
    ...     shots=(0, 2),
    ...     directions=("task",),
    ...     combinations=1,
    ... )
    >>> [question.protocol.shots for question in find(graph, graph.subsets[:1], settings)]
    [0, 2]

    """
    for contrast in _list_contrasts(graph, targets, settings):
        if isinstance(contrast, Skipped):
            yield contrast
            continue
        for shots in sorted(settings.shots):
            yield replace(
                contrast,
                id=f"{contrast.id}/{shots}shot",
                level=shots,
                curve=contrast.id,
                protocol=Protocol(image="original", shots=shots),
            )


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "it needs sources as two_source does"


def _list_contrasts(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast | Skipped]:
    if settings.rows is not None:
        for row in find_rows(graph, targets, settings.rows, settings):
            yield row if isinstance(row, Skipped) else replace(row, asks_sources=False)
        return
    for part in list_combinations(graph, targets, settings.directions, settings.combinations, prefer=settings.prefer):
        contrast = pose_combination(graph, part, settings)
        if contrast is not None:
            yield contrast
