"""Cross-validation over combinations: every triplet held out once, its elements always shown by the rest.

As few trainings as there are folds test every combination, where one held-out question each would need as many as there
are targets (arXiv 2511.02667 names that cost of combinatorial evaluation).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from cg_lab.errors import UserError
from cg_lab.mat import Subset
from cg_lab.planning.folding import Folding, fold
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.mixture import count_available
from cg_lab.planning.plan import Contrast, Fact
from cg_lab.planning.posing import pose
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """How many folds."""

    folds: Annotated[int, Field(ge=2)] | None
    """None for the fewest that are feasible."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
    """Partition all triplets into folds; the fine-tune without a fold is asked about every target in it.

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
        raise UserError(f"design.folds={settings.folds}: {_explain(graph)}")
    wanted = {target.name for target in targets}
    rests = [graph.everything & ~graph.gather(names) for names in folding.folds]
    budget = min(settings.max_samples, *(count_available(graph.list_members(rest)) for rest in rests))
    for number, (names, rest) in enumerate(zip(folding.folds, rests, strict=True), start=1):
        for name in names:
            if name not in wanted:
                continue
            contrast = pose(
                graph,
                graph[name],
                graph.names(rest),
                design=settings.name,
                label=f"fold{number}of{len(folding.folds)}",
                max_samples=budget,
                direction=f"fold {number} of {len(folding.folds)}",
                facts=_tell(folding),
            )
            if contrast is not None:
                yield contrast


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "an element of it is shown by no other subset, so that it always stays in training"


def _explain(graph: MatGraph) -> str:
    """Say why a number of folds can't be had, and which can."""
    fewest = fold(graph, None)
    if fewest is None:
        return "every subset has an element that no other shows, so that none can be held out"
    most = sum(len(names) for names in fewest.folds)
    return (
        f"the fewest that keep every element of a held-out subset shown by the rest are {fewest.smallest}, and {most} "
        "subsets can be held out at all; give a number between, or null for the fewest"
    )


def _tell(folding: Folding) -> tuple[Fact, ...]:
    return (
        Fact(name="smallest feasible folds", value=str(folding.smallest)),
        Fact(name="pairs of elements still covered", value=f"{folding.pairs_covered} of {folding.pairs}"),
        Fact(name="never held out", value=", ".join(folding.always_trained) or "none"),
    )
