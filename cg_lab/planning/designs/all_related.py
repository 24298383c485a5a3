"""All Related against All Unrelated against All Data (Med-MAT, arXiv 2412.20070, section 4.3 and Figure 4)."""

from __future__ import annotations

from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast
from cg_lab.planning.validity import cover


def find_all_related(graph: MatGraph, target: Subset) -> tuple[Contrast, ...]:
    """Take every subset that shares an element with the target as its related set.

    Examples
    --------
    >>> from cg_lab.mat import Triplet
    >>> from cg_lab.planning.graph import build_graph
    >>> def subset(*values):
    ...     name = "-".join(values).lower()
    ...     return Subset(name=name, triplet=Triplet(*values), labels=("no", "yes"), num_train=9, num_test=9)
    >>> target = subset("CT", "Brain", "Mass")
    >>> others = (subset("CT", "Lung", "Side"), subset("US", "Breast", "Side"))
    >>> (contrast,) = find_all_related(build_graph((target, *others)), target)
    >>> contrast.related, contrast.unrelated, contrast.fully_covered
    (('ct-lung-side',), ('us-breast-side',), False)

    """
    related, unrelated = graph.related(target), graph.unrelated(target)
    if not related or not unrelated:
        return ()
    return (
        Contrast(
            id=f"{target.name}/all_related",
            design="all_related",
            target=target.name,
            direction=None,
            related=tuple(subset.name for subset in related),
            unrelated=tuple(subset.name for subset in unrelated),
            fully_covered=all(part.subsets for part in cover(target, related)),
        ),
    )
