"""Splits by atom and compound divergence (Keysers et al. 2020, arXiv 1912.09713, section 2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, NonNegativeInt

from cg_lab.mat import Subset
from cg_lab.planning.diverging import split_by_divergence
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Fact
from cg_lab.planning.posing import pose
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """Which divergences are looked for."""

    divergences: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=1)]
    """Compound divergence between training and test, 0 for the same distribution, 1 for disjoint ones."""
    test_share: Annotated[float, Field(gt=0, lt=1)]
    """Of all subsets."""
    seed: NonNegativeInt
    """Where the search starts."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast]:
    """Split the subsets so that elements are distributed alike on both sides and their pairs as differently as asked.

    Atoms are elements, compounds are pairs of elements. A local search exchanges subsets between the sides; both
    divergences that it reached are reported with each held-out question. One fine-tune a split serves all its targets.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_cube
    >>> graph = make_cube("CT MRI US", "Brain Lung Liver", "Mass Side Level")
    >>> settings = Settings(
    ...     name="divergence",
    ...     kinds=("classification",),
    ...     max_samples=99,
    ...     divergences=(0.0, 0.3),
    ...     test_share=0.33,
    ...     seed=0,
    ... )
    >>> sorted({round(question.level, 1) for question in find(graph, graph.subsets, settings)})
    [0.0, 0.3]

    """
    wanted = {target.name for target in targets}
    for asked in sorted(set(settings.divergences)):
        split = split_by_divergence(graph, asked, settings.test_share, settings.seed)
        rest = graph.everything & ~graph.gather(split.test)
        budget = min(settings.max_samples, graph.count_train(rest))
        for name in split.test:
            if name not in wanted:
                continue
            contrast = pose(
                graph,
                graph[name],
                graph.names(rest),
                design=settings.name,
                label=f"divergence{asked:g}",
                max_samples=budget,
                direction=f"compound divergence {split.compound:.2f}",
                level=round(split.compound, 4),
                curve="divergence",
                facts=(
                    Fact(name="compound divergence asked", value=f"{asked:g}"),
                    Fact(name="compound divergence", value=f"{split.compound:.3f}"),
                    Fact(name="atom divergence", value=f"{split.atom:.3f}"),
                ),
            )
            if contrast is not None:
                yield contrast


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "it is on the test side of none of the splits (design.divergences, design.test_share)"
