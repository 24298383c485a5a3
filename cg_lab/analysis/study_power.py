"""The gain that a study would have shown."""

from __future__ import annotations

from cg_lab.analysis.student import find_quantile


def find_detectable(error: float, freedom: float, level: float, num_targets: int, power: float = 0.8) -> float:
    """Give the smallest true gain that is shown with some power, among so many questions.

    `(t(1 - level / (2 T)) + t(power)) * standard error`: for the first claim of a study; once others are made, less is
    enough.

    >>> round(find_detectable(0.05, 8.0, 0.05, 4), 3)
    0.205
    """
    return (find_quantile(1 - level / (2 * num_targets), freedom) + find_quantile(power, freedom)) * error
