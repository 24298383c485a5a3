"""Arms that take a combination apart: each source alone, their adapters merged, sources that leave an element out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, combinations, islice

from cg_lab.arms import Arm
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.members import Members
from cg_lab.planning.plan import Training
from cg_lab.serialize import TextHasher

TASK = "task"
"""The factor that decides what is asked; catalogues without it take their last one."""


def list_ablations(
    graph: MatGraph, target: Subset, view: tuple[str, ...], related: tuple[str, ...], budget: int
) -> Iterator[Training]:
    """Give the arms that a combination of few sources must beat to be more than its parts.

    None of them lowers the budget: a source with fewer samples than that has no arm of its own, and the verdict then
    says what it can't tell. Merged adapters are trained each on the share of the budget that joint training gives its
    source; where every source has an arm of its own, also on as many samples as that has, which are the same jobs.

    Parameters
    ----------
    graph, target
        What is held out.
    view
        The element of each factor that the target stands for.
    related
        The sources, in order; there are such arms where they are several, at most as many as factors.
    budget
        Samples of each arm.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Mass", "MRI Brain Mass", "US Lung Mass")
    >>> parts = list_ablations(graph, graph.subsets[0], ("CT", "Brain", "Mass"), ("ct-lung-mass", "mri-brain-mass"), 9)
    >>> for part in parts:
    ...     print(part.arm, part.variant, part.subsets)
    alone ct-lung-mass ('ct-lung-mass',)
    alone mri-brain-mass ('mri-brain-mass',)
    composed  ('ct-lung-mass', 'mri-brain-mass')
    composed_alone  ('ct-lung-mass', 'mri-brain-mass')
    mismatched area ('ct-lung-mass', 'us-lung-mass')

    """
    if not 1 < len(related) <= len(view):
        return
    alone = [name for name in related if graph[name].num_train >= budget]
    for name in alone:
        yield Training(arm=Arm.ALONE, variant=name, subsets=(name,), num_samples=budget)
    if budget >= len(related):
        yield Training(arm=Arm.COMPOSED, subsets=related, num_samples=budget)
        if len(alone) == len(related):
            yield Training(arm=Arm.COMPOSED_ALONE, subsets=related, num_samples=budget * len(related))
        unrelated = _pick_unrelated(graph, target, len(related), budget)
        if unrelated is not None:
            yield Training(arm=Arm.COMPOSED_UNRELATED, subsets=unrelated, num_samples=budget)
    mismatched = find_mismatched(graph, target, view, related, budget)
    if mismatched is not None:
        yield mismatched


def _pick_unrelated(graph: MatGraph, target: Subset, count: int, budget: int) -> tuple[str, ...] | None:
    """Pick subsets that share nothing with the target and can give the budget's shares; None if there are too few.

    They are the next ones behind the target on a ring on which hashes put all names, so that a subset that is added
    elsewhere seldom changes them, and nothing has to be drawn for each target.
    """
    able = graph.unrelated_pool(target).members & graph.having(-(-budget // count))
    if able.bit_count() < count:
        return None
    place = graph.places_on_ring[target.name]
    behind = chain(graph.ring[place:], graph.ring[:place])
    picked = (name for name in behind if able >> graph.index[name] & 1)
    return tuple(sorted(islice(picked, count)))


def find_mismatched(
    graph: MatGraph, target: Subset, view: tuple[str, ...], related: tuple[str, ...], budget: int
) -> Training | None:
    """Find as many sources of the target's task that show all of its elements but one, which the related ones do show.

    Related sources of that task that do not show the element stay. Each other is replaced by one of its kind that can
    give as many samples; by one without an element of theirs if there is one, so that the set serves the opposite
    corner of the square too. The element is the one that leaves most of them.

    Returns
    -------
    None if the catalogue has none.

    """
    task = graph.factors.index(TASK) if TASK in graph.factors else len(graph.factors) - 1
    sources = graph.gather(related)
    allowed = graph.filled & graph.holding(task, view[task])
    allowed &= ~graph.bit(target) & ~graph.twins(target) & ~graph.copying(target)
    near = _find_near(graph, related, task)
    options: list[tuple[int, tuple[str, ...], int]] = []
    for factor, value in enumerate(view):
        shown = graph.holding(factor, value)
        if factor != task and sources & graph.filled & shown:
            stays = graph.names(sources & allowed & ~shown)
            options.append((-len(stays), stays, factor))
    for _, stays, factor in sorted(options):
        missing = _list_missing(graph, view, factor, stays)
        pools = _list_replacements(graph, related, stays, budget)
        pool = allowed & ~graph.holding(factor, view[factor]) & ~sources
        found = _pick_replacements(
            graph, [pool & part for part in pools], missing, near, TextHasher("mismatched", 1, related)
        )
        if found is not None:
            names = graph.names(graph.gather(stays) | found)
            return Training(arm=Arm.MISMATCHED, variant=graph.factors[factor], subsets=names, num_samples=budget)
    return None


def _find_near(graph: MatGraph, related: tuple[str, ...], task: int) -> Members:
    """Give the subsets that share an element with a related one, the task apart."""
    elements = {
        (place, value)
        for name in related
        for place, values in enumerate(graph[name].elements)
        for value in values
        if place != task
    }
    near = 0
    for place, value in elements:
        near |= graph.holding(place, value)
    return near


def _list_missing(graph: MatGraph, view: tuple[str, ...], left_out: int, stays: tuple[str, ...]) -> tuple[Members, ...]:
    """List who shows each element that those who stay don't show, but for the one that is left out.

    Where two elements act as one, both are left out.
    """
    kept = graph.gather(stays)
    is_tied = view[:2] in graph.tied and left_out < 2
    shown = [
        graph.holding(place, value)
        for place, value in enumerate(view)
        if place != left_out and not (is_tied and place < 2)
    ]
    return tuple(dict.fromkeys(members for members in shown if not members & kept))


def _list_replacements(graph: MatGraph, related: tuple[str, ...], stays: tuple[str, ...], budget: int) -> list[Members]:
    """List for each related source that does not stay who is of its kind and can give as many samples, fewest first."""
    level = _find_level((graph[name].num_train for name in related), budget)
    needs = {name: max(1, min(graph[name].num_train, level)) for name in related if name not in stays}
    return [
        graph.gather_kinds([graph[name].kind]) & graph.having(needs[name])
        for name in sorted(needs, key=lambda name: -needs[name])
    ]


def _find_level(sizes: Iterable[int], budget: int) -> int:
    """Give the most samples that one of some subsets gives when a number of them is spread evenly."""
    left, ordered = budget, sorted(sizes)
    for place, size in enumerate(ordered):
        level = -(-left // (len(ordered) - place))
        if size >= level:
            return level
        left -= size
    return max(ordered)


def _pick_replacements(
    graph: MatGraph, pools: Sequence[Members], missing: tuple[Members, ...], near: Members, hasher: TextHasher
) -> Members | None:
    """Pick one of each pool, all different, so that each missing set has one of them; few that show much.

    Pools of one kind come with the smaller first, and hold each other: then it does not matter for the later ones which
    of those that show the same is picked.
    """
    if not pools:
        return None if missing else 0
    for shown in (part for size in range(len(missing) + 1) for part in combinations(missing, size)):
        pool = pools[0]
        for members in missing:
            pool &= members if members in shown else ~members
        if not pool:
            continue
        name = hasher.find_first(graph.names(pool & ~near or pool))
        picked = graph.bit(graph[name])
        rest = tuple(members for members in missing if members not in shown)
        found = _pick_replacements(graph, [part & ~picked for part in pools[1:]], rest, near, hasher)
        if found is not None:
            return picked | found
    return None
