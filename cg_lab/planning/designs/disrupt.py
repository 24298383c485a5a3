"""Scaling and disruption (Med-MAT, arXiv 2412.20070, section 4.3 and Figure 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cg_lab.arms import Arm
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Training
from cg_lab.planning.posing import pose
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """What "without an element" means for a target that counts as several things."""

    leave_out: Literal["own", "any"] = "own"
    """Subsets that show the target's own element of a factor, or those that share any of its values of it."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
    """Take all related subsets, and then leave out in turn those that share the target's element of one factor.

    If recombination is what helps, each `without` arm should lose against the related one, at the same budget.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Side", "US Brain Side", "US Lung Mass", "XR Skin Level")
    >>> (question,) = find(graph, graph.subsets[:1], Settings(name="disrupt", kinds=("classification",), max_samples=9))
    >>> [(str(part.arm), part.variant, len(part.subsets)) for part in question.trainings[2:5]]
    [('without', 'modality', 2), ('without', 'area', 2), ('without', 'task', 2)]

    """
    for target in targets:
        related, unrelated = graph.related(target), graph.unrelated_pool(target)
        if not related or not unrelated.num_train:
            continue
        arms: list[Training] = []
        for number, factor in enumerate(graph.factors):
            shown = graph.holding(number, target.own[number])
            rest = related & ~(shown if settings.leave_out == "own" else graph.sharing(target, number))
            if rest & graph.filled:
                arms.append(Training(arm=Arm.WITHOUT, variant=factor, subsets=graph.names(rest), num_samples=0))
        everything = graph.names(related) + unrelated.names
        arms.append(Training(arm=Arm.ALL_DATA, subsets=everything, num_samples=0))
        contrast = pose(
            graph,
            target,
            graph.names(related),
            design=settings.name,
            label="disrupt",
            max_samples=settings.max_samples,
            more=arms,
        )
        if contrast is not None:
            yield contrast


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "it needs a subset that shares an element with it, and one that shares none"
