"""Looks at a study's results while seeds are added, each with its part of the level, so that looking costs nothing.

Levels of all looks add up to that of the study (Bonferroni over looks), and later looks, which see more, have more.
The least p-value over looks, each divided by its look's share, is a p-value again, whichever looks are taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cg_lab.analysis.bootstrap import FloatArray


def share_level(num_looks: int) -> tuple[float, ...]:
    """Give the share of the level that each look has: look k of K in proportion to `k * (k + 2)`.

    >>> [round(0.05 * share, 3) for share in share_level(4)]
    [0.003, 0.008, 0.015, 0.024]
    """
    parts = [look * (look + 2) for look in range(1, num_looks + 1)]
    return tuple(part / sum(parts) for part in parts)


def combine_looks(p_values: Sequence[FloatArray], shares: Sequence[float]) -> FloatArray:
    """Give the p-value of all looks taken so far, of which there may be fewer than planned.

    >>> combine_looks([np.array(0.004), np.array(0.004)], share_level(4)).round(3).item()
    0.025
    """
    scaled = [p_value / share for p_value, share in zip(p_values, shares, strict=False)]
    return np.minimum(np.minimum.reduce(scaled), 1.0)
