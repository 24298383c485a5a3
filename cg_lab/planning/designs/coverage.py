"""In how many combinations must an element be seen: (n, k) coverage at constant budget (arXiv 2507.07102)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Annotated

from pydantic import Field, PositiveInt

from cg_lab.errors import UserError, suggest
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.mixture import count_available
from cg_lab.planning.plan import Contrast, Fact
from cg_lab.planning.posing import order, pose
from cg_lab.study import DesignSettings

MOST_TRIED = 5_000
"""Choices of n values that are looked at for a complete grid."""

Grid = tuple[tuple[str, ...], ...]
"""Names of the subsets in n rows and n columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """Which grids, and how densely they are shown."""

    factors: tuple[str, str]
    """Whose values make rows and columns; the others are fixed, in turn."""
    values: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)]
    """n: values of each of the two factors."""
    shown: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """k: combinations in which each value is trained on, below n."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
    """Hold out one diagonal of an n x n grid and train on k others, always with the same number of samples.

    Rows and columns come in an order drawn by hash; the j-th diagonal has the cells (i, i + j mod n). Training on the
    first k of them shows every value exactly k times, the training sets are nested in k, and the last diagonal is held
    out for every k, so that one curve asks about one target.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_cube
    >>> graph = make_cube("CT MRI US", "Brain Lung Liver", "Mass Side")
    >>> settings = Settings(
    ...     name="coverage",
    ...     kinds=("classification",),
    ...     max_samples=27,
    ...     factors=("modality", "area"),
    ...     values=(3,),
    ...     shown=(1, 2),
    ... )
    >>> found = list(find(graph, graph.subsets, settings))
    >>> len(found), [(question.level, len(question.related)) for question in found[:2]]
    (12, [(1, 3), (2, 6)])

    """
    for factor in settings.factors:
        if factor not in graph.factors:
            raise UserError(f"design.factors: no factor '{factor}'; {suggest(factor, graph.factors)}")
    wanted = {target.name for target in targets}
    for rest, table in sorted(_list_tables(graph, settings).items()):
        for number in sorted(settings.values):
            grid = _find_grid(table, number, [*settings.factors, *rest])
            if grid is not None:
                yield from _pose_grid(graph, grid, rest, wanted, settings)


def explain_absence(settings: Settings) -> str:
    """Say what a target would have needed."""
    sizes = " or ".join(f"{number} x {number}" for number in settings.values)
    return f"it is on the held-out diagonal of no complete {sizes} grid of {' and '.join(settings.factors)}"


def _list_tables(graph: MatGraph, settings: Settings) -> dict[tuple[str, ...], dict[tuple[str, str], str]]:
    """For each choice of the other factors' values: which subset stands at which row and column."""
    first, second = (graph.factors.index(factor) for factor in settings.factors)
    tables: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}
    for subset in graph.subsets:
        for view in graph.views(subset):
            rest = tuple(value for factor, value in enumerate(view) if factor not in {first, second})
            tables.setdefault(rest, {}).setdefault((view[first], view[second]), subset.name)
    return tables


def _find_grid(table: dict[tuple[str, str], str], number: int, key: list[str]) -> Grid | None:
    """Find n rows and n columns whose cells all exist, the first in an order drawn by hash."""
    columns_of: dict[str, set[str]] = {}
    for row, column in table:
        columns_of.setdefault(row, set()).add(column)
    rich = [row for row in order(columns_of, [*key, "rows"]) if len(columns_of[row]) >= number]
    for rows in islice(combinations(rich, number), MOST_TRIED):
        common = columns_of[rows[0]].intersection(*(columns_of[row] for row in rows[1:]))
        if len(common) >= number:
            columns = order(common, [*key, "columns"])[:number]
            return tuple(tuple(table[row, column] for column in columns) for row in rows)
    return None


def _pose_grid(
    graph: MatGraph, grid: Grid, rest: tuple[str, ...], wanted: set[str], settings: Settings
) -> Iterator[Contrast]:
    size = len(grid)
    diagonals = [tuple(grid[row][(row + step) % size] for row in range(size)) for step in range(size)]
    levels = [level for level in sorted(set(settings.shown)) if level < size]
    if not levels:
        return
    budget = min(settings.max_samples, count_available([graph[name] for name in diagonals[0]]))
    for name in sorted(set(diagonals[-1]) & wanted):
        target = graph[name]
        forbidden = graph.bit(target) | graph.twins(target)
        for level in levels:
            shown = tuple(sorted({cell for diagonal in diagonals[:level] for cell in diagonal}))
            if graph.gather(shown) & forbidden:
                continue
            contrast = pose(
                graph,
                target,
                shown,
                design=settings.name,
                label=f"{'-'.join(rest) or 'all'}/n{size}k{level}",
                max_samples=budget,
                direction=f"n = {size}",
                level=level,
                curve=f"{name}/n{size}",
                facts=(Fact(name="values", value=str(size)), Fact(name="shown", value=str(level))),
            )
            if contrast is not None:
                yield contrast
