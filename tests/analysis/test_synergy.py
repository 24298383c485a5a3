"""What a combination does beyond its sources: over the best of them, and on log-odds."""

from __future__ import annotations

import numpy as np
import pytest

from cg_lab.analysis.gain_estimates import GainEstimate, Part
from cg_lab.analysis.seed_variance import ModeratedVariance, SeedScores, reduce_seeds
from cg_lab.analysis.synergy import find_synergy, measure_interaction
from cg_lab.student import find_quantile, find_tail


def gain(estimate: float, error: float) -> GainEstimate:
    return GainEstimate(estimate=np.asarray(estimate), variance=np.asarray(error**2), freedom=np.asarray(9.0))


def answer(num_right: int, *, questions: int = 10) -> SeedScores:
    return reduce_seeds((np.arange(questions) < num_right).astype(float)[None])


def test_the_best_source_is_beaten_where_each_is() -> None:
    found = find_synergy([gain(0.3, 0.2), gain(0.1, 0.04)], 0.95)
    half, apart = find_quantile(0.975, 9.0), find_quantile(0.9875, 9.0)
    assert found.estimate == 0.1
    assert found.low == pytest.approx(min(0.3 - half * 0.2, 0.1 - half * 0.04))
    assert found.high == pytest.approx(min(0.3 + apart * 0.2, 0.1 + apart * 0.04))
    assert found.p_value == pytest.approx(2 * max(find_tail(0.3 / 0.2, 9.0), find_tail(0.1 / 0.04, 9.0)))


def test_the_upper_end_is_never_below_the_estimate() -> None:
    found = find_synergy([gain(0.3, 0.001), gain(0.31, 0.0001), gain(-0.5, 0.01)], 0.95)
    assert found.estimate == -0.5
    assert found.high >= found.estimate


@pytest.mark.parametrize("least", [0.0, -0.1])
def test_a_source_that_is_as_good_or_better_leaves_no_claim(least: float) -> None:
    assert find_synergy([gain(0.3, 0.01), gain(least, 0.001)], 0.95).p_value == 1.0


@pytest.mark.parametrize("counts", [(80, 60, 40, 20), (100, 60, 40, 0)])
def test_sources_interact_by_what_they_do_together_beyond_adding_up_on_log_odds(counts: tuple[int, ...]) -> None:
    """Of 100 questions each: half an answer of each kind is added, so that none right has log-odds too."""
    both, first, second, neither = (Part(scores=answer(count, questions=100), seeds=None) for count in counts)
    odds = [float(np.log((count + 0.5) / (100 - count + 0.5))) for count in counts]
    found = measure_interaction(both, first, second, neither, 0.95)
    assert found.estimate == pytest.approx(odds[0] - odds[1] - odds[2] + odds[3])


def test_an_interaction_has_the_error_of_the_delta_method() -> None:
    counts = (80, 60, 40, 20)
    shares = [(count + 0.5) / 101 for count in counts]
    weights = [sign / (share * (1 - share)) for sign, share in zip((1, -1, -1, 1), shares, strict=True)]
    summed = sum(weight * (np.arange(100) < count) for weight, count in zip(weights, counts, strict=True))
    both, first, second, neither = (Part(scores=answer(count, questions=100), seeds=None) for count in counts)
    found = measure_interaction(both, first, second, neither, 0.95)
    half = find_quantile(0.975, 99.0) * float(np.std(summed, ddof=1)) / 10
    assert (found.estimate - found.low, found.high - found.estimate) == pytest.approx((half, half))


def test_an_interaction_that_seeds_could_explain_is_less_certain() -> None:
    seeds = ModeratedVariance(variance=np.asarray(0.01), freedom=np.asarray(9.0))
    wide, narrow = (
        measure_interaction(*(Part(scores=answer(count), seeds=own) for count in (9, 6, 5, 3)), 0.95)
        for own in (seeds, None)
    )
    assert wide.estimate == narrow.estimate
    assert wide.high - wide.low > narrow.high - narrow.low
