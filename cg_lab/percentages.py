"""Shares in words."""

from __future__ import annotations


def percent(value: float, digits: int = 0) -> str:
    """Write a share.

    >>> percent(0.256), percent(-0.004), percent(0.0125, 1)
    ('26 %', '0 %', '1.2 %')
    """
    return f"{round(100 * value, digits) + 0.0:.{digits}f} %"
