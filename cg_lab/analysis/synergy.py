"""What a combination of sources does beyond its parts: over the better source, and on log-odds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cg_lab.analysis.arm_estimates import ArmEstimates, Key
from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.gain_estimates import GainEstimate, Part, estimate_gain
from cg_lab.arms import CONTROLS, Arm

ALONE = frozenset(arm for arm in Arm if arm.traits.shows == "source")
"""Arms that train on one source alone, which their variant names."""
MOST_SOURCES = 4
"""That can be taken alone; of more, a combination has no parts that a verdict could name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """What a combination of sources does beyond its parts."""

    over_alone: Mapping[str, Interval]
    """Gain of the main arm over each source alone."""
    synergy: Interval | None
    """Gain over the best of them."""
    sufficient: str
    """A source that alone beats untouched and unrelated training, and is not resolved from the main arm; or empty."""
    interaction: Interval | None
    """Of two sources, on log-odds: above 0 they do more together than they add up to."""


def find_alone(keys: Iterable[Key]) -> dict[str, Key]:
    """Find the arms that train on one source alone, by source."""
    return {key[1]: key for key in keys if key[0] in ALONE}


def combine_sources(arms: ArmEstimates, alone: Mapping[str, Key], confidence: float) -> Combination:
    """Compare the main arm with each of its sources alone.

    Parameters
    ----------
    arms
        Of one held-out question.
    alone
        The arm that trains on each source alone, by source.
    confidence
        Of the intervals.

    """
    over = {source: gain for source, key in alone.items() if (gain := arms.gains.get((arms.main, key)))}
    over_alone = {source: interval for source, (_, interval) in over.items()}
    whole = {key[0]: key for key in arms.stacks if key[1] == "" and arms.main and key[2] == arms.main[2]}
    unrelated = whole.get(Arm.UNRELATED)
    interaction = None
    if len(over) == 2 and arms.main and unrelated:
        first, second = (arms.parts[alone[source]] for source in over)
        interaction = measure_interaction(arms.parts[arms.main], first, second, arms.parts[unrelated], confidence)
    controls = [key for arm, key in whole.items() if arm in CONTROLS]
    enough = [
        source
        for source in over
        if over_alone[source].low <= 0 and controls
        and all(arms.gains[alone[source], key][1].low > 0 for key in controls)
    ]  # fmt: skip
    return Combination(
        over_alone=over_alone,
        synergy=find_synergy([gain for gain, _ in over.values()], confidence) if over else None,
        sufficient=min(enough, key=lambda source: over_alone[source].estimate, default=""),
        interaction=interaction,
    )


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
