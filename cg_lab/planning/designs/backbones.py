"""The same combinations over several models (Med-MAT, arXiv 2412.20070, Tables 4, 11, 12 and 15)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from pydantic import NonNegativeInt, PositiveInt

from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.pairs import list_combinations
from cg_lab.planning.plan import Contrast, Skipped
from cg_lab.planning.rows import SourceRow, find_rows
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """From which combinations a few are drawn; the models come from a multirun: `-m model=a,b`."""

    rows: tuple[SourceRow, ...] | None = None
    """In the order in which they were printed; None for all that `two_source` finds."""
    directions: tuple[str, ...]
    per_direction: PositiveInt
    seed: NonNegativeInt


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast | Skipped]:
    """Draw the same few combinations of each direction for every model.

    The rows of a direction are shuffled by Python's own generator, seeded anew for each direction, and the first ones
    taken: with seed 42 this gives the paper's eight.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Mass", "MRI Brain Mass", "MRI Lung Mass", "US Breast Side")
    >>> settings = Settings(
    ...     name="backbones",
    ...     kinds=("classification",),
    ...     max_samples=9,
    ...     directions=("task",),
    ...     per_direction=1,
    ...     seed=42,
    ... )
    >>> [question.target for question in find(graph, graph.subsets, settings)]
    ['mri-brain-mass']

    """
    rows = settings.rows or tuple(_list_rows(graph, targets, settings))
    yield from find_rows(graph, targets, tuple(select(rows, settings)), settings)


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "none of its combinations was drawn (design.seed, design.per_direction)"


def select(rows: tuple[SourceRow, ...], settings: Settings) -> Iterator[SourceRow]:
    """Draw rows of each direction; they keep their printed order."""
    for direction in settings.directions:
        places = [number for number, row in enumerate(rows) if row.direction == direction]
        Random(settings.seed).shuffle(places)
        yield from (rows[place] for place in sorted(places[: settings.per_direction]))


def _list_rows(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[SourceRow]:
    ordered = tuple(sorted(targets, key=lambda target: target.name))
    for part in list_combinations(graph, ordered, settings.directions, None):
        yield SourceRow(target=part.target.name, sources=part.sources, direction=part.direction)
