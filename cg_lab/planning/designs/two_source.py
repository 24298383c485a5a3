"""Two sources that together cover the target (Med-MAT, arXiv 2412.20070, section 4.2 and Table 3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import PositiveInt

from cg_lab.errors import UserError, suggest
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph, find_tied
from cg_lab.planning.pairs import PAIR, find_pairs
from cg_lab.planning.plan import Contrast
from cg_lab.planning.posing import choose, pose
from cg_lab.planning.rows import SourceRow, find_rows
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """Which pairs of sources are asked about."""

    directions: tuple[str, ...]
    """Factors that target and sources all share, in turn; `pair` takes values that occur only together as one."""
    combinations: PositiveInt | None
    """Source pairs for each target and direction; None for all."""
    rows: tuple[SourceRow, ...] | None = None
    """Just these combinations."""
    tied: tuple[tuple[str, str], ...] | None = None
    """Values of the first two factors that act as one element; None for the catalogue's, or those that are found."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
    """Find source pairs: element f is shared by all three, and each other element comes from one of the sources.

    With target (f, x, y) the sources are (f, x, y') and (f, x', y). In the direction `pair` two factors whose values
    occur only together (Der-Skin) act as one element p against the others: target (p, t), sources (p, t') and (p', t).
    With more than three factors, all but f are dealt to the two sources in every way.

    Examples
    --------
    >>> from cg_lab.mat import Subset
    >>> from cg_lab.planning.graph import MatGraph
    >>> def subset(*values):
    ...     return Subset(
    ...         name="-".join(values).lower(),
    ...         elements=tuple((value,) for value in values),
    ...         num_options=2,
    ...         num_train=9,
    ...         num_test=9,
    ...     )
    >>> subsets = tuple(
    ...     subset(*values.split()) for values in ("CT Brain Mass", "CT Lung Mass", "MRI Brain Mass", "US Breast Side")
    ... )
    >>> graph = MatGraph(subsets, ("modality", "area", "task"))
    >>> settings = Settings(
    ...     name="two_source", kinds=("classification",), directions=("task",), combinations=1, max_samples=9
    ... )
    >>> [contrast.related for contrast in find(graph, subsets[:1], settings)]
    [('ct-lung-mass', 'mri-brain-mass')]

    """
    if settings.rows is not None:
        yield from find_rows(graph, targets, settings.rows, settings)
        return
    unknown = [name for name in settings.directions if name not in {*graph.factors, PAIR}]
    if unknown:
        raise UserError(f"design.directions: no factor '{unknown[0]}'; {suggest(unknown[0], [*graph.factors, PAIR])}")
    tied = find_tied(graph) if settings.tied is None else settings.tied
    for target in targets:
        for direction in settings.directions:
            found = find_pairs(graph, target, direction, tied)
            for pair in choose(found, settings.combinations, [target.name, direction]):
                contrast = pose(
                    graph,
                    target,
                    pair,
                    design=settings.name,
                    label=f"{direction}/{'+'.join(pair)}",
                    max_samples=settings.max_samples,
                    view=found[pair],
                    direction=direction,
                    asks_sources=True,
                )
                if contrast is not None and contrast.unrelated:
                    yield contrast


def explain_absence(settings: Settings) -> str:
    """Say what a target would have needed."""
    names = " or ".join(settings.directions)
    return (
        f"no two subsets share its {names} and cover its other elements between them, "
        "with a subset left that shares no element with it"
    )
