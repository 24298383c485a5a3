"""Arms that take a combination apart: each of its sources alone, and as many sources that leave an element unshown."""

from __future__ import annotations

from collections.abc import Iterator

from cg_lab.arms import Arm
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.members import Members
from cg_lab.planning.plan import Training
from cg_lab.serialize import TextHasher

TASK = "task"
"""The factor that decides what is asked; catalogues without it take their last one."""


def take_apart(
    graph: MatGraph, target: Subset, view: tuple[str, ...], related: tuple[str, ...], budget: int
) -> Iterator[Training]:
    """Give the arms that a combination of few sources must beat to be more than its parts.

    None of them lowers the budget: a source with fewer samples than that has no arm of its own, and the verdict then
    says what it can't tell.

    Parameters
    ----------
    graph, target
        What is held out.
    view
        The element of each factor that the target stands for.
    related
        The sources, in order; an arm for each only where there are at most as many as factors.
    budget
        Samples of each arm.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Mass", "MRI Brain Mass", "US Lung Mass")
    >>> parts = take_apart(graph, graph.subsets[0], ("CT", "Brain", "Mass"), ("ct-lung-mass", "mri-brain-mass"), 9)
    >>> for part in parts:
    ...     print(part.arm, part.variant, part.subsets)
    alone ct-lung-mass ('ct-lung-mass',)
    alone mri-brain-mass ('mri-brain-mass',)
    mismatched modality ('mri-brain-mass', 'us-lung-mass')

    """
    if not 1 < len(related) <= len(view):
        return
    for name in related:
        if graph[name].num_train >= budget:
            yield Training(arm=Arm.ALONE, variant=name, subsets=(name,), num_samples=budget)
    mismatched = find_mismatched(graph, target, view, related, budget)
    if mismatched is not None:
        yield mismatched


def find_mismatched(
    graph: MatGraph, target: Subset, view: tuple[str, ...], related: tuple[str, ...], budget: int
) -> Training | None:
    """Find as many sources of the target's task, none of which shows one of its elements, while they show all others.

    Those of the related sources that do not show that element stay, the others are replaced; the element is the one
    that leaves most of them. What replaces them is drawn by name.

    Returns
    -------
    None if the catalogue has none with enough samples.

    """
    task = graph.factors.index(TASK) if TASK in graph.factors else len(graph.factors) - 1
    allowed = graph.gather_kinds({graph[name].kind for name in related}) & graph.filled
    allowed &= graph.holding(task, view[task]) & ~graph.bit(target) & ~graph.twins(target)
    sources = graph.gather(related)
    found: list[tuple[int, int, Members]] = []
    for factor in range(len(view)):
        if factor == task:
            continue
        pool = allowed & graph.differing(factor, view[factor])
        is_tied = view[:2] in graph.tied and factor < 2
        shown = [place for place in range(len(view)) if place != factor and not (is_tied and place < 2)]
        kept = pool & sources
        hasher = TextHasher("mismatched", 1, [target.name, *related, factor])
        chosen = kept
        for wanted in (*(graph.holding(place, view[place]) for place in shown), *[graph.everything] * len(related)):
            is_there = chosen & wanted if wanted != graph.everything else chosen.bit_count() >= len(related)
            if not is_there:
                chosen |= _draw(graph, pool & wanted & ~sources & ~chosen, hasher)
        is_whole = all(chosen & graph.holding(place, view[place]) for place in shown)
        if is_whole and chosen.bit_count() == len(related) and graph.count_train(chosen) >= budget:
            found.append((len(related) - kept.bit_count(), factor, chosen))
    if not found:
        return None
    _, factor, chosen = min(found)
    return Training(arm=Arm.MISMATCHED, variant=graph.factors[factor], subsets=graph.names(chosen), num_samples=budget)


def _draw(graph: MatGraph, pool: Members, hasher: TextHasher) -> Members:
    """Draw one of a set by a hash of its size; none of an empty one."""
    if not pool:
        return 0
    names = graph.names(pool)
    return graph.bit(graph[names[int(hasher.name([len(names)]), 16) % len(names)]])
