"""Related or unrelated training plus a growing share of target data (Med-MAT, arXiv 2412.20070, Figure 6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from cg_lab.arms import Arm
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.pairs import Prefer, list_combinations, pose_combination
from cg_lab.planning.plan import Contrast, Training
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """How much target data, for which combinations."""

    target_samples: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    """Samples of the target that every arm gets beside its own."""
    directions: tuple[str, ...]
    """As in `two_source`; `all_related` takes every related subset."""
    combinations: PositiveInt | None
    prefer: Prefer = "sharing"


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
    """Pose one question for each amount of target data; the ceiling has that amount alone.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Mass", "MRI Brain Mass", "US Breast Side")
    >>> settings = Settings(
    ...     name="target_curve",
    ...     kinds=("classification",),
    ...     max_samples=8,
    ...     target_samples=(0, 4),
    ...     directions=("task",),
    ...     combinations=1,
    ... )
    >>> found = list(find(graph, graph.subsets[:1], settings))
    >>> [(str(part.arm), part.num_samples, part.num_target) for part in found[1].trainings]
    [('unrelated', 8, 4), ('related', 8, 4), ('alone', 8, 4), ('alone', 8, 4), ('ceiling', 4, 0)]

    """
    for part in list_combinations(graph, targets, settings.directions, settings.combinations, prefer=settings.prefer):
        for amount in sorted(settings.target_samples):
            if amount > part.target.num_train:
                continue
            contrast = pose_combination(graph, part, settings, level=amount)
            if contrast is not None:
                yield replace(contrast, trainings=_add_target(contrast, amount))


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "it needs sources as two_source does, and as many training samples as design.target_samples asks for"


def _add_target(contrast: Contrast, amount: int) -> tuple[Training, ...]:
    """Give each arm of other subsets target data but merges; the ceiling gets it alone, or goes where there is none."""
    kept = [
        part
        for part in contrast.trainings
        if part.arm is not Arm.CEILING and part.labels == "true" and part.arm.traits.model != "merged"
    ]
    grown = [replace(part, num_target=amount) for part in kept]
    alone = [Training(arm=Arm.CEILING, subsets=(contrast.target,), num_samples=amount)] if amount else []
    return (*grown, *alone)
