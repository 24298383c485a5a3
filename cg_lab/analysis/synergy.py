"""What a combination of sources does beyond its parts: over the better source, and on log-odds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.gain_estimates import GainEstimate, Part, estimate_gain


def find_synergy(over_each: Sequence[GainEstimate], confidence: float) -> Interval:
    """Give the gain over the best of the sources alone, which the data pick.

    The combination beats the best source where it beats each: the lower end is the lowest of all gains' lower ends, the
    p-value the largest of theirs (intersection-union, Berger 1982). The upper end is the lowest of all upper ends, each
    at a confidence that makes up for picking the lowest (Bonferroni).
    """
    alone = [gain.to_interval(confidence) for gain in over_each]
    apart = 1 - (1 - confidence) / len(over_each)
    least = min(alone, key=lambda gain: gain.estimate)
    return Interval(
        estimate=least.estimate,
        low=min(gain.low for gain in alone),
        high=max(least.estimate, min(gain.to_interval(apart).high for gain in over_each)),
        p_value=max(gain.p_value for gain in alone) if least.estimate > 0 else 1.0,
    )


def measure_interaction(both: Part, first: Part, second: Part, neither: Part, confidence: float) -> Interval:
    """Give `logit(AB) - logit(A) - logit(B) + logit(0)`: 0 where two sources add up on log-odds.

    By the delta method, paired by question. Half a right and half a wrong answer are added to each arm, so that arms
    without any have log-odds (Haldane 1956, Anscombe 1956).
    """
    parts, estimate = list[Part](), 0.0
    for part, sign in ((both, 1.0), (first, -1.0), (second, -1.0), (neither, 1.0)):
        num_groups = part.scores.means_G.shape[-1]
        share = (float(part.scores.estimate) * num_groups + 0.5) / (num_groups + 1)
        estimate += sign * float(np.log(share / (1 - share)))
        parts.append(Part(scores=part.scores, seeds=part.seeds, weight=sign / (share * (1 - share))))
    found = estimate_gain(parts)
    shifted = GainEstimate(estimate=np.asarray(estimate), variance=found.variance, freedom=found.freedom)
    return shifted.to_interval(confidence, within=(-np.inf, np.inf))
