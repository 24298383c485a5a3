"""Detection and classification sources together (Med-MAT, arXiv 2412.20070, Tables 5, 6, 13 and 14)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydantic import NonNegativeInt, PositiveInt

from cg_lab.arms import Arm
from cg_lab.mat import Kind, Subset
from cg_lab.planning.graph import MatGraph, find_tied
from cg_lab.planning.pairs import find_pairs
from cg_lab.planning.plan import Contrast
from cg_lab.planning.posing import choose, pose
from cg_lab.planning.rows import SourceRow, find_rows
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """Which combinations, and how much target data a detection target gets."""

    directions: tuple[str, ...]
    combinations: PositiveInt | None
    target_samples: NonNegativeInt
    """Samples of a detection target in every arm: boxes can't be learned from none (section 5)."""
    rows: tuple[SourceRow, ...] | None = None


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
    """Find source pairs as `two_source` does, of which one is about boxes and the other about classes.

    Examples
    --------
    >>> from cg_lab.planning.graph import MatGraph
    >>> def subset(*values, kind="classification"):
    ...     return Subset(
    ...         name="-".join(values).lower(),
    ...         elements=tuple((value,) for value in values),
    ...         num_options=2,
    ...         num_train=9,
    ...         num_test=9,
    ...         kind=Kind(kind),
    ...     )
    >>> subsets = (
    ...     subset("CT", "Brain", "Mass"),
    ...     subset("CT", "Lung", "Mass"),
    ...     subset("CT", "Brain", "Find", kind="detection"),
    ...     subset("US", "Breast", "Side"),
    ... )
    >>> settings = Settings(
    ...     name="cross_kind",
    ...     kinds=("classification", "detection"),
    ...     max_samples=9,
    ...     target_samples=0,
    ...     directions=("modality",),
    ...     combinations=1,
    ... )
    >>> [contrast.related for contrast in find(MatGraph(subsets, ("modality", "area", "task")), subsets[:1], settings)]
    [('ct-brain-find', 'ct-lung-mass')]

    """
    for contrast in _list_contrasts(graph, targets, settings):
        target = graph[contrast.target]
        if target.kind is Kind.DETECTION and settings.target_samples:
            amount = min(settings.target_samples, target.num_train)
            grown = tuple(
                replace(part, num_target=amount) if part.arm is not Arm.CEILING else part for part in contrast.trainings
            )
            yield replace(contrast, trainings=grown)
        else:
            yield contrast


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "it needs a detection and a classification subset that cover its elements between them"


def _list_contrasts(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
    if settings.rows is not None:
        yield from find_rows(graph, targets, settings.rows, settings)
        return
    tied = find_tied(graph)
    for target in targets:
        for direction in settings.directions:
            found = {
                pair: view
                for pair, view in find_pairs(graph, target, direction, tied).items()
                if {graph[name].kind for name in pair} == {Kind.DETECTION, Kind.CLASSIFICATION}
            }
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
