# pyright: basic
# (scipy has no types)
"""Student's t distribution with any degrees of freedom, of numbers and of arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import polygamma, stdtr, stdtrit  # scipy.stats takes five times as long to load


def find_tail(t: float, freedom: float) -> float:
    """Give the chance of a value above `t`.

    >>> round(find_tail(2.0, 10), 6), find_tail(0.0, 3)
    (0.036694, 0.5)
    """
    return float(stdtr(freedom, -t))


def find_quantile(share: float, freedom: float) -> float:
    """Give the value that is exceeded with a chance of `1 - share`.

    >>> round(find_quantile(0.975, 2), 4), round(find_quantile(0.975, 239), 4)
    (4.3027, 1.9699)
    """
    return float(stdtrit(freedom, share))


def find_tails(t: ArrayLike, freedom: ArrayLike) -> NDArray[np.float64]:
    """Give `find_tail` of arrays, broadcast against each other."""
    return np.asarray(stdtr(freedom, -np.asarray(t)), dtype=np.float64)


def find_quantiles(share: ArrayLike, freedom: ArrayLike) -> NDArray[np.float64]:
    """Give `find_quantile` of arrays, broadcast against each other."""
    return np.asarray(stdtrit(freedom, share), dtype=np.float64)


def find_trigamma(value: ArrayLike) -> NDArray[np.float64]:
    """Give the trigamma function: of half its degrees of freedom, it is the variance of a sample variance's logarithm.

    >>> find_trigamma(1.0).round(4).item()
    1.6449
    """
    return np.asarray(polygamma(1, value), dtype=np.float64)


def invert_trigamma(value: ArrayLike) -> NDArray[np.float64]:
    """Give what has a trigamma function of this value, by Newton's method (Smyth 2004, appendix).

    >>> invert_trigamma(find_trigamma([0.2, 1.0, 30.0])).round(6).tolist()
    [0.2, 1.0, 30.0]
    """
    wanted = np.asarray(value, dtype=np.float64)
    found = 0.5 + 1 / wanted
    for _ in range(12):
        here = find_trigamma(found)
        found = found + here * (1 - here / wanted) / np.asarray(polygamma(2, found), dtype=np.float64)
    return found
