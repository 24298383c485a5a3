"""Is a recommended mixture better than simple rules? Regret at equal samples (mixtures of data, arXiv 2505.16066)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cg_lab.arms import Arm
from cg_lab.errors import UserError, suggest
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.members import Members
from cg_lab.planning.plan import Contrast, Skipped, Training
from cg_lab.planning.posing import pose
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendedMixture:
    """What is recommended for a target."""

    target: str
    sources: tuple[str, ...]
    single: str | None = None
    """The subset that is expected to help most by itself; None leaves that arm out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """The recommendations that are tried."""

    rows: tuple[RecommendedMixture, ...]


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast | Skipped]:
    """Train on what was recommended for a target, and on what simple rules would take, each with as many samples.

    The rules: all that shares an element with the target, all data but the target, the subsets that share most
    elements, the one subset that was expected to help most, and what shares nothing.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Side", "US Breast Side")
    >>> row = RecommendedMixture(target="ct-brain-mass", sources=("ct-lung-side",))
    >>> settings = Settings(name="recommended_mixture", kinds=("classification",), max_samples=9, rows=(row,))
    >>> (question,) = find(graph, graph.subsets[:1], settings)
    >>> [(training.arm.value, training.subsets) for training in question.trainings][1:4]
    [('related', ('ct-lung-side',)), ('all_related', ('ct-lung-side',)), ('nearest_subsets', ('ct-lung-side',))]

    """
    rows = {row.target: row for row in settings.rows}
    for name in [*rows, *(name for row in settings.rows for name in row.sources)]:
        if name not in graph.index:
            raise UserError(f"design.rows: no subset '{name}'; {suggest(name, graph.index)}")
    for target in targets:
        if target.name not in rows:
            continue
        row = rows[target.name]
        more = [
            Training(arm=arm, subsets=graph.names(members), num_samples=0)
            for arm, members in _list_rules(graph, target)
            if members
        ]
        if row.single is not None:
            more.append(Training(arm=Arm.SINGLE, subsets=(row.single,), num_samples=0))
        question = pose(
            graph,
            target,
            row.sources,
            design=settings.name,
            label="+".join(sorted(row.sources)),
            max_samples=settings.max_samples,
            more=more,
        )
        if question is not None:
            yield question


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "design.rows recommends nothing for it, or an arm would have no training samples"


def _list_rules(graph: MatGraph, target: Subset) -> Iterator[tuple[Arm, Members]]:
    """Give what simple rules train on."""
    own = graph.bit(target) | graph.twins(target) | graph.copying(target)
    related = graph.related(target) & graph.filled & ~own
    yield Arm.ALL_RELATED, related
    ranked = [members & related for members in graph.rank_by_shared(target)]
    yield Arm.NEAREST_SUBSETS, next((members for members in reversed(ranked) if members), 0)
    yield Arm.ALL_DATA, graph.filled & ~own
