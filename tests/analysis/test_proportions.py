"""Intervals and tests, checked against scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, trim_mean
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from cg_lab.analysis.adjusted_p_values import Family, adjust_sequences, adjust_steps
from cg_lab.analysis.bootstrap import Resampling, Scores, summarize
from cg_lab.analysis.gain_estimates import GainEstimate, Part, estimate_gain
from cg_lab.analysis.proportions import compare_mcnemar, is_binary, sign_test
from cg_lab.analysis.recovering import share_recovered
from cg_lab.analysis.seed_variance import ModeratedVariance, moderate_variance, reduce_scores
from cg_lab.analysis.summary import Asked, Gain, _interquartile_mean, _probability_of_improvement, summarize_study
from cg_lab.arms import Arm
from cg_lab.student import find_quantile

RESAMPLING = Resampling(num_resamples=2000, seed=0, confidence=0.95)


def make_scores(correct: np.ndarray) -> Scores:
    names = tuple(map(str, range(correct.shape[1])))
    return Scores(questions=names, groups=names, correct_SQ=correct.astype(float))


def test_mcnemar_is_that_of_statsmodels() -> None:
    generator = np.random.default_rng(0)
    for size in (5, 40, 240, 3000):
        first, second = (generator.random((1, size)) < share for share in (0.55, 0.4))
        table = [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
        expected = mcnemar(np.array(table), exact=True).pvalue
        assert compare_mcnemar(make_scores(first), make_scores(second)) == pytest.approx(expected, rel=1e-9)
    assert sign_test(3, 9) == pytest.approx(binomtest(3, 12).pvalue)


def test_mcnemar_takes_the_majority_of_seeds() -> None:
    first = make_scores(np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0]]))
    assert compare_mcnemar(first, make_scores(np.zeros((1, 4)))) == sign_test(3, 0)
    assert compare_mcnemar(first, make_scores(np.array([[0, 1, 1, 0], [1, 0, 0, 1]]))) == 1.0  # halves are dropped
    assert not is_binary(make_scores(np.array([[0.4, 1.0]])))


def test_a_question_that_one_arm_answers_by_halves_counts_for_neither() -> None:
    """Five questions are gained; four more are half right in one arm, and right or wrong in the other."""
    first = make_scores(np.array([[1] * 5 + [1, 1, 0, 1], [1] * 5 + [0, 0, 0, 1]]))
    second = make_scores(np.array([[0] * 5 + [0, 1, 1, 1], [0] * 5 + [0, 1, 0, 0]]))
    assert compare_mcnemar(first, second) == binomtest(5, 5).pvalue
    assert compare_mcnemar(second, first) == binomtest(5, 5).pvalue


def test_adjusted_p_values_are_those_of_statsmodels_where_each_question_has_one_claim() -> None:
    p_values = np.random.default_rng(1).random(12) ** 3
    holm = multipletests(p_values, method="holm")[1]
    assert adjust_steps(p_values) == pytest.approx(holm)
    assert adjust_sequences(p_values[:, None])[:, 0] == pytest.approx(holm)
    found = adjust_sequences(p_values[:, None], "false_discovery_rate")[:, 0]
    assert found == pytest.approx(multipletests(p_values, method="fdr_bh")[1])


@pytest.mark.parametrize("family", ["graphical", "false_discovery_rate"])
def test_studies_side_by_side_are_adjusted_each_by_itself(family: Family) -> None:
    p_STC = np.random.default_rng(2).random((3, 5, 2)) ** 3
    together = adjust_sequences(p_STC, family, 7)
    assert together == pytest.approx(np.stack([adjust_sequences(p_TC, family, 7) for p_TC in p_STC]))
    steps = adjust_steps(p_STC[..., 0], 7)
    assert steps == pytest.approx(np.stack([adjust_steps(p_T, 7) for p_T in p_STC[..., 0]]))


def make_part(values: np.ndarray, *, is_trained: bool = True) -> Part:
    reduced = reduce_scores(make_scores(values), is_trained=is_trained)
    found = moderate_variance(reduced.variance[None], reduced.floor[None], reduced.freedom)
    seeds = ModeratedVariance(variance=found.variance[0], freedom=found.freedom[0])
    return Part(scores=reduced, seeds=seeds if is_trained else None)


def test_a_recovered_share_covers_what_is_true_and_agrees_with_the_gains_own_interval() -> None:
    generator = np.random.default_rng(0)
    covered = agreeing = told = 0
    for _ in range(300):
        related, ceiling = (
            make_part(gain + generator.normal(0, 0.05, (5, 1)) + generator.normal(0, 0.6, (5, 150)))
            for gain in (0.2, 0.4)
        )
        untouched = make_part(generator.normal(0, 0.1, (1, 150)), is_trained=False)
        share = share_recovered(related, ceiling, untouched, 0.95)
        if share is None:
            continue
        gains = [
            estimate_gain([part, Part(scores=untouched.scores, seeds=None, weight=-1.0)]) for part in (related, ceiling)
        ]
        assert share.estimate == pytest.approx(float(gains[0].estimate / gains[1].estimate))
        told += 1
        covered += share.low <= 0.5 <= share.high
        agreeing += (share.low > 0) == (gains[0].to_interval(0.95).low > 0)
    assert told > 290
    assert covered / told > 0.92
    assert agreeing / told > 0.97


def test_a_recovered_share_ends_where_the_difference_is_just_resolved() -> None:
    """At both ends of Fieller's interval, `related - share * ceiling` is t standard errors from zero."""
    generator = np.random.default_rng(3)
    shares = {"related": (0.5, 0.6, 0.7), "ceiling": (0.8, 0.85, 0.9), "untouched": (0.3,)}
    scores = {
        name: reduce_scores(
            make_scores((generator.random((len(rates), 150)) < np.array(rates)[:, None]).astype(float)),
            is_trained=len(rates) > 1,
        )
        for name, rates in shares.items()
    }
    seeds = ModeratedVariance(variance=np.asarray(0.004), freedom=np.asarray(6.0))
    related, ceiling = (Part(scores=scores[name], seeds=seeds) for name in ("related", "ceiling"))
    untouched = Part(scores=scores["untouched"], seeds=None)
    found = share_recovered(related, ceiling, untouched, 0.95)
    assert found

    def gain(share: float) -> GainEstimate:
        return estimate_gain(
            [
                related,
                Part(scores=ceiling.scores, seeds=seeds, weight=-share),
                Part(scores=untouched.scores, seeds=None, weight=share - 1),
            ]
        )

    assert float(gain(found.estimate).estimate) == pytest.approx(0.0, abs=1e-12)
    factor = find_quantile(0.975, float(gain(found.estimate).freedom))
    assert found.low < found.estimate < found.high
    assert found.p_value == 1.0  # of nothing that is tested
    for end in (found.low, found.high):
        assert abs(float(gain(end).estimate)) == pytest.approx(factor * float(gain(end).error))


def test_a_ceiling_that_gains_nothing_has_no_share() -> None:
    flat = make_part(np.random.default_rng(0).normal(0, 0.6, (5, 150)))
    untouched = make_part(np.random.default_rng(1).normal(0, 0.6, (1, 150)), is_trained=False)
    assert share_recovered(flat, flat, untouched, 0.95) is None


def test_robust_means_are_those_of_scipy_and_chances_those_of_counting() -> None:
    runs = [np.random.default_rng(number).random(4) for number in range(5)]
    assert _interquartile_mean([run[None] for run in runs]) == pytest.approx(
        float(trim_mean(np.concatenate(runs), 0.25))
    )
    first, second = np.array([0.1, 0.5, 0.9]), np.array([0.5, 0.2])
    wins = np.mean([(a > b) + 0.5 * (a == b) for a in first for b in second])
    assert _probability_of_improvement([first[None], second[None]]) == pytest.approx(wins)


def test_questions_are_pooled_all_together_and_by_what_they_share() -> None:
    def make(gain: float) -> Gain:
        replicates_R = gain + np.random.default_rng(0).normal(0, 0.01, 2000)
        return Gain(
            interval=summarize(gain, replicates_R, 0.95), replicates_R=replicates_R, models=(),
            estimate=GainEstimate(estimate=np.array(gain), variance=np.array(1e-4), freedom=np.array(9.0)),
        )  # fmt: skip

    def ask(gain: float, *groups: str) -> Asked:
        means = {Arm.RELATED: np.array([0.5 + gain, 0.6 + gain]), Arm.ZERO_SHOT: np.array([0.5])}
        return Asked(
            target=str(gain), groups=groups, gains={Arm.ZERO_SHOT: make(gain)}, losses={"task": make(gain / 2)},
            means=means, main=Arm.RELATED,
        )  # fmt: skip

    asked = [
        ask(0.1, "area=Lung", "task=Mass"),
        *(ask(gain, "area=Lung") for gain in (0.3, 0.2)),
        ask(0.2, "area=Brain"),
    ]
    found = {
        (part.measure, part.arm, part.group): part
        for part in summarize_study(asked, RESAMPLING)
        if part.method in {"t over targets", "bootstrap of seeds"}
    }
    assert found["gain", "over zero_shot", "all"].value.estimate == pytest.approx(0.2)
    assert found["gain", "over zero_shot", "area=Lung"].value.estimate == pytest.approx(0.2)
    assert found["gain", "over zero_shot", "area=Lung"].num_questions == 3
    assert found["loss_without", "task", "all"].value.estimate == pytest.approx(0.1)
    assert ("gain", "over zero_shot", "area=Brain") not in found
    assert found["probability_of_improvement", "over zero_shot", "all"].value.estimate == 1.0
    assert found["iqm", "related", "all"].value.low <= 0.75 <= found["iqm", "related", "all"].value.high


def test_bootstrap_p_values_are_those_of_the_interval() -> None:
    values = np.random.default_rng(0).normal(0.3, 0.1, 5000)
    interval = summarize(0.3, values, 0.95)
    assert interval.low > 0
    assert interval.p_value == pytest.approx(2 * (1 + (values <= 0).sum()) / 5001)
