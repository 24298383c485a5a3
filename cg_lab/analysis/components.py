"""Intervals of means over seeds and questions, from the variance that each of them brings in."""

from __future__ import annotations

import math

import numpy as np

from cg_lab.analysis.bootstrap import FloatArray, Interval, Scores, number_groups
from cg_lab.student import find_quantile, find_tail
from cg_lab.wilson import wilson_interval


def estimate_mean(scores: Scores, confidence: float) -> Interval:
    """Estimate the mean over all seeds and questions there could be.

    Seeds and questions (whole groups) are crossed random effects. The variance of the mean is put together from the
    mean squares of a two-way analysis of variance, `(MS_seeds + MS_questions - MS_rest) / (seeds * questions)`, and
    never taken to be less than the rest alone; its degrees of freedom are Satterthwaite's (1946), so that few seeds
    give the wide interval of a t distribution. With one seed it says nothing about other seeds. Where all answers are
    alike there is no variance to go by: the interval then reaches as far as Wilson's for no success among the groups,
    and the p-value is that of a sign test. Limits are cut off at -1 and 1.

    Parameters
    ----------
    scores
        Of one arm, or the difference of two on the same questions.
    confidence
        Of the two-sided interval.

    Returns
    -------
    The mean with its interval, and the p-value of a t test of the mean being zero.

    """
    mean = float(scores.correct_SQ.sum()) / scores.correct_SQ.size
    values_SG = take_groups(scores)
    num_groups = values_SG.shape[1]
    error, freedom = _find_error(values_SG)
    half = find_half_width(error, freedom, num_groups, confidence)
    if error > 0:
        p_value = min(1.0, 2 * find_tail(abs(mean) / error, freedom))
    else:
        p_value = 2.0 ** (1 - num_groups) if mean else 1.0
    return Interval(estimate=mean, low=max(-1.0, mean - half), high=min(1.0, mean + half), p_value=p_value)


def take_groups(scores: Scores) -> FloatArray:
    """Give one value for each seed and group, whose mean is the mean over questions.

    Groups differ in size, so that a mean is a ratio of sums; the values are its linear part: the mean, and the group's
    sum less the mean times its size, times groups over questions.
    """
    if scores.groups == scores.questions:
        return scores.correct_SQ
    group_of = number_groups(scores.groups)
    sizes_G = np.bincount(group_of).astype(np.float64)
    sums_SG = np.stack([np.bincount(group_of, weights=row) for row in scores.correct_SQ])
    mean = float(scores.correct_SQ.mean())
    return mean + (sums_SG - mean * sizes_G) * (len(sizes_G) / len(group_of))


def _find_error(values_SG: FloatArray) -> tuple[float, float]:
    """Give the standard error of the mean, and its degrees of freedom."""
    apart_SG = centre(values_SG)
    return find_error(sum_products(apart_SG, apart_SG), *values_SG.shape)


def centre(values_SG: FloatArray) -> FloatArray:
    """Give the deviations from the mean."""
    return values_SG - values_SG.sum() / values_SG.size


def sum_products(first_SG: FloatArray, second_SG: FloatArray) -> FloatArray:
    """Multiply deviations: of an array and itself, these are the sums of squares of a two-way analysis of variance.

    Returns
    -------
    Sums over all values: of the means of seeds, of the means of questions (whole groups), of the values themselves.

    """
    num_seeds, num_groups = first_SG.shape
    total = float((first_SG * second_SG).sum())
    if num_seeds == 1:
        return np.array([0.0, total, total])
    seeds = float(first_SG.sum(axis=1) @ second_SG.sum(axis=1)) / num_groups
    questions = float(first_SG.sum(axis=0) @ second_SG.sum(axis=0)) / num_seeds
    return np.array([seeds, questions, total])


def find_error(squares: FloatArray, num_seeds: int, num_groups: int) -> tuple[float, float]:
    """Give the standard error of a mean, infinite of a single group, and its degrees of freedom.

    Parameters
    ----------
    squares
        As `sum_products` gives them of the values.
    num_seeds, num_groups
        Shape of the values.

    """
    if num_groups == 1:
        return math.inf, 1.0
    of_seeds, of_questions, total = squares.tolist()
    questions = of_questions / (num_groups - 1)
    if num_seeds == 1:
        return math.sqrt(questions / num_groups), float(num_groups - 1)
    seeds = of_seeds / (num_seeds - 1)
    free = (num_seeds - 1) * (num_groups - 1)
    rest = max(0.0, total - of_seeds - of_questions) / free
    whole = max(seeds + questions - rest, rest)
    if whole <= 0:
        return 0.0, float(free)
    parts = seeds**2 / (num_seeds - 1) + questions**2 / (num_groups - 1) + rest**2 / free
    return math.sqrt(whole / (num_seeds * num_groups)), max(1.0, whole**2 / parts)


def find_half_width(error: float, freedom: float, num_groups: int, confidence: float) -> float:
    """Give half the width of the interval around a mean with a standard error; without one, Wilson's reach."""
    if error > 0:
        return find_quantile((1 + confidence) / 2, freedom) * error
    return wilson_interval(0, num_groups, confidence)[1]
