"""Combinations that a study names itself, such as the rows of a published table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cg_lab.errors import UserError, list_faults, suggest
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast
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
) -> Iterator[Contrast]:
    """Pose the named combinations of the chosen targets; each is proved as any other.

    Raises
    ------
    UserError
        For names that the catalogue does not have, all at once.

    """
    faults = [
        f"design.rows[{number}]: no subset '{name}'; {suggest(name, graph.index)}"
        for number, row in enumerate(rows)
        for name in (row.target, *row.sources)
        if name not in graph.index
    ]
    if faults:
        raise list_faults("the combinations of the design can't be used", faults)
    wanted = {target.name for target in targets}
    for row in rows:
        if row.target not in wanted:
            continue
        target, training = graph[row.target], graph.gather(row.sources)
        view = next((view for view in graph.views(target) if covers(graph, view, training)), target.own)
        contrast = pose(
            graph,
            target,
            tuple(sorted(row.sources)),
            design=settings.name,
            label=f"{row.direction or 'row'}/{'+'.join(sorted(row.sources))}",
            max_samples=settings.max_samples,
            view=view,
            direction=row.direction,
            asks_sources=True,
        )
        if contrast is None:
            raise UserError(f"design.rows: {row.target} from {', '.join(row.sources)}: an arm has no training sample")
        yield contrast
