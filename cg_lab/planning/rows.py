"""Combinations that a study names itself, such as the rows of a published table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cg_lab.errors import list_faults, suggest
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.pairs import PAIR, find_pairs
from cg_lab.planning.plan import Contrast, Skipped
from cg_lab.planning.posing import covers, pose
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """One combination by name."""

    target: str
    sources: tuple[str, ...]
    direction: str | None = None
    """What target and sources share, in words."""


def find_rows(
    graph: MatGraph, targets: tuple[Subset, ...], rows: tuple[SourceRow, ...], settings: DesignSettings
) -> Iterator[Contrast | Skipped]:
    """Pose the named combinations of the chosen targets; each is proved as any other.

    Rows with a subset that the catalogue does not have are told and left out: of a release many have just a part.

    Raises
    ------
    UserError
        If no row can be used at all, with what is wrong with each.

    """
    faults = [_find_fault(graph, row) for row in rows]
    if rows and all(faults):
        told = (f"design.rows[{number}]: {fault}" for number, fault in enumerate(faults))
        raise list_faults("the combinations of the design can't be used", told)
    wanted = {target.name for target in targets}
    for row, fault in zip(rows, faults, strict=True):
        if row.target in graph.index and row.target not in wanted:
            continue
        label = f"{row.direction or 'row'}/{'+'.join(sorted(row.sources))}"
        if fault is not None:
            yield Skipped(target=row.target, question=f"{row.target}/{label}", reason=fault)
            continue
        target = graph[row.target]
        view = _choose_view(graph, target, row)
        contrast = pose(
            graph,
            target,
            row.sources,
            design=settings.name,
            label=label,
            max_samples=settings.max_samples,
            view=view,
            direction=row.direction,
            takes_apart=True,
            asks_sources=True,
        )
        if contrast is None:
            reason = "one of its arms has no training sample"
            yield Skipped(target=row.target, question=f"{row.target}/{label}", reason=reason)
        else:
            yield contrast


def _choose_view(graph: MatGraph, target: Subset, row: SourceRow) -> tuple[str, ...]:
    """Say what a target stands for: what it does in the pairs of its direction, or what its sources show between them.

    If they show several things so, one that none of them shows alone.
    """
    sources = tuple(sorted(row.sources))
    if row.direction in {*graph.factors, PAIR}:
        found = find_pairs(graph, target, row.direction)
        if sources in found:
            return found[sources]
    shown = [view for view in graph.views(target) if covers(graph, view, sources)]
    apart = [view for view in shown if not any(covers(graph, view, (name,)) for name in sources)]
    return next(iter((*apart, *shown, target.own)))


def _find_fault(graph: MatGraph, row: SourceRow) -> str | None:
    unknown = next((name for name in (row.target, *row.sources) if name not in graph.index), None)
    if unknown is not None:
        return f"no subset '{unknown}'; {suggest(unknown, graph.index)}"
    if len({*row.sources}) < len(row.sources):
        return f"one source stands there twice ({', '.join(row.sources)}); give different ones"
    return None
