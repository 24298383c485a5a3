"""Two sources that together cover the target (Med-MAT, arXiv 2412.20070, section 4.2 and Table 3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import PositiveInt

from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.pairs import Prefer, list_combinations, pose_combination
from cg_lab.planning.plan import Contrast, Skipped
from cg_lab.planning.rows import SourceRow, find_rows
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """Which pairs of sources are asked about."""

    directions: tuple[str, ...]
    """Factors that target and sources all share, in turn; `pair` takes values that occur only together as one."""
    combinations: PositiveInt | None
    """Source pairs for each target and direction; None for all."""
    prefer: Prefer = "sharing"
    rows: tuple[SourceRow, ...] | None = None
    """Just these combinations."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast | Skipped]:
    """Find source pairs: element f is shared by all three, and each other element comes from one of the sources.

    With target (f, x, y) the sources are (f, x, y') and (f, x', y). In the direction `pair` two factors whose values
    occur only together (Der-Skin) act as one element p against the others: target (p, t), sources (p, t') and (p', t).
    With more than three factors, all but f are dealt to the two sources in every way.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Mass", "MRI Brain Mass", "US Breast Side")
    >>> settings = Settings(
    ...     name="two_source", kinds=("classification",), max_samples=9, directions=("task",), combinations=1
    ... )
    >>> [question.related for question in find(graph, graph.subsets[:1], settings)]
    [('ct-lung-mass', 'mri-brain-mass')]

    """
    if settings.rows is not None:
        yield from find_rows(graph, targets, settings.rows, settings)
        return
    for part in list_combinations(graph, targets, settings.directions, settings.combinations, prefer=settings.prefer):
        contrast = pose_combination(graph, part, settings, asks_sources=True)
        if contrast is not None:
            yield contrast


def explain_absence(settings: Settings) -> str:
    """Say what a target would have needed."""
    names = " or ".join(settings.directions)
    return (
        f"no two subsets share its {names} and cover its other elements between them, "
        "with a subset left that shares no element with it"
    )
