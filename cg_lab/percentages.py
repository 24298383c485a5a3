"""Shares and probabilities in words."""

from __future__ import annotations

LEAST_P = 0.001
"""Smallest p-value that is told: what few seeds say of a distribution's tail carries no further."""


def percent(value: float, digits: int = 0) -> str:
    """Write a share.

    >>> percent(0.256), percent(-0.004), percent(0.0125, 1)
    ('26 %', '0 %', '1.2 %')
    """
    return f"{round(100 * value, digits) + 0.0:.{digits}f} %"


def tell_p(value: float) -> str:
    """Write a p-value no finer than tests over few seeds allow.

    >>> tell_p(0.0224), tell_p(4e-35)
    ('p = 0.022', 'p < 0.001')
    """
    return f"p < {LEAST_P}" if value < LEAST_P else f"p = {value:.2g}"
