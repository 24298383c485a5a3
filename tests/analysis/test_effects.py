"""Bootstrap intervals against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cg_lab.analysis.bootstrap import Resampling, Scores, resample_means, subtract, summarize

RESAMPLING = Resampling(num_resamples=4000, seed=0, confidence=0.95)


def make_scores(correct_SQ: np.ndarray, groups: tuple[str, ...] | None = None) -> Scores:
    questions = tuple(f"q{number}" for number in range(correct_SQ.shape[1]))
    return Scores(questions=questions, groups=groups or questions, correct_SQ=correct_SQ.astype(np.float64))


def test_one_seed_without_groups_agrees_with_scipys_bootstrap() -> None:
    correct_Q = np.random.default_rng(0).random(120) < 0.7
    ours = summarize(0.0, resample_means([make_scores(correct_Q[None])], RESAMPLING)[0], 0.95)
    theirs = stats.bootstrap((correct_Q,), np.mean, n_resamples=4000, method="percentile", random_state=1)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.015)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.015)


def test_groups_are_drawn_whole_so_that_copies_of_a_question_add_no_certainty() -> None:
    correct_Q = np.random.default_rng(0).random(50) < 0.6
    once = summarize(0.0, resample_means([make_scores(correct_Q[None])], RESAMPLING)[0], 0.95)
    copied = make_scores(np.repeat(correct_Q, 4)[None], tuple(f"g{number // 4}" for number in range(200)))
    grouped = summarize(0.0, resample_means([copied], RESAMPLING)[0], 0.95)
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.1)


def test_seeds_that_disagree_widen_the_interval() -> None:
    generator = np.random.default_rng(0)
    same = np.repeat((generator.random((1, 200)) < 0.5), 3, axis=0)
    apart = np.stack([generator.random(200) < share for share in (0.2, 0.5, 0.8)])
    width = [
        np.ptp(np.quantile(resample_means([make_scores(part)], RESAMPLING)[0], [0.025, 0.975]))
        for part in (same, apart)
    ]
    assert width[1] > 2 * width[0]


def test_pairing_is_question_by_question_and_one_row_meets_every_seed() -> None:
    first = make_scores(np.array([[1, 1, 0], [0, 1, 0]]))
    second = make_scores(np.array([[1, 0, 0]]))
    assert subtract(first, second).correct_SQ.tolist() == [[0, 1, 0], [-1, 1, 0]]


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    few = Resampling(num_resamples=400, seed=0, confidence=0.95)
    covered = 0
    for _ in range(300):
        correct_SQ = generator.random((1, 150)) < 0.4
        interval = summarize(0.0, resample_means([make_scores(correct_SQ)], few)[0], 0.95)
        covered += interval.low <= 0.4 <= interval.high
    assert 0.90 <= covered / 300 <= 0.98


def test_arms_draw_their_seeds_apart_and_one_models_guises_together() -> None:
    means = np.array([[0.0] * 40, [1.0] * 40])
    one, same, other = (resample_means([make_scores(means)] * 3, RESAMPLING, [0, 0, 1])[place] for place in range(3))
    assert np.array_equal(one, same)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
