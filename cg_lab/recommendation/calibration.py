"""How far predictions of a transfer model are to be trusted: each target in turn is held out as the asked one is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from cg_lab.recommendation.mixture_scores import score_structure
from cg_lab.recommendation.subset_relations import FloatArray, SubsetRelations
from cg_lab.recommendation.transfer_model import Observations, TransferModel, describe_mixtures

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
    prefers_all_related: bool
    """Whether all related subsets together did better than any order, so that they come first."""
    prefers_structure: bool
    """Whether the order by elements, labels and what an untouched backbone sees did better than that of predictions,
    and comes first; never where no backbone was asked."""
    regret: float
    """Mean of the best mixture's skill less that of the one that was predicted to be best."""
    related_regret: float
    """The same of what was tried that is nearest to all related subsets together."""
    structure_regret: float
    """The same of what elements, labels and features of images put first, without any fine-tune."""
    nearest_regret: float
    """The same of the mixture that shares most elements with the target, in the mean over its samples."""
    random_regret: float
    """The same of a mixture that is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _HeldOut:
    """What came of recommending for one target that was held out, in skill."""

    miss: float
    gain_miss: float
    related_miss: float
    """Of what was tried that is nearest to all related subsets together."""
    structure_miss: float
    regret: float
    related_regret: float
    structure_regret: float
    nearest_regret: float
    random_regret: float


def calibrate(relations: SubsetRelations, observed: Observations) -> Calibration | None:
    """Hold every target out, with all that was trained on it, and recommend among what was asked about it.

    Returns
    -------
    None where too few targets can be held out.

    """
    held: list[_HeldOut] = []
    for target in np.unique(observed.targets_N):
        asked = observed.keep(observed.targets_N == target)
        rest = observed.hide([int(target)])
        if len(asked.skills_N) >= FEWEST_MIXTURES and len(np.unique(rest.targets_N)) >= 2:
            held.append(_hold_out(relations, int(target), asked, rest))
    if len(held) < FEWEST_TARGETS:
        return None
    regret = float(np.mean([part.regret for part in held]))
    related_regret = float(np.mean([part.related_regret for part in held]))
    structure_regret = float(np.mean([part.structure_regret for part in held]))
    sees = relations.extra_STK.size > 0
    prefers_all_related = related_regret < (min(regret, structure_regret) if sees else regret)
    prefers_structure = not prefers_all_related and sees and structure_regret < regret
    return Calibration(
        num_targets=len(held),
        accuracy=_summarize(
            [
                part.related_miss if prefers_all_related else part.structure_miss if prefers_structure else part.miss
                for part in held
            ]
        ),
        gain=_summarize([part.gain_miss for part in held]),
        prefers_all_related=prefers_all_related,
        prefers_structure=prefers_structure,
        regret=regret,
        related_regret=related_regret,
        structure_regret=structure_regret,
        nearest_regret=float(np.mean([part.nearest_regret for part in held])),
        random_regret=float(np.mean([part.random_regret for part in held])),
    )


def _hold_out(relations: SubsetRelations, target: int, asked: Observations, rest: Observations) -> _HeldOut:
    """Recommend for a target by the rest, and see what was reached."""
    predicted_N = TransferModel(relations, rest).predict(relations, asked.counts_NS, asked.targets_N)
    missed_N, best = asked.skills_N - predicted_N, asked.skills_N.max()
    first, widest = np.argmax(predicted_N), np.argmax((asked.counts_NS > 0).sum(axis=1))
    nearest = _measure_nearness(relations, asked, target)
    away_N = ((asked.counts_NS > 0) ^ relations.find_related(target)).sum(axis=1)
    whole = np.argmin(away_N)
    order_N = score_structure(describe_mixtures(relations, asked.counts_NS, asked.targets_N))
    plain = np.argmax(order_N)
    return _HeldOut(
        miss=float(missed_N[first]),
        gain_miss=float(missed_N[first] - missed_N[widest]),
        related_miss=float(missed_N[whole]),
        structure_miss=float(missed_N[plain]),
        regret=float(best - asked.skills_N[first]),
        related_regret=float(best - asked.skills_N[whole]),
        structure_regret=float(best - asked.skills_N[order_N == order_N.max()].mean()),
        nearest_regret=float(best - asked.skills_N[nearest == nearest.max()].mean()),
        random_regret=float(best - asked.skills_N.mean()),
    )


def _summarize(misses: list[float]) -> Miss:
    return Miss(num_targets=len(misses), mean=float(np.mean(misses)), deviation=float(np.std(misses, ddof=1)))


def _measure_nearness(relations: SubsetRelations, asked: Observations, target: int) -> FloatArray:
    """Give the mean number of elements that a mixture's samples share with a target."""
    shared_S = relations.shared_STF[:, target].sum(axis=1)
    return (asked.counts_NS @ shared_S / asked.counts_NS.sum(axis=1)).astype(float)
