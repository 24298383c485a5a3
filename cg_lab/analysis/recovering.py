"""Which share of the ceiling's gain related training has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.components import centre, find_error, find_half_width, sum_products, take_groups
from cg_lab.analysis.stacking import Stack, pair_stacks, take_seeds

FARTHEST = 10.0
"""Shares are looked for within this distance of the estimate."""
STEPS = 30
"""Halvings, to a billionth of that distance."""


def share_recovered(related: Stack, ceiling: Stack, confidence: float) -> Interval | None:
    """Give the part of what training on the target itself gains that related training gains too.

    The interval holds every share for which `related - share * ceiling` is not resolved from zero by `estimate_mean`
    (Fieller 1954), so that it agrees with the intervals of the gains themselves.

    Parameters
    ----------
    related, ceiling
        Gains over the untouched backbone; the ceiling's is above zero with the same confidence.
    confidence
        Of the interval.

    Returns
    -------
    The share; None if the arms have no seed in common.

    """
    pair = pair_stacks(related, ceiling)
    if pair is None:
        return None
    values = [take_groups(take_seeds(stack, pair.seeds)) for stack in (related, ceiling)]
    shape, means = values[0].shape, [float(values_SG.mean()) for values_SG in values]
    one_SG, other_SG = map(centre, values)
    first, both, second = (
        sum_products(*parts) for parts in ((one_SG, one_SG), (one_SG, other_SG), (other_SG, other_SG))
    )

    def is_open(share: float) -> bool:
        squares = np.maximum(first - 2 * share * both + share**2 * second, 0.0)
        half = find_half_width(*find_error(squares, *shape), shape[1], confidence)
        return abs(means[0] - share * means[1]) <= half

    share = related.mean / ceiling.mean
    low, high = (_find_edge(is_open, share, direction) for direction in (-1, 1))
    return Interval(estimate=share, low=low, high=high, p_value=1.0)


def _find_edge(is_open: Callable[[float], bool], start: float, direction: int) -> float:
    """Find by halving where the open shares end."""
    inside, outside = 0.0, FARTHEST
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_open(start + direction * middle) else (inside, middle)
    return start + direction * inside
