"""What designs have in common: the arms of one held-out question, its budget, and choosing among many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import nsmallest
from itertools import product
from math import prod

from cg_lab.arms import Arm
from cg_lab.mat import Kind, Subset
from cg_lab.planning.ablations import list_ablations
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.members import Members
from cg_lab.planning.plan import Contrast, Fact, Training
from cg_lab.serialize import TextHasher

ENUMERATED = 20_000
"""Combinations beyond which a few are drawn, not all listed first."""
MOST_DRAWN = 100
"""Draws for each combination that is wanted."""


def pose(  # noqa: PLR0913 - the parts of one held-out question
    graph: MatGraph,
    target: Subset,
    related: tuple[str, ...],
    *,
    design: str,
    label: str,
    max_samples: int,
    view: tuple[str, ...] | None = None,
    direction: str | None = None,
    level: float | None = None,
    curve: str = "",
    more: Iterable[Training] = (),
    takes_apart: bool = False,
    asks_sources: bool = False,
    has_unrelated: bool = True,
    facts: tuple[Fact, ...] = (),
) -> Contrast | None:
    """Pose one held-out question with the arms that every design has.

    The unrelated, related, shuffled and further arms get the same number of samples: `max_samples`, or as many as the
    poorest of them has. The ceiling gets as many as the target has of those.

    Parameters
    ----------
    graph, target, related
        What is held out, and what should explain it.
    design, label
        Name of the design, and what tells the question from others about the target.
    max_samples
        The most that an arm trains on.
    view
        The element of each factor that the target stands for; its own ones if None.
    direction, level, curve
        See `Contrast`.
    more
        Further arms; their `num_samples` is replaced by the common budget.
    takes_apart
        Whether there are arms that show what a part of the combination does: see `cg_lab.planning.ablations`.
    asks_sources
        Whether the related model is also asked about its sources.
    has_unrelated
        Whether there is an unrelated arm, where any subset shares nothing with the target.
    facts
        What the design found out.

    Returns
    -------
    None if an arm would have nothing to train on.

    """
    related = tuple(sorted(set(related)))
    unrelated = graph.unrelated_pool(target)
    further = [replace(part, subsets=tuple(sorted(set(part.subsets)))) for part in more]
    sources = [graph[name] for name in related]
    available = [
        graph.count_train(graph.gather(related)),
        *(graph.count_train(graph.gather(part.subsets)) for part in further),
    ]
    has_unrelated &= unrelated.num_train > 0
    if has_unrelated:
        available.append(unrelated.num_train)
    budget = min(max_samples, *available)
    if budget == 0:
        return None
    trainings = [Training(arm=Arm.RELATED, subsets=related, num_samples=budget)]
    if has_unrelated:
        trainings.insert(0, Training(arm=Arm.UNRELATED, subsets=unrelated.names, num_samples=budget))
    trainings += [replace(part, num_samples=budget) for part in further]
    shown = view or target.own
    if takes_apart:
        trainings += list_ablations(graph, target, shown, related, budget)
    if all(source.kind is Kind.CLASSIFICATION for source in sources):
        trainings.append(Training(arm=Arm.SHUFFLED, subsets=related, num_samples=budget, labels="shuffled"))
    if target.num_train:
        trainings.append(Training(arm=Arm.CEILING, subsets=(target.name,), num_samples=min(budget, target.num_train)))
    return Contrast(
        id=f"{target.name}/{label}",
        design=design,
        target=target.name,
        view=shown,
        direction=direction,
        level=level,
        curve=curve,
        trainings=tuple(trainings),
        unrelated=unrelated.names,
        fully_covered=covers(graph, shown, related, budget),
        asks_sources=asks_sources,
        facts=facts,
    )


def covers(
    graph: MatGraph,
    view: tuple[str, ...],
    sources: Iterable[str],
    num_samples: int | None = None,
    *,
    factors: Iterable[int] | None = None,
    shown_by: Members | None = None,
) -> bool:
    """Tell whether a number of samples spread over some subsets is sure to show the elements of a target.

    Parameters
    ----------
    graph, view
        The element of each factor that must be shown.
    sources
        What is trained on; those without training samples show nothing.
    num_samples
        Where it is less than the number of sources, some of them, drawn by seed, give none; None gives each some.
    factors
        Those that count; all by default.
    shown_by
        The sources that count; all by default.

    """
    filled = graph.gather(sources) & graph.filled
    left_out = 0 if num_samples is None else max(0, filled.bit_count() - num_samples)
    places = range(len(view)) if factors is None else factors
    counted = filled if shown_by is None else filled & shown_by
    return all((counted & graph.holding(place, view[place])).bit_count() > left_out for place in places)


def choose(picks: Iterable[tuple[str, ...]], count: int | None, key: list[str]) -> list[tuple[str, ...]]:
    """Choose some of many combinations; None keeps all.

    They are taken in the order of a hash of `key` and their names, so that adding subsets elsewhere changes none.
    """
    listed = list(picks)
    if count is not None and count < len(listed):
        listed = nsmallest(count, listed, key=TextHasher("draw", 1, key).digest)
    return sorted(listed)


def list_or_draw(pools: Sequence[tuple[str, ...]], count: int | None, key: list[str]) -> Iterator[tuple[str, ...]]:
    """Combine one name of each pool, no name twice; where that would give too many, draw `count` by hash instead.

    Pools with names in common can hold fewer; then the draw ends with those that it met.
    """
    total = prod(len(pool) for pool in pools)
    if count is None or total <= max(ENUMERATED, 4 * count):
        yield from (pick for pick in product(*pools) if len(set(pick)) == len(pick))
        return
    drawn: set[tuple[str, ...]] = set()
    hasher = TextHasher("draw", 2, key)
    for attempt in range(MOST_DRAWN * count):
        if len(drawn) == count:
            break
        number = int(hasher.name([attempt]), 16)
        pick: list[str] = []
        for pool in pools:
            number, place = divmod(number, len(pool))
            pick.append(pool[place])
        if len(set(pick)) == len(pick):
            drawn.add(tuple(sorted(pick)))
    yield from sorted(drawn)


def order(names: Iterable[str], key: list[str | int]) -> list[str]:
    """Put names in an order that a hash of `key` draws."""
    hasher = TextHasher("draw", 1, key)
    return sorted(names, key=lambda name: hasher.digest([name]))
