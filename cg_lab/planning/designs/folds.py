"""Cross-validation over combinations: every triplet held out once, its elements always shown by the rest.

As few trainings as there are folds test every combination, where one held-out question each would need as many as there
are targets (arXiv 2511.02667 names that cost of combinatorial evaluation).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median_high
from typing import Annotated

from pydantic import Field

from cg_lab.errors import UnaskableError
from cg_lab.mat import Subset
from cg_lab.planning.folding import Folding, fold
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Fact
from cg_lab.planning.posing import pose
from cg_lab.study import DesignSettings

LEAST_SHARE = 0.5
"""Of what the middle target of a fold can be set against: a target with less gets no unrelated arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """How many folds."""

    folds: Annotated[int, Field(ge=2)] | None
    """None for the fewest that are feasible."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
    """Partition all triplets into folds; the fine-tune without a fold is asked about every target in it.

    So that it is one fine-tune for each fold and seed, all targets of a fold have one budget, `choose_budget` of their
    unrelated pools, whether or not the study asks about all of them. A target whose pool can't fill it is asked without
    an unrelated arm, and a fact of its question says so.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_cube
    >>> graph = make_cube("CT MRI", "Brain Lung", "Mass Side")
    >>> settings = Settings(name="folds", kinds=("classification",), max_samples=36, folds=None)
    >>> found = list(find(graph, graph.subsets, settings))
    >>> len(found), {len(question.related) for question in found}, all(question.fully_covered for question in found)
    (8, {4}, True)

    """
    folding = fold(graph, settings.folds)
    if folding is None:
        raise UnaskableError(f"design.folds={settings.folds}: {_explain(graph)}")
    wanted = {target.name for target in targets}
    rests = [graph.everything & ~graph.gather(names) for names in folding.folds]
    most = min(settings.max_samples, *(graph.count_train(rest) for rest in rests))
    for number, (names, rest) in enumerate(zip(folding.folds, rests, strict=True), start=1):
        related = graph.names(rest)
        members = [graph[name] for name in names if graph[name].num_test]
        pools = [graph.count_train(graph.unrelated(target)) for target in members]
        budget = choose_budget(pools, most)
        for target, num_unrelated in zip(members, pools, strict=True):
            if target.name not in wanted:
                continue
            has_pool = num_unrelated >= budget
            contrast = pose(
                graph,
                target,
                related,
                design=settings.name,
                label=f"fold{number}of{len(folding.folds)}",
                max_samples=budget,
                has_unrelated=has_pool,
                direction=f"fold {number} of {len(folding.folds)}",
                facts=(*_tell(folding), *_tell_budget(budget, most, num_unrelated)),
            )
            assert contrast is not None  # the rest shows every element, so that it has samples
            yield contrast


def choose_budget(pools: Iterable[int], most: int) -> int:
    """Choose how many samples every arm of a fold's targets trains on, from the sizes of their unrelated pools.

    The smallest pool decides, so that each target has its unrelated arm; but pools of less than half of the middle one
    (the upper of two) don't count, or a target that is related to nearly all would take the samples of the others. So
    at most half of the targets that have a pool go without their unrelated arm, and the budget is at least half of what
    the middle one could have. Where pools are equal, or all as large as `most`, it is what each target by itself gets.

    Examples
    --------
    >>> choose_budget([900, 700, 12, 0], most=800), choose_budget([40, 40], most=800), choose_budget([], most=800)
    (700, 40, 800)

    """
    sizes = [min(size, most) for size in pools if size]
    if not sizes:
        return most
    least = LEAST_SHARE * median_high(sizes)
    return min(size for size in sizes if size >= least)


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return (
        "an element of it, or of a subset that counts as the same, is shown by no other subset with training samples, "
        "so that it always stays in training"
    )


def _explain(graph: MatGraph) -> str:
    """Say why a number of folds can't be had, and which can."""
    fewest = fold(graph, None)
    if fewest is None:
        return "every subset has an element that no other shows, so that none can be held out"
    held_out = sum(len(names) for names in fewest.folds)
    apart = f", in {fewest.most} groups that count as the same" if fewest.most < held_out else ""
    return (
        f"the fewest that keep every element of a held-out subset shown by the rest are {fewest.smallest}, and "
        f"{held_out} subsets can be held out at all{apart}; give a number between, or null for the fewest"
    )


def _tell(folding: Folding) -> tuple[Fact, ...]:
    return (
        Fact(name="smallest feasible folds", value=str(folding.smallest)),
        Fact(name="pairs of elements still covered", value=f"{folding.pairs_covered} of {folding.pairs}"),
        Fact(name="never held out", value=", ".join(folding.always_trained) or "none"),
    )


def _tell_budget(budget: int, most: int, num_unrelated: int) -> Iterator[Fact]:
    """Say what it takes from a question that its fold has one fine-tune."""
    if budget < most:
        yield Fact(
            name="samples", value=f"{budget} of {most}, so that unrelated samples suffice for the targets of the fold"
        )
    if num_unrelated < budget:
        yield Fact(
            name="no unrelated arm",
            value=f"{num_unrelated} samples share no element with it, where the fold's one fine-tune has {budget}",
        )
