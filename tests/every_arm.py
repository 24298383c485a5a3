"""A design that offers every arm of the table, in a held-out question for each arm that one can be about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cg_lab.arms import MAIN_ARMS, Arm
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Training
from cg_lab.planning.posing import pose
from cg_lab.study import DesignSettings

POSED = {Arm.UNRELATED, Arm.RELATED, Arm.SHUFFLED, Arm.CEILING}
"""Arms that `pose` adds by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """Nothing beyond what every design has."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
    for target in targets:
        related = graph.related(target)
        further = [arm for arm in Arm if arm.traits.has_own_model and not arm.traits.is_main and arm not in POSED]
        contrast = pose(
            graph,
            target,
            graph.names(related),
            design=settings.name,
            label="every",
            max_samples=settings.max_samples,
            more=[train(arm, graph, target) for arm in further],
            asks_sources=True,
        )
        assert contrast is not None
        for main in MAIN_ARMS:
            trainings = (replace(part, arm=main) if part.arm is Arm.RELATED else part for part in contrast.trainings)
            yield replace(contrast, id=f"{contrast.id}/{main}", trainings=tuple(trainings))


def train(arm: Arm, graph: MatGraph, target: Subset) -> Training:
    """Train an arm on what it may show."""
    related = graph.list_members(graph.related(target))
    first = related[0].name
    variant = {"others": graph.factors[0], "source": first}.get(arm.traits.shows, "")
    subsets = {
        "anything": (subset.name for subset in related),
        "nothing": graph.unrelated_pool(target).names,
        "one": (subset.name for subset in related if graph.count_shared(target, subset) == 1),
        "combination": (subset.name for subset in related),
        "source": (first,),
        "others": (subset.name for subset in related if subset.own[0] != target.own[0]),
        "target": (target.name,),
    }[arm.traits.shows]
    return Training(arm=arm, variant=variant, subsets=tuple(subsets), num_samples=0)


def explain_absence(_: Settings) -> str:
    return "every target has some"
