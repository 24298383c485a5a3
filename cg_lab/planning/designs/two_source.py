"""Two sources that together cover the target (Med-MAT, arXiv 2412.20070, section 4.2 and Table 3)."""

from __future__ import annotations

from itertools import product

from cg_lab.mat import Element, Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast
from cg_lab.serialize import content_id
from cg_lab.study import TwoSourceSettings


def find_two_source(graph: MatGraph, target: Subset, settings: TwoSourceSettings) -> tuple[Contrast, ...]:
    """Find source pairs for a target: element f is shared by all three, x comes from one source and y from the other.

    With target (f, x, y) the sources are (f, x, y') and (f, x', y). Of the pairs of one direction, the wanted number
    is taken in an order drawn by a hash of their names, so that adding subsets elsewhere changes none of them.

    Examples
    --------
    >>> from cg_lab.mat import Triplet
    >>> from cg_lab.planning.graph import build_graph
    >>> def subset(*values):
    ...     name = "-".join(values).lower()
    ...     return Subset(name=name, triplet=Triplet(*values), labels=("no", "yes"), num_train=9, num_test=9)
    >>> target = subset("CT", "Brain", "Mass")
    >>> others = (subset("CT", "Lung", "Mass"), subset("MRI", "Brain", "Mass"), subset("US", "Breast", "Side"))
    >>> settings = TwoSourceSettings(name="two_source", directions=("task",), combinations=1, max_samples=9)
    >>> find_two_source(build_graph((target, *others)), target, settings)[0].related
    ('ct-lung-mass', 'mri-brain-mass')

    """
    unrelated = tuple(subset.name for subset in graph.unrelated(target))
    if not unrelated:
        return ()
    contrasts: list[Contrast] = []
    for direction in settings.directions:
        pairs = _find_pairs(graph, target, Element(direction))
        pairs.sort(key=lambda pair: content_id("draw", 1, [target.name, direction, *pair]))
        contrasts += [
            Contrast(
                id=f"{target.name}/{direction}/{'+'.join(pair)}",
                design="two_source",
                target=target.name,
                direction=Element(direction),
                related=pair,
                unrelated=unrelated,
                fully_covered=True,
            )
            for pair in sorted(pairs[: settings.combinations])
        ]
    return tuple(contrasts)


def _find_pairs(graph: MatGraph, target: Subset, direction: Element) -> list[tuple[str, str]]:
    first, second = (element for element in Element if element is not direction)
    related = graph.related(target)
    with_first = [subset.name for subset in related if graph.shared(target, subset) == frozenset({direction, first})]
    with_second = [subset.name for subset in related if graph.shared(target, subset) == frozenset({direction, second})]
    return [(min(pair), max(pair)) for pair in product(with_first, with_second)]
