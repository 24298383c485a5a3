"""Shares of gains, with Fieller's interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cg_lab.analysis.gain_estimates import Part
from cg_lab.analysis.recovering import share_lost, share_recovered
from cg_lab.analysis.seed_variance import ModeratedVariance, reduce_seeds


def make_part(share: float, name: int, *, seeds: int = 3) -> Part:
    right = (np.random.default_rng(name).random((seeds, 400)) < share).astype(float)
    scores = reduce_seeds(right)
    return Part(scores=scores, seeds=ModeratedVariance(variance=scores.floor, freedom=np.array(8.0)))


@pytest.mark.parametrize(("without", "expected"), [(0.3, 1.0), (0.5, 0.5), (0.7, 0.0)])
def test_what_is_lost_without_an_element_is_a_share_of_the_gain(without: float, expected: float) -> None:
    found = share_lost(make_part(without, 1), make_part(0.7, 2), make_part(0.3, 3), 0.95)
    assert found is not None
    assert found.estimate == pytest.approx(expected, abs=0.1)
    assert found.low < expected < found.high


def test_nothing_is_said_of_the_share_of_a_gain_that_is_not_there() -> None:
    assert share_lost(make_part(0.3, 1), make_part(0.31, 2), make_part(0.3, 3), 0.95) is None


def test_what_is_lost_and_what_is_kept_make_the_whole() -> None:
    without, related, unrelated = make_part(0.45, 1), make_part(0.7, 2), make_part(0.3, 3)
    lost, kept = share_lost(without, related, unrelated, 0.95), share_recovered(without, related, unrelated, 0.95)
    assert lost is not None
    assert kept is not None
    assert (lost.estimate, lost.low, lost.high) == pytest.approx((1 - kept.estimate, 1 - kept.high, 1 - kept.low))
    assert lost.p_value == kept.p_value == 1.0


def test_how_seeds_of_the_third_arm_differ_makes_a_share_less_certain() -> None:
    without, related, unrelated = make_part(0.45, 1), make_part(0.7, 2), make_part(0.3, 3)
    certain = share_lost(without, related, replace(unrelated, seeds=None), 0.95)
    lost = share_lost(without, related, unrelated, 0.95)
    assert lost is not None
    assert certain is not None
    assert lost.estimate == certain.estimate
    assert lost.high - lost.low > certain.high - certain.low
