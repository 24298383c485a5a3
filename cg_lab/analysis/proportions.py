"""Proportions and pairs of them, where each answer is right or wrong and counts once."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import numpy as np

from cg_lab.analysis.bootstrap import FloatArray, Scores


def is_binary(scores: Scores) -> bool:
    """Tell whether answers are right or wrong, and not overlaps of boxes."""
    return bool(((scores.correct_SQ == 0) | (scores.correct_SQ == 1)).all())


def compare_mcnemar(first: Scores, second: Scores) -> float:
    """Give the exact two-sided p-value of McNemar's test on one seed's paired answers, seeds taken by majority.

    Of several seeds a question counts as right where more than half of them answer it so; halves are dropped, as are
    questions that both arms answer alike.
    """
    right_1, right_2 = (_majority(scores) for scores in (first, second))
    gained = int(((right_1 > 0) & (right_2 < 0)).sum())
    lost = int(((right_1 < 0) & (right_2 > 0)).sum())
    return sign_test(gained, lost)


@cache
def sign_test(gained: int, lost: int) -> float:
    """Give the exact two-sided p-value of a fair coin that fell so.

    >>> sign_test(8, 1), sign_test(0, 0)
    (0.0390625, 1.0)
    """
    total, fewer = gained + lost, min(gained, lost)
    tail = sum(math.comb(total, count) for count in range(fewer + 1))
    return min(1.0, float(Fraction(2 * tail, 2**total)))


def _majority(scores: Scores) -> FloatArray:
    """Give 1 where most seeds are right, -1 where most are wrong, 0 for halves."""
    return np.sign(scores.correct_SQ.mean(axis=0) - 0.5)
