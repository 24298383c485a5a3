"""Multi-task against single-task training (Med-MAT, arXiv 2412.20070, section 4.1, Tables 1 and 2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cg_lab.arms import Arm
from cg_lab.errors import UserError, suggest
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Skipped, Training
from cg_lab.planning.posing import covers
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """What is trained on together."""

    in_distribution: tuple[str, ...] | None
    """Subsets trained on; None for those that the catalogue marks so; if it marks none, all
    that are no target, and if that leaves none, all."""
    tests_in_distribution: bool
    """Whether the trained subsets are tested on too, each against training on it alone."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast | Skipped]:
    """Train once on all in-distribution subsets together; compare with each of them alone, and test on the others.

    The multi-task arm sees every sample (up to `max_samples`), the single-task arm (the ceiling) all of one subset, as
    in the paper: budgets are not equal here. On an in-distribution target the question is whether the others help;
    only an out-of-distribution target is held out.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Side", "US Brain Side")
    >>> settings = Settings(
    ...     name="multi_task",
    ...     kinds=("classification",),
    ...     max_samples=99,
    ...     in_distribution=None,
    ...     tests_in_distribution=False,
    ... )
    >>> (question,) = find(graph, graph.subsets[:1], settings)
    >>> question.related, question.trainings[0].num_samples
    (('ct-lung-side', 'us-brain-side'), 18)

    """
    trained = _choose_trained(graph, targets, settings)
    names = tuple(subset.name for subset in trained)
    inside = {*names}
    tested = [target for target in targets if target.name not in inside]
    if settings.tests_in_distribution:
        tested = sorted({*tested, *trained}, key=lambda subset: subset.name)
    for target in tested:
        is_inside = target.name in inside
        visible = graph.gather(names) & ~graph.bit(target) & ~graph.twins(target)
        together = names if is_inside else graph.names(visible)
        size = min(settings.max_samples, graph.count_train(graph.gather(together)))
        if not size:
            yield Skipped(target=target.name, reason="no in-distribution subset has a training sample for it")
            continue
        trainings = [Training(arm=Arm.MULTI_TASK, subsets=together, num_samples=size, sees_target=is_inside)]
        if target.num_train:
            trainings.append(
                Training(
                    arm=Arm.CEILING, subsets=(target.name,), num_samples=min(settings.max_samples, target.num_train)
                )
            )
        yield Contrast(
            id=f"{target.name}/{'in' if is_inside else 'out'}",
            design=settings.name,
            target=target.name,
            view=target.own,
            direction="in distribution" if is_inside else "out of distribution",
            trainings=tuple(trainings),
            unrelated=graph.unrelated_pool(target).names,
            fully_covered=covers(graph, target.own, together, size, shown_by=visible),
        )


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "it needs in-distribution subsets to train on"


def _choose_trained(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> list[Subset]:
    if settings.in_distribution is not None:
        unknown = [name for name in settings.in_distribution if name not in graph.index]
        if unknown:
            raise UserError(f"design.in_distribution: no subset '{unknown[0]}'; {suggest(unknown[0], graph.index)}")
        return [graph[name] for name in sorted({*settings.in_distribution})]
    marked = [subset for subset in graph.subsets if subset.split == "in_distribution"]
    held_out = {target.name for target in targets}
    return marked or [subset for subset in graph.subsets if subset.name not in held_out] or list(graph.subsets)
