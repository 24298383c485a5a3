"""Which share of the ceiling's gain related training has."""

from __future__ import annotations

from collections.abc import Callable

from cg_lab.analysis.bootstrap import Interval, Scores
from cg_lab.analysis.components import estimate_mean
from cg_lab.analysis.stacking import Stack, pair_stacks

FARTHEST = 10.0
"""Shares are looked for within this distance of the estimate."""
STEPS = 30
"""Halvings, to a billionth of that distance."""


def share_recovered(related: Stack, ceiling: Stack, confidence: float) -> Interval | None:
    """Give the part of what training on the target itself gains that related training gains too.

    The interval holds every share for which `related - share * ceiling` is not resolved from zero by `estimate_mean`
    (Fieller 1954), so that it agrees with the intervals of the gains themselves.

    Parameters
    ----------
    related, ceiling
        Gains over the untouched backbone; the ceiling's is above zero with the same confidence.
    confidence
        Of the interval.

    Returns
    -------
    The share; None if the arms have no seed in common.

    """

    def is_open(share: float) -> bool:
        rest = pair_stacks(related, _scale(ceiling, share))
        assert rest is not None
        found = estimate_mean(rest.scores, confidence)
        return found.low <= 0 <= found.high

    if pair_stacks(related, ceiling) is None:
        return None
    share = related.mean / ceiling.mean
    low, high = (_find_edge(is_open, share, direction) for direction in (-1, 1))
    return Interval(estimate=share, low=low, high=high, p_value=1.0)


def _find_edge(is_open: Callable[[float], bool], start: float, direction: int) -> float:
    """Find by halving where the open shares end."""
    inside, outside = 0.0, FARTHEST
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_open(start + direction * middle) else (inside, middle)
    return start + direction * inside


def _scale(stack: Stack, factor: float) -> Stack:
    scores = stack.scores
    scaled = Scores(questions=scores.questions, groups=scores.groups, correct_SQ=factor * scores.correct_SQ)
    return Stack(seeds=stack.seeds, scores=scaled)
