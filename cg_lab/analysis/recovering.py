"""Shares of gains: of the ceiling's that related training has, of related training's that goes with an element."""

from __future__ import annotations

import math
from dataclasses import replace

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.gain_estimates import GainEstimate, Part, estimate_gain
from cg_lab.student import find_quantile


def share_recovered(related: Part, ceiling: Part, untouched: Part, confidence: float) -> Interval | None:
    """Give the part of what training on the target itself gains that related training gains too.

    The interval holds every share for which `related - share * ceiling`, both over the untouched backbone, is not
    resolved from zero (Fieller 1954).

    Parameters
    ----------
    related, ceiling, untouched
        The three arms.
    confidence
        Of the interval.

    Returns
    -------
    The share; None unless the ceiling's gain is above zero with confidence.

    """
    own = _subtract(related, untouched, 1.0)
    most = _subtract(ceiling, untouched, 1.0)
    if most.to_interval(confidence).low <= 0:
        return None
    share = float(own.estimate) / float(most.estimate)
    whole = _subtract(related, ceiling, share, untouched)
    factor = find_quantile((1 + confidence) / 2, float(whole.freedom)) ** 2
    both = (float(own.variance) + float(most.variance) - float(_subtract(related, ceiling, 1.0).variance)) / 2
    # (own - share * most)^2 <= t^2 * variance, a quadratic in the share
    a = float(most.estimate) ** 2 - factor * float(most.variance)
    b = float(own.estimate) * float(most.estimate) - factor * both
    c = float(own.estimate) ** 2 - factor * float(own.variance)
    if a <= 0:
        return None
    half = math.sqrt(max(0.0, b * b - a * c)) / a
    return Interval(estimate=share, low=min(share, b / a - half), high=max(share, b / a + half), p_value=1.0)


def share_lost(without: Part, related: Part, unrelated: Part, confidence: float) -> Interval | None:
    """Give the part of the related gain over unrelated training that is lost without the subsets that show an element.

    The part that goes with the combination, if every element is needed for it, is no more than the least of these.

    Parameters
    ----------
    without, related, unrelated
        The three arms.
    confidence
        Of the interval.

    Returns
    -------
    The share; None unless related training gains over unrelated with confidence.

    """
    kept = share_recovered(without, related, unrelated, confidence)
    if kept is None:
        return None
    return Interval(estimate=1 - kept.estimate, low=1 - kept.high, high=1 - kept.low, p_value=1.0)


def _subtract(first: Part, second: Part, share: float, rest: Part | None = None) -> GainEstimate:
    """Give `first - share * second`, less what is left of the rest."""
    parts = [first, replace(second, weight=-share)]
    if rest is not None:
        parts.append(replace(rest, weight=share - 1))
    return estimate_gain(parts)
