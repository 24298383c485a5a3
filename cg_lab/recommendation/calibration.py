"""How far predictions of a transfer model are to be trusted: each target in turn is held out as the asked one is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from cg_lab.recommendation.subset_relations import FloatArray, SubsetRelations
from cg_lab.recommendation.transfer_model import Observations, TransferModel

FEWEST_MIXTURES = 4
"""That were asked about a target, for it to be held out."""
FEWEST_TARGETS = 4
"""That can be held out, for an interval to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """What was reached less what was predicted, over held-out targets, in skill."""

    num_targets: int
    mean: float
    deviation: float

    def bound(self, predicted: float, confidence: float) -> tuple[float, float]:
        """Give the ends of a prediction interval for one more target, by Student's t."""
        reach = float(student.ppf((1 + confidence) / 2, self.num_targets - 1))
        width = reach * self.deviation * math.sqrt(1 + 1 / self.num_targets)
        return predicted + self.mean - width, predicted + self.mean + width


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What recommendations for held-out targets would have been worth, in skill."""

    num_targets: int
    accuracy: Miss
    """Of the mixture that would have been recommended."""
    gain: Miss
    """Of its gain over the mixture of most subsets that was tried, which stands for all related ones."""
    regret: float
    """Mean of the best mixture's skill less the recommended one's."""
    nearest_regret: float
    """The same of the mixture that shares most elements with the target, in the mean over its samples."""
    random_regret: float
    """The same of a mixture that is drawn."""


def calibrate(relations: SubsetRelations, observed: Observations) -> Calibration | None:
    """Hold every target out, with all that was trained on it, and recommend among what was asked about it.

    Returns
    -------
    None where too few targets can be held out.

    """
    misses: list[tuple[float, float]] = []
    regrets: list[tuple[float, float, float]] = []
    for target in np.unique(observed.targets_N):
        asked = observed.keep(observed.targets_N == target)
        rest = observed.hide([int(target)])
        if len(asked.skills_N) < FEWEST_MIXTURES or len(np.unique(rest.targets_N)) < 2:
            continue
        predicted_N = TransferModel(relations, rest).predict(relations, asked.counts_NS, asked.targets_N)
        first = np.argmax(predicted_N)
        missed_N = asked.skills_N - predicted_N
        widest = np.argmax((asked.counts_NS > 0).sum(axis=1))
        misses.append((float(missed_N[first]), float(missed_N[first] - missed_N[widest])))
        best = asked.skills_N.max()
        nearest = _measure_nearness(relations, asked, int(target))
        regrets.append(
            (
                best - asked.skills_N[first],
                best - asked.skills_N[nearest == nearest.max()].mean(),
                best - asked.skills_N.mean(),
            )
        )
    if len(misses) < FEWEST_TARGETS:
        return None
    own, nearest_regret, random_regret = np.mean(regrets, axis=0)
    return Calibration(
        num_targets=len(misses),
        accuracy=_summarize([own for own, _ in misses]),
        gain=_summarize([over_widest for _, over_widest in misses]),
        regret=float(own),
        nearest_regret=float(nearest_regret),
        random_regret=float(random_regret),
    )


def _summarize(misses: list[float]) -> Miss:
    return Miss(num_targets=len(misses), mean=float(np.mean(misses)), deviation=float(np.std(misses, ddof=1)))


def _measure_nearness(relations: SubsetRelations, asked: Observations, target: int) -> FloatArray:
    """Give the mean number of elements that a mixture's samples share with a target."""
    shared_S = relations.shared_STF[:, target].sum(axis=1)
    return (asked.counts_NS @ shared_S / asked.counts_NS.sum(axis=1)).astype(float)
