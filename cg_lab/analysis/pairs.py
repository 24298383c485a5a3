"""Seen against unseen pairs under a calibration bias: the generalized evaluation of compositional zero-shot learning.

A bias is added to the scores of unseen pairs; each bias gives an accuracy on seen and one on unseen pairs. Their curve,
its area, its best harmonic mean and its ends are what that field reports (Chao et al. 2016, arXiv 1605.04253, section
4.3; Purushwalkam et al. 2019, arXiv 1905.05908, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cg_lab.analysis.bootstrap import FloatArray, Interval, Resampling, summarize

BoolArray = NDArray[np.bool_]
MEASURES = ("seen", "unseen", "harmonic_mean", "auc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One model's answers to questions about seen and unseen pairs."""

    is_unseen_Q: BoolArray
    """Whether the true pair is unseen."""
    margin_Q: FloatArray
    """Score of the best seen pair less that of the best unseen pair: the bias from which an unseen pair is chosen."""
    is_right_Q: BoolArray
    """Whether the best pair of the true pair's own side is the true one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitEffect:
    """Seen and unseen accuracy of the models of one world and side."""

    setting: str
    world: str
    side: str
    """Which unseen pairs: `validation` or `test`."""
    num_models: int
    num_seen: int
    """Questions about seen pairs."""
    num_unseen: int
    seen: Interval
    """Best accuracy on seen pairs over all biases, in [0, 1]."""
    unseen: Interval
    harmonic_mean: Interval
    """The best over all biases."""
    auc: Interval
    """Area under the curve of seen over unseen accuracy."""
    curve: tuple[tuple[float, float], ...]
    """Unseen and seen accuracy along the bias, models taken together."""

    def get(self, measure: str) -> Interval:
        """Give one of `MEASURES`."""
        return {
            "seen": self.seen,
            "unseen": self.unseen,
            "harmonic_mean": self.harmonic_mean,
            "auc": self.auc,
        }[measure]


def read_answer(scores: Sequence[float], unseen: Sequence[bool], right: int) -> tuple[bool, float, bool]:
    """Give what a question with its pairs' scores says: is the true pair unseen, the margin, right on its own side.

    >>> read_answer([0.1, 0.7, 0.2], [False, False, True], 2)
    (True, 0.49999999999999994, True)
    """
    seen_best = max((score, -place) for place, score in enumerate(scores) if not unseen[place])
    unseen_best = max((score, -place) for place, score in enumerate(scores) if unseen[place])
    own = unseen_best if unseen[right] else seen_best
    return unseen[right], seen_best[0] - unseen_best[0], -own[1] == right


def trace_bias(answers: Answers, weights_Q: FloatArray | None = None) -> FloatArray:
    """Trace accuracy on unseen and on seen pairs while the bias grows.

    Parameters
    ----------
    answers
        With at least one question of each side.
    weights_Q
        How often each question counts; once by default.

    Returns
    -------
    Array of shape (biases, 2): unseen accuracy, which never falls, and seen accuracy, which never rises.

    """
    weights = np.ones(len(answers.margin_Q)) if weights_Q is None else weights_Q
    order = np.argsort(answers.margin_Q, kind="stable")
    margins, unseen = answers.margin_Q[order], answers.is_unseen_Q[order]
    hits = (answers.is_right_Q * weights)[order]
    num_unseen, num_seen = float((weights[order] * unseen).sum()), float((weights[order] * ~unseen).sum())
    if not num_unseen or not num_seen:
        return np.array([[0.0, 0.0]])
    gained = np.concatenate([[0.0], np.cumsum(hits * unseen)]) / num_unseen
    kept = (hits * ~unseen).sum() / num_seen - np.concatenate([[0.0], np.cumsum(hits * ~unseen)]) / num_seen
    ends = np.concatenate([[0], np.flatnonzero(np.diff(margins, append=np.inf)) + 1])
    return np.stack([gained[ends], kept[ends]], axis=1)


def measure_curve(curve_B2: FloatArray) -> dict[str, float]:
    """Sum up a curve of unseen and seen accuracy: both ends, the best harmonic mean, the area below (trapezoids)."""
    unseen, seen = curve_B2[:, 0], curve_B2[:, 1]
    both = unseen + seen
    harmonic = np.where(both > 0, 2 * unseen * seen / np.where(both > 0, both, 1), 0)
    return {
        "seen": float(seen.max()),
        "unseen": float(unseen.max()),
        "harmonic_mean": float(harmonic.max()),
        "auc": float(np.trapezoid(seen, unseen)),
    }


def measure_split(
    setting: str, world: str, side: str, models: Sequence[Answers], resampling: Resampling
) -> SplitEffect:  # fmt: skip
    """Measure one world and side over all models, with percentile intervals from drawing models and questions."""
    first = models[0]
    found = [measure_curve(trace_bias(model)) for model in models]
    generator = np.random.default_rng(resampling.seed + 3)
    count = min(resampling.num_resamples, 1000)
    num_questions = len(first.margin_Q)
    draws = {name: np.empty(count) for name in MEASURES}
    for number in range(count):
        weights_Q = generator.multinomial(num_questions, np.full(num_questions, 1 / num_questions)).astype(float)
        chosen = generator.integers(0, len(models), len(models))
        curves = [measure_curve(trace_bias(models[int(model)], weights_Q)) for model in chosen]
        for name in MEASURES:
            draws[name][number] = np.mean([curve[name] for curve in curves])
    intervals = {
        name: summarize(float(np.mean([part[name] for part in found])), draws[name], resampling.confidence)
        for name in MEASURES
    }
    whole = Answers(
        is_unseen_Q=np.concatenate([model.is_unseen_Q for model in models]),
        margin_Q=np.concatenate([model.margin_Q for model in models]),
        is_right_Q=np.concatenate([model.is_right_Q for model in models]),
    )
    curve = trace_bias(whole)
    return SplitEffect(
        setting=setting, world=world, side=side, num_models=len(models),
        num_seen=int((~first.is_unseen_Q).sum()), num_unseen=int(first.is_unseen_Q.sum()),
        seen=intervals["seen"], unseen=intervals["unseen"], harmonic_mean=intervals["harmonic_mean"],
        auc=intervals["auc"], curve=tuple((float(u), float(s)) for u, s in curve),
    )  # fmt: skip
