"""In how many combinations must an element be seen: (n, k) coverage at constant budget (arXiv 2507.07102)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, islice, product
from typing import Annotated

from pydantic import Field, PositiveInt

from cg_lab.errors import UserError, suggest
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Fact
from cg_lab.planning.posing import order, pose
from cg_lab.serialize import canonical_json
from cg_lab.study import DesignSettings

MOST_TRIED = 5_000
"""Choices of n rows and n columns that are looked at for a complete grid."""

Table = dict[tuple[str, str], list[Subset]]
"""Who stands at each row and column, in order of name; a subset may stand at several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Subsets in n rows and n columns."""

    fixed: tuple[str, ...]
    """The element of each other factor, which all of them show."""
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[str, str], Subset]
    """At each row and column a subset that shows these, and no other row or column of the grid."""

    def list_diagonal(self, step: int) -> list[tuple[str, str]]:
        """Give rows and columns of the cells (i, i + step mod n)."""
        size = len(self.rows)
        return [(row, self.columns[(number + step) % size]) for number, row in enumerate(self.rows)]

    def list_held_out(self) -> list[tuple[str, str]]:
        """Give the last diagonal in order of name."""
        return sorted(self.list_diagonal(len(self.rows) - 1), key=lambda place: self.cells[place].name)

    def list_shown(self, level: int) -> tuple[str, ...]:
        """Name the subsets on the first diagonals, which together show each row and column `level` times."""
        return tuple(sorted(self.cells[place].name for step in range(level) for place in self.list_diagonal(step)))


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
    out for every k, so that one curve asks about one target in one grid. A target that counts as several of the fixed
    elements may stand in several grids; each is a curve of its own.

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
    tables = _list_tables(graph, settings)
    labels = Counter("-".join(fixed) for fixed in tables)
    for fixed, table in sorted(tables.items()):
        label = "-".join(fixed) or "all"
        if labels[label] > 1:  # others read the same, such as (X-ray, a) and (X, ray-a)
            label = canonical_json(fixed)
        for number in sorted(set(settings.values)):
            grid = _find_grid(graph, fixed, table, number, settings)
            if grid is None:
                continue
            for place in grid.list_held_out():
                if grid.cells[place].name in wanted:
                    yield from _pose_curve(graph, grid, place, label, settings)


def explain_absence(settings: Settings) -> str:
    """Say what a target would have needed."""
    sizes = " or ".join(f"{number} x {number}" for number in sorted(set(settings.values)))
    return (
        f"it is on the held-out diagonal of no complete {sizes} grid of {' and '.join(settings.factors)} whose subsets "
        "have training samples and show one row and column each; or training there is never free of subsets that "
        "count as it, or has fewer samples than combinations"
    )


def _list_tables(graph: MatGraph, settings: Settings) -> dict[tuple[str, ...], Table]:
    """Give for each choice of the other factors' values which subsets with training samples stand where."""
    first, second = (graph.factors.index(factor) for factor in settings.factors)
    tables: dict[tuple[str, ...], Table] = {}
    for subset in graph.subsets:
        for view in graph.views(subset) if subset.num_train else ():
            fixed = tuple(value for factor, value in enumerate(view) if factor not in {first, second})
            tables.setdefault(fixed, {}).setdefault((view[first], view[second]), []).append(subset)
    return tables


def _find_grid(graph: MatGraph, fixed: tuple[str, ...], table: Table, number: int, settings: Settings) -> Grid | None:
    """Find n rows and n columns whose cells can all be filled, the first in an order drawn by hash."""
    first, second = (graph.factors.index(factor) for factor in settings.factors)

    def find_cell(place: tuple[str, str], rows: tuple[str, ...], columns: tuple[str, ...]) -> Subset | None:
        for subset in table[place]:
            shown = {*rows} & {*subset.elements[first]}, {*columns} & {*subset.elements[second]}
            if shown == ({place[0]}, {place[1]}):
                return subset
        return None

    for rows, columns in islice(_list_sides(table, number, [*settings.factors, *fixed]), MOST_TRIED):
        found = {place: find_cell(place, rows, columns) for place in product(rows, columns)}
        cells = {place: subset for place, subset in found.items() if subset is not None}
        if cells and len(cells) == len(found):
            return Grid(fixed=fixed, rows=rows, columns=columns, cells=cells)
    return None


def _list_sides(table: Table, number: int, key: list[str]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """List choices of n rows, each with every choice of n columns that all of them have, or once with none."""
    columns_of: dict[str, set[str]] = {}
    for row, column in table:
        columns_of.setdefault(row, set()).add(column)
    rich = [row for row in order(columns_of, [*key, "rows"]) if len(columns_of[row]) >= number]
    columns = order({column for _, column in table}, [*key, "columns"])
    for rows in combinations(rich, number):
        common = [column for column in columns if all(column in columns_of[row] for row in rows)]
        if len(common) < number:
            yield rows, ()
        for chosen in combinations(common, number):
            yield rows, chosen


def _pose_curve(graph: MatGraph, grid: Grid, place: tuple[str, str], label: str, settings: Settings) -> list[Contrast]:
    """Ask about the target at a place once at each level that keeps it out and shows every cell; tell the others."""
    target = grid.cells[place]
    size = len(grid.rows)
    posed: list[Contrast] = []
    left_out: list[str] = []
    for level in sorted(set(settings.shown)):
        if level >= size:
            break
        related = grid.list_shown(level)
        contrast = pose(
            graph,
            target,
            related,
            design=settings.name,
            label=f"{label}/n{size}k{level}",
            max_samples=min(settings.max_samples, graph.count_train(graph.gather(grid.list_shown(1)))),
            view=_find_view(graph, grid, place, settings),
            direction=f"n = {size}",
            level=level,
            curve=f"{target.name}/{label}/n{size}",
            facts=(Fact(name="values", value=str(size)), Fact(name="shown", value=str(level))),
        )
        twins = graph.names(graph.gather(related) & graph.twins(target))
        num_samples = contrast.main.num_samples if contrast is not None and contrast.main is not None else 0
        if twins:
            left_out.append(f"{level} (it would train on {', '.join(twins)}, which count as the target)")
        elif contrast is None or num_samples < len(related):
            left_out.append(f"{level} (it has {len(related)} combinations and {num_samples} samples)")
        else:
            posed.append(contrast)
    if not left_out:
        return posed
    fact = Fact(name="levels left out", value="; ".join(left_out))
    return [replace(contrast, facts=(*contrast.facts, fact)) for contrast in posed]


def _find_view(graph: MatGraph, grid: Grid, place: tuple[str, str], settings: Settings) -> tuple[str, ...]:
    """Give the element of each factor that the subset at a place stands for there."""
    others = [factor for factor in graph.factors if factor not in settings.factors]
    elements = dict(zip([*settings.factors, *others], [*place, *grid.fixed], strict=True))
    return tuple(elements[factor] for factor in graph.factors)
