"""Numbers of bytes, in words."""

from __future__ import annotations


def tell_bytes(number: float) -> str:
    """Say a number of bytes.

    >>> tell_bytes(0), tell_bytes(4500), tell_bytes(6.4e6), tell_bytes(28.3e9), tell_bytes(1.13e12)
    ('0 MB', '4 kB', '6 MB', '28.3 GB', '1,130 GB')
    """
    if 0 < number < 1e6:
        return f"{number / 1e3:.0f} kB"
    if number < 1e9:
        return f"{number / 1e6:,.0f} MB"
    return f"{number / 1e9:,.1f} GB" if number < 1e11 else f"{number / 1e9:,.0f} GB"
