"""In how many of several questions there must be something, without saying in which."""

from __future__ import annotations

import numpy as np

from cg_lab.analysis.bootstrap import FloatArray


def test_at_least(p_T: FloatArray) -> FloatArray:
    """Test for each k whether at least k of the questions hold, whatever the dependence between them.

    `(T - k + 1) * p(k)`, the k-th smallest of T p-values (Benjamini and Heller 2008, Biometrics 64(4), section 3), and
    never less than for fewer.

    >>> test_at_least(np.array([0.001, 0.3, 0.004])).round(3).tolist()
    [0.003, 0.008, 0.3]
    """
    ordered = np.sort(p_T)
    factors = np.arange(len(p_T), 0, -1, dtype=np.float64)
    return np.minimum(1.0, np.asarray(np.maximum.accumulate(ordered * factors), dtype=np.float64))


def count_at_least(p_T: FloatArray, level: float) -> int:
    """Give the largest number of questions that hold at a level; any lower number does too.

    >>> count_at_least(np.array([0.001, 0.3, 0.004]), 0.05)
    2
    """
    return int((test_at_least(p_T) <= level).sum()) if len(p_T) else 0
