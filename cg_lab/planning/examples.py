"""Small graphs for the examples in docstrings and docs."""

from __future__ import annotations

from itertools import product

from cg_lab.mat import DEFAULT_FACTORS, Kind, Subset
from cg_lab.planning.graph import MatGraph


def make_graph(*cells: str, factors: tuple[str, ...] = DEFAULT_FACTORS) -> MatGraph:
    """Make a graph of subsets with nine samples to train and test on each; a trailing `!` makes it one of boxes.

    >>> make_graph("CT Lung Mass", "CT Brain Find!").subsets[1].kind
    <Kind.CLASSIFICATION: 'classification'>
    """
    subsets = [
        Subset(
            name="-".join(cell.rstrip("!").split()).lower(),
            elements=tuple((value,) for value in cell.rstrip("!").split()),
            num_options=0 if cell.endswith("!") else 2,
            num_train=9,
            num_test=9,
            kind=Kind.DETECTION if cell.endswith("!") else Kind.CLASSIFICATION,
        )
        for cell in cells
    ]
    return MatGraph(tuple(sorted(subsets, key=lambda subset: subset.name)), factors)


def make_cube(*values: str, factors: tuple[str, ...] = DEFAULT_FACTORS) -> MatGraph:
    """Make a graph of every combination of some values, one text of values a factor.

    >>> len(make_cube("CT MRI", "Brain Lung", "Mass Side").subsets)
    8
    """
    return make_graph(*(" ".join(cell) for cell in product(*(part.split() for part in values))), factors=factors)
