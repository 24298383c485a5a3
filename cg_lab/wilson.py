"""Wilson's interval of a share; pure."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(num_right: int, num_asked: int, confidence: float) -> tuple[float, float]:
    """Give Wilson's score interval of a proportion (Wilson 1927); it takes questions for independent.

    >>> low, high = wilson_interval(8, 10, 0.95)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = num_right / num_asked, z * z / num_asked
    middle = (share + weight / 2) / (1 + weight)
    half = math.sqrt(weight * share * (1 - share) + weight * weight / 4) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)
