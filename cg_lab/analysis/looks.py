"""Looks at a study's results while seeds are added, each with its part of the level, so that looking costs nothing.

Levels of all looks add up to that of the study (Bonferroni over looks), and later looks, which see more, have more.
The least p-value over looks, each divided by its look's share, is a p-value again, whichever looks are taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cg_lab.analysis.bootstrap import FloatArray


def combine_looks(p_values: Sequence[FloatArray], shares: Sequence[float]) -> FloatArray:
    """Give the p-value of all looks taken so far, of which there may be fewer than planned.

    >>> combine_looks([np.array(0.004), np.array(0.004)], [0.06, 0.16, 0.3, 0.48]).round(3).item()
    0.025
    """
    scaled = [p_value / share for p_value, share in zip(p_values, shares, strict=False)]
    return np.minimum(np.minimum.reduce(scaled), 1.0)
