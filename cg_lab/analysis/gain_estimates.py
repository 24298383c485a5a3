"""The gain of one arm over another on the same questions, from seeds that are not paired.

The variance of a gain has a part for each arm's seeds and one for the questions. Seeds that share no more than their
number are independent; questions are the same for both arms, so that only how differently they are answered counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from cg_lab.analysis.bootstrap import FLOATS_AT_ONCE, FloatArray, Interval
from cg_lab.analysis.seed_variance import ModeratedVariance, SeedScores
from cg_lab.student import find_quantiles, find_tails

Side = Literal["both", "above", "below"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One arm in a gain."""

    scores: SeedScores
    seeds: ModeratedVariance | None
    """None leaves seeds out: the untouched backbone, or numbers about these very models."""
    weight: float = 1.0
    """-1 for the arm that is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GainEstimate:
    """One gain, or an array of them."""

    estimate: FloatArray
    variance: FloatArray
    """Of the estimate; infinite of a single patient."""
    freedom: FloatArray
    seed_variances: tuple[FloatArray, ...] = ()
    """What the seeds of each part add to the variance."""

    @property
    def error(self) -> FloatArray:
        """Standard error."""
        return np.sqrt(self.variance)

    def test(self, side: Side = "both") -> FloatArray:
        """Give p-values of t tests of no gain."""
        t = self.estimate / self.error
        match side:
            case "both":
                return np.minimum(1.0, 2 * find_tails(np.abs(t), self.freedom))
            case "above":
                return find_tails(t, self.freedom)
            case "below":
                return find_tails(-t, self.freedom)

    def find_limits(self, confidence: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Give both ends of the two-sided intervals."""
        half = find_quantiles((1 + np.asarray(confidence)) / 2, self.freedom) * self.error
        return self.estimate - half, self.estimate + half

    def to_interval(self, confidence: float, within: tuple[float, float] = (-1.0, 1.0)) -> Interval:
        """Give a single gain with its interval, cut off at what it can be, and its two-sided p-value."""
        (found,) = self.to_intervals(confidence, within)
        return found

    def to_intervals(self, confidence: float, within: tuple[float, float] = (-1.0, 1.0)) -> list[Interval]:
        """Give each gain of an array so."""
        columns = (self.estimate, *self.find_limits(confidence), self.test())
        return [
            Interval(estimate=estimate, low=max(within[0], low), high=min(within[1], high), p_value=p_value)
            for estimate, low, high, p_value in zip(*(np.atleast_1d(part).tolist() for part in columns), strict=True)
        ]

    def split(self) -> list[GainEstimate]:
        """Give each gain of an array by itself."""
        return [
            GainEstimate(
                estimate=self.estimate[place],
                variance=self.variance[place],
                freedom=self.freedom[place],
                seed_variances=tuple(part[place] for part in self.seed_variances),
            )
            for place in range(len(self.estimate))
        ]


def estimate_gain(parts: Sequence[Part]) -> GainEstimate:
    """Estimate a weighted sum of arms, paired by question.

    The variance is that of each arm's seeds, over their number, plus that of the questions: of the summed means of
    groups, over the number of groups, less what the seeds' own noise adds to it. Degrees of freedom are Satterthwaite's
    (1946); since those of seeds are bounded, seeds that happen to agree don't raise them.

    Parameters
    ----------
    parts
        One part for an arm's own mean, two for a gain. A model that is asked twice (with and without the image) is one
        part, of differences.

    """
    means_G = parts[0].weight * parts[0].scores.means_G
    for part in parts[1:]:
        means_G = means_G + part.weight * part.scores.means_G
    num_groups, estimate = means_G.shape[-1], means_G.mean(axis=-1)
    if num_groups < 2:
        return GainEstimate(estimate=estimate, variance=np.full_like(estimate, np.inf), freedom=np.ones_like(estimate))
    spread = means_G.var(axis=-1, ddof=1) / num_groups
    questions, floor = spread, np.zeros_like(estimate)
    squares, own = spread**2 / (num_groups - 1), list[FloatArray]()
    for part in parts:
        share = part.weight**2 / max(1, part.scores.num_seeds)
        questions = questions - share * part.scores.noise
        floor = np.maximum(floor, share * part.scores.floor)
        if part.seeds is not None:
            own.append(share * part.seeds.variance)
            squares = squares + own[-1] ** 2 / np.maximum(part.seeds.freedom, TINY)
    whole = np.maximum(np.maximum(questions, 0.0) + sum(own), floor)
    freedom = np.maximum(whole**2 / np.maximum(squares, TINY), 1.0)
    return GainEstimate(estimate=estimate, variance=whole, freedom=freedom, seed_variances=tuple(own))


def estimate_gains(
    sums: Sequence[Sequence[Part]], confidence: float, within: tuple[float, float] = (-1.0, 1.0)
) -> list[tuple[GainEstimate, Interval]]:
    """Estimate many weighted sums of arms, those of one kind at once: one by one that takes some twenty times as long.

    Parameters
    ----------
    sums
        Each as of `estimate_gain`.
    confidence, within
        Of the intervals.

    """
    alike: dict[tuple[object, ...], list[int]] = {}
    for place, parts in enumerate(sums):
        kind = tuple(
            (part.weight, part.scores.num_seeds, part.scores.means_G.shape, part.seeds is None) for part in parts
        )
        alike.setdefault(kind, []).append(place)
    found: dict[int, tuple[GainEstimate, Interval]] = {}
    for same in alike.values():
        at_once = max(1, FLOATS_AT_ONCE // sums[same[0]][0].scores.means_G.size)
        for places in (same[start : start + at_once] for start in range(0, len(same), at_once)):
            gains = estimate_gain([_stack(column) for column in zip(*(sums[place] for place in places), strict=True)])
            found |= zip(places, zip(gains.split(), gains.to_intervals(confidence, within), strict=True), strict=True)
    return [found[place] for place in range(len(sums))]


def _stack(parts: Sequence[Part]) -> Part:
    """Put arms with as many seeds and groups on top of each other."""
    scores, seeds = [part.scores for part in parts], [part.seeds for part in parts if part.seeds is not None]
    means_G, num_seeds = np.array([part.means_G for part in scores]), scores[0].num_seeds
    variance, noise, floor = np.array([(part.variance, part.noise, part.floor) for part in scores]).T
    stacked = SeedScores(means_G=means_G, num_seeds=num_seeds, variance=variance, noise=noise, floor=floor)
    if not seeds:
        return Part(scores=stacked, seeds=None, weight=parts[0].weight)
    variance, freedom = np.array([(part.variance, part.freedom) for part in seeds]).T
    return Part(scores=stacked, seeds=ModeratedVariance(variance=variance, freedom=freedom), weight=parts[0].weight)


TINY = 1e-300
"""In the place of zero below a fraction whose numerator is zero too."""
