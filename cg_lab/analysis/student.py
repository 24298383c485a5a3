# pyright: basic
# (scipy has no types)
"""Student's t distribution with any degrees of freedom."""

from __future__ import annotations

from scipy.special import stdtr, stdtrit  # scipy.stats takes five times as long to load


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
