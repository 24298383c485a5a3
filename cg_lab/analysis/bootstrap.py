"""Crossed bootstrap over questions and seeds (Owen 2007, Pigeonhole bootstrap, Ann. Appl. Stat. 1(2))."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
FLOATS_AT_ONCE = 4_000_000
"""Held at one time, so that a test set of ten thousand questions fits in memory; few and large steps are fastest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its two-sided interval."""

    estimate: float
    low: float
    high: float
    p_value: float
    """Two-sided, of the estimate being zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What the answers of one arm on one test set are worth."""

    questions: tuple[str, ...]
    """Ids, the same and in the same order for every seed."""
    groups: tuple[str, ...]
    """Patient, slide or look-alike cluster of each question; the question's own id where it has none."""
    correct_SQ: FloatArray  # seed, question; 0 or 1, of boxes the intersection over union

    def __post_init__(self) -> None:
        assert self.correct_SQ.ndim == 2
        assert self.correct_SQ.shape[1] == len(self.questions) == len(self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """Bootstrap settings; the same ones give the same draws, so that intervals are reproducible byte for byte."""

    num_resamples: int
    seed: int
    confidence: float


def subtract(first: Scores, second: Scores) -> Scores:
    """Pair two arms question by question, and seed by seed where both have seeds.

    An arm with one row (the untouched backbone) is paired with every seed of the other.
    """
    assert first.questions == second.questions
    num_first, num_second = first.correct_SQ.shape[0], second.correct_SQ.shape[0]
    assert num_first == num_second or 1 in {num_first, num_second}
    return Scores(questions=first.questions, groups=first.groups, correct_SQ=first.correct_SQ - second.correct_SQ)


def resample_means(
    scores: Sequence[Scores], resampling: Resampling, streams: Sequence[int] | None = None
) -> list[FloatArray]:
    """Draw bootstrap replicates of means over seeds and questions.

    Questions are drawn by group (groups stay whole), seeds are drawn independently of them, and every drawn seed
    meets every drawn question. What has the same groups has the same draws of them, and is computed together.

    Parameters
    ----------
    scores
        Of arms; the replicates of a gain are the differences of two arms' replicates.
    resampling
        How often, and from which seed.
    streams
        Which scores draw their seeds together: those with the same number, whose rows are the same models. By default
        all do.

    Returns
    -------
    For each of the scores an array of shape (num_resamples,).

    """
    alike: dict[tuple[tuple[str, ...], int], list[int]] = {}
    for place, part in enumerate(scores):
        alike.setdefault((part.groups, len(part.correct_SQ)), []).append(place)
    found: dict[int, FloatArray] = {}
    for (groups, num_seeds), places in alike.items():
        correct_KSQ = np.stack([scores[place].correct_SQ for place in places])
        drawn = [_draw_seeds(num_seeds, streams[place] if streams else 0, resampling) for place in places]
        found |= zip(places, _resample_alike(correct_KSQ, groups, drawn, resampling), strict=True)
    return [found[place] for place in range(len(scores))]


def _resample_alike(
    correct_KSQ: FloatArray, groups: tuple[str, ...], drawn: Sequence[NDArray[np.int64]], resampling: Resampling
) -> FloatArray:
    num_scores, num_seeds, num_questions = correct_KSQ.shape
    group_of = number_groups(groups)
    num_groups = int(group_of.max()) + 1
    sizes_G = np.bincount(group_of).astype(np.float64)
    rows = correct_KSQ.reshape(num_scores * num_seeds, num_questions)
    sums_NG = np.stack([np.bincount(group_of, weights=row) for row in rows])
    is_kept = num_groups * resampling.num_resamples <= FLOATS_AT_ONCE
    found_KR = np.empty((num_scores, resampling.num_resamples))
    for part in list_parts(resampling, max(sums_NG.shape)):
        if is_kept:
            counts_GR = _draw_as_floats(num_groups, resampling)[:, part]
        else:
            counts_GR = draw_groups(num_groups, resampling)[part].astype(np.float64).T
        drawn_R = _count_questions(groups, resampling)[part] if is_kept else sizes_G @ counts_GR
        means_KSR = (sums_NG @ counts_GR / drawn_R).reshape(num_scores, num_seeds, len(drawn_R))
        if num_seeds == 1:  # is always drawn
            found_KR[:, part] = means_KSR[:, 0]
            continue
        for place, drawn_RS in enumerate(drawn):
            found_KR[place, part] = (means_KSR[place] * drawn_RS[part].T).sum(axis=0) / num_seeds
    return found_KR


def list_parts(resampling: Resampling, width: int) -> Iterator[slice]:
    """Give the resamples in parts, of which as many rows of some width fit in memory."""
    step = max(1, FLOATS_AT_ONCE // width)
    return (slice(start, start + step) for start in range(0, resampling.num_resamples, step))


@lru_cache(maxsize=64)
def number_groups(groups: tuple[str, ...]) -> NDArray[np.int64]:
    """Give groups numbers, which all arms of a test set share."""
    return np.unique(np.array(groups), return_inverse=True)[1].astype(np.int64)


@lru_cache(maxsize=64)
def _draw_seeds(num_seeds: int, stream: int, resampling: Resampling) -> NDArray[np.int64]:
    """Draw seeds with replacement: how often each is in each resample."""
    generator = np.random.default_rng([resampling.seed, num_seeds, stream])
    return generator.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=resampling.num_resamples)


@lru_cache(maxsize=8)
def draw_groups(num_groups: int, resampling: Resampling) -> NDArray[np.uint16]:
    """Draw groups with replacement: how often each is in each resample, of shape (resamples, groups).

    All that has as many groups shares these draws, which take most of a large report's time.
    """
    generator = np.random.default_rng(resampling.seed)
    shares_G = np.full(num_groups, 1 / num_groups)
    counts_RG = np.empty((resampling.num_resamples, num_groups), dtype=np.uint16)
    for part in list_parts(resampling, num_groups):
        counts_RG[part] = generator.multinomial(num_groups, shares_G, size=len(counts_RG[part]))
    return counts_RG


@lru_cache(maxsize=2)
def _draw_as_floats(num_groups: int, resampling: Resampling) -> FloatArray:
    """Give these draws as matrix products read them fastest, of shape (groups, resamples).

    Widening them anew takes most of a small comparison's time.
    """
    return np.ascontiguousarray(draw_groups(num_groups, resampling).T, dtype=np.float64)


@lru_cache(maxsize=64)
def _count_questions(groups: tuple[str, ...], resampling: Resampling) -> FloatArray:
    """Count the questions in each resample of whole groups."""
    sizes_G = np.bincount(number_groups(groups)).astype(np.float64)
    return sizes_G @ _draw_as_floats(len(sizes_G), resampling)


def summarize(estimate: float, replicates_R: FloatArray, confidence: float) -> Interval:
    """Turn replicates into a percentile interval and a two-sided p-value (Davison and Hinkley 1997, section 4.2)."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(replicates_R, [tail, 1 - tail])
    count = len(replicates_R)
    below = (1 + int((replicates_R <= 0).sum())) / (count + 1)
    above = (1 + int((replicates_R >= 0).sum())) / (count + 1)
    return Interval(estimate=estimate, low=float(low), high=float(high), p_value=min(1.0, 2 * min(below, above)))
