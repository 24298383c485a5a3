"""Intervals from variance components: against scipy and statsmodels where those have them, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from cg_lab.analysis.bootstrap import Interval, Scores
from cg_lab.analysis.components import estimate_mean, find_error, sum_products, take_groups
from cg_lab.analysis.gain_estimates import Part, estimate_gain
from cg_lab.analysis.measuring import refine_accuracy
from cg_lab.analysis.seed_variance import ModeratedVariance, moderate_variance, reduce_scores
from cg_lab.analysis.stacking import Stack
from cg_lab.student import find_quantile, find_tail
from cg_lab.wilson import wilson_interval


def make_scores(values: NDArray[np.float64], group: int = 1) -> Scores:
    names = tuple(map(str, range(values.shape[1])))
    return Scores(
        questions=names, groups=tuple(str(number // group) for number in range(len(names))), correct_SQ=values
    )


def measure_accuracy(scores: Scores) -> Interval:
    reduced = reduce_scores(scores)
    found = moderate_variance(reduced.variance[None], reduced.floor[None], reduced.freedom)
    seeds = ModeratedVariance(variance=found.variance[0], freedom=found.freedom[0])
    part = Part(scores=reduced, seeds=seeds if reduced.freedom else None)
    return refine_accuracy(estimate_gain([part]).to_interval(0.95, within=(0, 1)), Stack(seeds=(), scores=scores), 0.95)


def test_students_distribution_is_scipys() -> None:
    for freedom in (1.0, 1.7, 5.0, 239.0):
        assert find_tail(2.1, freedom) == pytest.approx(stats.t.sf(2.1, freedom))
        assert find_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom))


def test_one_seed_is_a_paired_t_test() -> None:
    values = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], (1, 80), p=[0.1, 0.5, 0.4])
    found, expected = estimate_mean(make_scores(values), 0.95), stats.ttest_1samp(values[0], 0)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(expected.pvalue)


def test_groups_of_one_seed_are_a_t_test_on_their_means_where_they_are_equally_large() -> None:
    values = np.random.default_rng(0).normal(0.1, 1, (1, 90))
    means = values.reshape(30, 3).mean(axis=1)
    interval = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    found = estimate_mean(make_scores(values, 3), 0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_values_of_equally_large_groups_are_their_means() -> None:
    assert take_groups(make_scores(np.array([[1.0, 0.0, 1.0, 1.0, 0.0, 0.0]]), 2)) == pytest.approx(
        np.array([[0.5, 1.0, 0.0]])
    )


def test_products_are_summed_over_seeds_means_over_questions_means_and_over_all() -> None:
    first, second = np.array([[3.0, 1.0], [-1.0, -3.0]]), np.array([[1.0, 0.0], [1.0, -2.0]])
    assert sum_products(first, second).tolist() == [(4 * 1 - 4 * -1) / 2, (2 * 2 + -2 * -2) / 2, 3 - 1 + 6]
    assert sum_products(first[:1], second[:1]).tolist() == [0.0, 3.0, 3.0]


def test_an_error_has_a_degree_of_freedom_at_least() -> None:
    assert find_error(np.zeros(3), 3, 1) == (np.inf, 1.0)
    error, freedom = find_error(np.array([10.0, 9.0, 28.0]), 2, 10)  # mean squares 10, 1 and 1
    assert (error, freedom) == (pytest.approx(np.sqrt(10 / 20)), 1.0)


def test_mean_squares_are_those_of_statsmodels() -> None:
    import pandas as pd

    generator = np.random.default_rng(0)
    values = (
        0.3 + generator.normal(0, 0.2, (4, 1)) + generator.normal(0, 0.3, (1, 25)) + generator.normal(0, 1, (4, 25))
    )
    rows = [{"seed": s, "question": q, "value": values[s, q]} for s in range(4) for q in range(25)]
    table = anova_lm(ols("value ~ C(seed) + C(question)", pd.DataFrame(rows)).fit())
    seeds, questions, rest = (table["mean_sq"][name] for name in ("C(seed)", "C(question)", "Residual"))
    whole = seeds + questions - rest
    freedom = whole**2 / (seeds**2 / 3 + questions**2 / 24 + rest**2 / 72)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(whole / 100)
    found = estimate_mean(make_scores(values), 0.95)
    assert found.high - found.estimate == pytest.approx(half)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.estimate) / np.sqrt(whole / 100), freedom))


def test_a_single_seeds_accuracy_has_wilsons_interval_and_stays_between_0_and_1() -> None:
    values = np.zeros((1, 40))
    values[0, :39] = 1
    found = measure_accuracy(make_scores(values))
    assert (found.low, found.high) == pytest.approx(wilson_interval(39, 40, 0.95))
    assert measure_accuracy(make_scores(np.repeat(values, 3, axis=0))).high <= 1
    assert estimate_mean(make_scores(np.zeros((3, 40))), 0.95).p_value == 1
    assert estimate_mean(make_scores(np.ones((2, 6)), 6), 0.95).p_value == 1  # one patient says nothing about others


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (3, 0.0), (3, 0.2), (3, 0.4), (5, 0.0), (5, 0.2), (5, 0.4)])
def test_intervals_cover_what_is_true(seeds: int, spread: float) -> None:
    """Answers to hard and easy questions of seeds that came out better or worse; benchmarks/coverage.py does more."""
    generator = np.random.default_rng(seeds)
    studies, questions = 600, 120

    def accuracy(share: float) -> float:
        noise = np.random.default_rng(0).normal(0, np.hypot(1, spread), 400_000)
        return float((1 / (1 + np.exp(-(np.log(share / (1 - share)) + noise)))).mean())

    truth = accuracy(0.6) - accuracy(0.4)
    covered = 0
    for _ in range(studies):
        hard = generator.normal(0, 1, (1, questions))
        arms = [
            generator.random((seeds, questions))
            < 1 / (1 + np.exp(-(np.log(share / (1 - share)) + generator.normal(0, spread, (seeds, 1)) + hard)))
            for share in (0.6, 0.4)
        ]
        found = estimate_mean(make_scores(arms[0].astype(float) - arms[1]), 0.95)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / studies <= 0.998


def test_answers_that_are_all_alike_leave_room_for_what_was_not_seen() -> None:
    found = estimate_mean(make_scores(np.zeros((3, 73))), 0.95)
    assert found.high == pytest.approx(wilson_interval(0, 73, 0.95)[1])
    assert (found.low, found.p_value) == (-found.high, 1.0)
    perfect = measure_accuracy(make_scores(np.ones((3, 240))))
    assert 0.98 < perfect.low < perfect.high == 1.0


def test_limits_are_possible_values() -> None:
    values = np.repeat(np.array([[0.9], [-0.6], [0.8]]), 40, axis=1) + np.random.default_rng(0).normal(0, 0.01, (3, 40))
    found = estimate_mean(make_scores(values), 0.95)
    assert (found.low, found.high) == (-1.0, 1.0)


def test_unequal_groups_have_the_cluster_robust_error_of_statsmodels() -> None:
    import pandas as pd

    groups = tuple("aaaaabbbccdefffggg")
    values = np.random.default_rng(3).normal(0.4, 1, (1, len(groups)))
    found = estimate_mean(Scores(questions=tuple(map(str, range(len(groups)))), groups=groups, correct_SQ=values), 0.95)
    fit = ols("value ~ 1", pd.DataFrame({"value": values[0]}))
    error = fit.fit(cov_type="cluster", cov_kwds={"groups": pd.factorize(np.array(groups))[0]}).bse.iloc[0]
    assert found.estimate == pytest.approx(values.mean())
    assert found.high - found.estimate == pytest.approx(stats.t.ppf(0.975, 6) * error)


def test_one_patient_says_nothing_about_others() -> None:
    alone = make_scores(np.array([[1.0, 0.0, 1.0, 1.0]] * 2), 4)
    assert estimate_mean(alone, 0.95) == Interval(estimate=0.75, low=-1.0, high=1.0, p_value=1.0)
    assert measure_accuracy(alone) == Interval(estimate=0.75, low=0.0, high=1.0, p_value=1.0)


def test_answers_that_are_all_alike_have_the_p_value_of_a_sign_test() -> None:
    found = estimate_mean(make_scores(np.ones((2, 5))), 0.95)
    assert found.p_value == stats.binomtest(5, 5).pvalue
    assert (found.low, found.high) == (pytest.approx(1 - wilson_interval(0, 5, 0.95)[1]), 1.0)
