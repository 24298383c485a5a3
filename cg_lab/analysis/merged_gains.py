"""What merging the adapters of single sources keeps of what joint training on all of them gains."""

from __future__ import annotations

from dataclasses import dataclass

from cg_lab.analysis.arm_estimates import ArmEstimates, Key, weigh
from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.gain_estimates import GainEstimate, estimate_gain
from cg_lab.analysis.recovering import share_recovered
from cg_lab.analysis.synergy import find_alone, find_synergy
from cg_lab.arms import Arm

MERGES = tuple(arm for arm in Arm if arm.traits.model == "merged" and arm.traits.shows == "combination")
"""Arms that merge what was trained on each of the sources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedGain:
    """What a merge of its sources' adapters reached in one held-out question."""

    arm: Arm
    accuracy: Interval
    over_main: Interval
    """Gain over joint training; below 0 it lost by merging."""
    over_unrelated: Interval | None
    """Gain over the merge of as many unrelated adapters."""
    over_alone: Interval | None
    """Gain over the best of the sources alone, which the data pick."""
    kept: Interval | None
    """Share of joint training's gain over unrelated training; None unless there is such a gain."""


def measure_merges(arms: ArmEstimates, target: str, confidence: float) -> tuple[MergedGain, ...]:
    """Compare what was merged with joint training, with the best source alone, and with a merge of unrelated ones.

    Fine-tunes of a merge that are arms of their own too are taken to be others, which makes the interval of the gain
    over these wider than it need be.

    Parameters
    ----------
    arms
        Of one held-out question.
    target
        Its target.
    confidence
        Of the intervals.

    """
    if arms.main is None or arms.main not in arms.parts:
        return ()
    main = arms.main

    def subtract(first: Key, second: Key) -> GainEstimate:
        return estimate_gain([arms.parts[first], weigh(arms.parts[second], -1.0)])

    found: list[MergedGain] = []
    null, unrelated = (Arm.COMPOSED_UNRELATED, "", target), (Arm.UNRELATED, "", target)
    alone = list(find_alone(arms.parts).values())
    for key in ((arm, "", target) for arm in MERGES if (arm, "", target) in arms.parts):
        kept = None
        if unrelated in arms.parts:
            kept = share_recovered(arms.parts[key], arms.parts[main], arms.parts[unrelated], confidence)
        found.append(
            MergedGain(
                arm=key[0],
                accuracy=arms.accuracies[key],
                over_main=subtract(key, main).to_interval(confidence),
                over_unrelated=subtract(key, null).to_interval(confidence) if null in arms.parts else None,
                over_alone=find_synergy([subtract(key, one) for one in alone], confidence) if alone else None,
                kept=kept,
            )
        )
    return tuple(found)
