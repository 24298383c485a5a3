"""Whether models are right as often as they are sure: reliability of answers by arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cg_lab.analysis.bootstrap import FloatArray
from cg_lab.arms import Arm
from cg_lab.planning.plan import Plan
from cg_lab.wilson import wilson_interval

NUM_BINS = 10
"""Of equal width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Answers of about one confidence."""

    num_answers: int
    confidence: float
    """Mean probability of the option that was chosen, among the options."""
    accuracy: float
    low: float
    """Wilson's interval; it takes answers for independent."""
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How sure one arm was over all held-out questions and seeds, and how often it was right."""

    arm: Arm
    num_answers: int
    confidence: float
    accuracy: float
    error: float
    """Expected calibration error: the mean distance of accuracy from confidence, bins weighted by their answers
    (Guo et al. 2017, arXiv 1706.04599, section 2)."""
    bins: tuple[Bin, ...]
    """Ascending; empty ones are left out."""


def measure_reliability(
    plan: Plan, confidences: Mapping[str, FloatArray], right: Mapping[str, FloatArray]
) -> tuple[Reliability, ...]:
    """Measure the reliability of each arm on the targets' own questions.

    Parameters
    ----------
    plan
        Its rule's confidence is that of the intervals.
    confidences
        For each evaluation's id, the probability of the option that was chosen; evaluations that were read another way
        are left out.
    right
        For each evaluation's id, 1 for a right answer and 0 for a wrong one, in the same order.

    """
    by_arm: dict[Arm, dict[str, None]] = {}
    for cell in plan.cells:
        if cell.arm.traits.asks_target and cell.eval_job in confidences:
            by_arm.setdefault(cell.arm, {})[cell.eval_job] = None
    return tuple(
        _measure(
            arm,
            np.concatenate([confidences[job] for job in by_arm[arm]]),
            np.concatenate([right[job] for job in by_arm[arm]]),
            plan.rule.confidence,
        )
        for arm in Arm
        if arm in by_arm
    )


def _measure(arm: Arm, sure_A: FloatArray, right_A: FloatArray, confidence: float) -> Reliability:
    numbers = np.ceil(sure_A * NUM_BINS).astype(int) - 1
    bins: list[Bin] = []
    for number in np.unique(numbers):
        inside = numbers == number
        count, hits = int(inside.sum()), int(right_A[inside].sum())
        low, high = wilson_interval(hits, count, confidence)
        bins.append(
            Bin(
                num_answers=count, confidence=float(sure_A[inside].mean()), accuracy=hits / count, low=low, high=high
            )
        )  # fmt: skip
    return Reliability(
        arm=arm,
        num_answers=len(sure_A),
        confidence=float(sure_A.mean()),
        accuracy=float(right_A.mean()),
        error=find_error(bins),
        bins=tuple(bins),
    )


def find_error(bins: Sequence[Bin]) -> float:
    """Give the expected calibration error of binned answers."""
    total = sum(part.num_answers for part in bins)
    return sum(part.num_answers * abs(part.accuracy - part.confidence) for part in bins) / total
