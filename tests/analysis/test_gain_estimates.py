"""Moderated seed variances and paired gains: against a recomputation by scipy and statsmodels, and at their edges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import optimize, special, stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from cg_lab.analysis.adjusted_p_values import adjust_steps
from cg_lab.analysis.bootstrap import Scores
from cg_lab.analysis.gain_estimates import Part, estimate_gain
from cg_lab.analysis.seed_variance import (
    ModeratedVariance,
    SeedPrior,
    SeedScores,
    borrow_variance,
    moderate_variance,
    reduce_scores,
    reduce_seeds,
)

Answers = NDArray[np.float64]


def make_scores(values: Answers, group: int = 1) -> Scores:
    names = tuple(map(str, range(values.shape[1])))
    return Scores(questions=names, groups=tuple(str(n // group) for n in range(len(names))), correct_SQ=values)


def answer(shares: list[float], *, questions: int = 60, seed: int = 0) -> Answers:
    """Let seeds of these accuracies answer questions that are all as hard."""
    generator = np.random.default_rng(seed)
    return (generator.random((len(shares), questions)) < np.array(shares)[:, None]).astype(float)


def exactly(shares: list[float], questions: int = 100) -> Answers:
    """Give answers of which each seed has just so many right, on questions of its own."""
    generator = np.random.default_rng(0)
    rows = [np.arange(questions) < round(share * questions) for share in shares]
    return np.stack([generator.permutation(row) for row in rows]).astype(float)


def moderate(arms: list[SeedScores], prior: SeedPrior | None = None) -> list[ModeratedVariance]:
    found = moderate_variance(
        np.array([float(arm.variance) for arm in arms]),
        np.array([float(arm.floor) for arm in arms]),
        np.array([float(arm.freedom) for arm in arms]),
        prior,
    )
    return [ModeratedVariance(variance=v, freedom=d) for v, d in zip(found.variance, found.freedom, strict=True)]


def recompute_noise(values: Answers) -> float:
    """Give the residual mean square of a two-way analysis of variance over the number of questions, by statsmodels."""
    frame = pd.DataFrame(values).stack().rename("value").rename_axis(["seed", "question"]).reset_index()
    return float(anova_lm(ols("value ~ C(seed) + C(question)", frame).fit())["mean_sq"]["Residual"]) / values.shape[1]


def recompute_moderated(targets: list[Answers]) -> list[tuple[float, float]]:
    """Give variance and degrees of freedom of each target, step by step."""
    questions = targets[0].shape[1]
    wilson = (stats.norm.ppf(0.975) / (questions + stats.norm.ppf(0.975) ** 2)) ** 2
    own = [float(np.var(target.mean(axis=1), ddof=1)) for target in targets]
    freedoms = [len(target) - 1 for target in targets]
    floors = [max(recompute_noise(target), wilson) for target in targets]
    logs = np.log([max(one, 0.01 * floor) for one, floor in zip(own, floors, strict=True)])
    beyond = ((logs - logs.mean()) ** 2).sum() - (len(targets) - 1) * np.mean(
        [special.polygamma(1, free / 2) for free in freedoms]
    )
    wanted = (beyond + 6 * special.polygamma(1, 2.0)) / (len(targets) - 1 + 6)
    wanted = max(wanted, special.polygamma(1, 5.0))
    prior = 2 * optimize.brentq(lambda half: special.polygamma(1, half) - wanted, 1e-3, 100)
    return [
        (max(floor, (prior * np.mean(own) + free * one) / (prior + free)), min(prior + free, sum(freedoms)))
        for one, free, floor in zip(own, freedoms, floors, strict=True)
    ]


def test_gains_intervals_and_p_values_are_those_of_a_recomputation_by_scipy_and_statsmodels() -> None:
    related = [answer([0.5, 0.6, 0.7], seed=1), answer([0.6, 0.62, 0.6, 0.5], seed=2), answer([0.4, 0.8, 0.6], seed=3)]
    control = [answer([0.4, 0.42, 0.5], seed=4), answer([0.4, 0.5, 0.45], seed=5), answer([0.4, 0.3, 0.41], seed=6)]
    ours = [[reduce_scores(make_scores(values)) for values in arm] for arm in (related, control)]
    seeds = [moderate(arm) for arm in ours]
    theirs = [recompute_moderated(arm) for arm in (related, control)]
    for place in range(3):
        gain = estimate_gain(
            [
                Part(scores=ours[0][place], seeds=seeds[0][place]),
                Part(scores=ours[1][place], seeds=seeds[1][place], weight=-1),
            ]
        )
        parts = [
            (theirs[arm][place][0] / len(values[place]), theirs[arm][place][1])
            for arm, values in enumerate((related, control))
        ]
        apart = related[place].mean(axis=0) - control[place].mean(axis=0)
        spread = stats.sem(apart) ** 2
        noise = sum(recompute_noise(values[place]) / len(values[place]) for values in (related, control))
        whole = sum(variance for variance, _ in parts) + max(0.0, spread - noise)
        freedom = whole**2 / (sum(variance**2 / free for variance, free in parts) + spread**2 / (len(apart) - 1))
        interval = stats.t.interval(0.95, freedom, apart.mean(), np.sqrt(whole))
        found = gain.to_interval(0.95)
        assert (found.estimate, found.low, found.high) == pytest.approx((apart.mean(), *interval))
        assert found.p_value == pytest.approx(2 * stats.t.sf(abs(apart.mean()) / np.sqrt(whole), freedom))
        assert float(gain.test("above")) == pytest.approx(stats.t.sf(apart.mean() / np.sqrt(whole), freedom))


def test_seeds_that_happen_to_agree_are_not_believed() -> None:
    """Three seeds at .43 .43 .43 among targets whose seeds lie apart: their variance is drawn up, with few degrees."""
    apart = [exactly([0.3, 0.45, 0.6]), exactly([0.2, 0.45, 0.5]), exactly([0.4, 0.5, 0.7])]
    arms = [reduce_scores(make_scores(values)) for values in (exactly([0.43, 0.43, 0.43]), *apart)]
    assert float(arms[0].variance) == pytest.approx(0)
    found = moderate(arms)
    assert found[0].variance > 0.25 * np.mean([float(arm.variance) for arm in arms])
    assert found[0].freedom <= 8
    untouched = reduce_scores(make_scores(exactly([0.2])), is_trained=False)
    gain = estimate_gain([Part(scores=arms[0], seeds=found[0]), Part(scores=untouched, seeds=None, weight=-1)])
    assert float(gain.test()) > 1e-4
    assert float(gain.freedom) < 40


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_answers_that_are_all_right_or_all_wrong_leave_room_for_what_was_not_seen(right: float) -> None:
    arms = [reduce_scores(make_scores(np.full((3, 240), right))) for _ in range(4)]
    found = moderate(arms)
    gain = estimate_gain([Part(scores=arms[0], seeds=found[0])]).to_interval(0.95, within=(0, 1))
    assert 0.005 < gain.high - gain.low < 0.03
    assert found[0].variance == arms[0].floor


def test_a_model_that_is_right_everywhere_beats_one_that_is_wrong_everywhere_but_not_without_bounds() -> None:
    arms = [[reduce_scores(make_scores(np.full((3, 240), right))) for _ in range(4)] for right in (1.0, 0.0)]
    seeds = [moderate(arm) for arm in arms]
    parts = [Part(scores=arms[n][0], seeds=seeds[n][0], weight=weight) for n, weight in ((0, 1.0), (1, -1.0))]
    gain = estimate_gain(parts)
    assert 0 < float(gain.error) < 0.02
    assert 0 < float(gain.test()) < 1e-6


def test_a_single_seed_has_the_variance_of_the_other_targets_and_no_more_than_their_degrees() -> None:
    arms = [
        reduce_scores(make_scores(exactly(shares))) for shares in ([0.3, 0.5, 0.6], [0.2, 0.5, 0.4], [0.4, 0.6, 0.7])
    ]
    single = reduce_scores(make_scores(exactly([0.5])))
    found = moderate([*arms, single])[-1]
    assert found.variance == pytest.approx(np.mean([float(arm.variance) for arm in arms]))
    assert 0 < found.freedom <= 6


def test_few_targets_go_by_their_own_seeds_unless_earlier_studies_tell() -> None:
    arm = reduce_scores(make_scores(exactly([0.3, 0.5, 0.6])))
    (own,) = moderate([arm])
    assert (float(own.variance), float(own.freedom)) == (pytest.approx(float(arm.variance)), 2.0)
    (told,) = moderate([arm], SeedPrior(variance=0.0064, freedom=100))
    assert float(told.variance) == pytest.approx((4 * 0.0064 + 2 * float(arm.variance)) / 6)
    assert float(told.freedom) == 6.0
    single = reduce_scores(make_scores(exactly([0.5])))
    assert float(moderate([single])[0].freedom) == 0.0


def test_two_seeds_of_a_control_that_agree_are_not_believed_where_there_are_few_targets() -> None:
    main = moderate([reduce_scores(make_scores(exactly([0.3, 0.5, 0.6])))])[0]
    pair = reduce_scores(make_scores(exactly([0.4, 0.4])))
    lent = borrow_variance(main.variance[None])
    (found,) = moderate([pair], lent)
    assert float(found.variance) == pytest.approx(float(main.variance) / 2)
    assert float(found.freedom) == 2.0


def test_copies_of_a_patients_images_add_no_certainty() -> None:
    values = [answer([0.5, 0.6, 0.7], questions=40, seed=seed) for seed in range(3)]
    once = [reduce_scores(make_scores(part)) for part in values]
    six = [reduce_scores(make_scores(np.repeat(part, 6, axis=1), 6)) for part in values]
    intervals = [
        estimate_gain([Part(scores=arms[0], seeds=moderate(arms)[0])]).to_interval(0.95) for arms in (once, six)
    ]
    assert intervals[0].low == pytest.approx(intervals[1].low)
    assert intervals[0].high == pytest.approx(intervals[1].high)


def test_one_model_that_is_asked_twice_has_one_seed_variance() -> None:
    """Seeds that are better by the same amount with and without the image have a gain that does not vary."""
    with_image, without = exactly([0.5, 0.7, 0.9]), exactly([0.3, 0.5, 0.7])
    apart = reduce_scores(make_scores(with_image - without))
    assert float(apart.variance) == pytest.approx(0, abs=1e-12)
    assert float(reduce_scores(make_scores(with_image)).variance) == pytest.approx(0.04)


def test_43_targets_claim_something_false_in_few_studies() -> None:
    """Three seeds that differ by 8 points in both arms, where the rule of crossed seeds claimed in 4 of 10 studies."""
    generator = np.random.default_rng(4)
    studies, targets, questions = 60, 43, 120
    arms: list[SeedScores] = []
    hard = generator.normal(0, 1, (studies, targets, 1, questions))
    for _ in range(2):
        odds = -0.4 + generator.normal(0, 0.4, (studies, targets, 3, 1)) + hard
        arms.append(reduce_seeds((generator.random(odds.shape) < 1 / (1 + np.exp(-odds))).astype(float)))
    seeds = [moderate_variance(arm.variance, arm.floor, arm.freedom) for arm in arms]
    gain = estimate_gain([Part(scores=arms[0], seeds=seeds[0]), Part(scores=arms[1], seeds=seeds[1], weight=-1.0)])
    assert (adjust_steps(gain.test()) <= 0.05).any(axis=-1).mean() <= 0.08
    low, high = gain.find_limits(0.95)
    assert 0.93 <= ((low <= 0) & (high >= 0)).mean() <= 0.98


def test_one_sided_p_values_are_half_the_two_sided_one_and_what_is_left() -> None:
    seeds = ModeratedVariance(variance=np.asarray(0.01), freedom=np.asarray(8.0))
    gain = estimate_gain([Part(scores=reduce_scores(make_scores(exactly([0.3, 0.5, 0.6]))), seeds=seeds)])
    assert float(gain.test("above")) == pytest.approx(float(gain.test()) / 2)
    assert float(gain.test("below")) == pytest.approx(1 - float(gain.test()) / 2)


def test_one_seed_adds_the_whole_variance_of_a_seed() -> None:
    seeds = ModeratedVariance(variance=np.asarray(0.01), freedom=np.asarray(8.0))
    (single,) = estimate_gain([Part(scores=reduce_scores(make_scores(exactly([0.5]))), seeds=seeds)]).seed_variances
    assert float(single) == 0.01


def test_a_single_row_is_one_trained_seed_unless_it_is_said_to_be_the_untouched_backbone() -> None:
    answers = make_scores(exactly([0.5]))
    assert (reduce_scores(answers).num_seeds, reduce_scores(answers, is_trained=False).num_seeds) == (1, 0)


def test_a_prior_of_less_than_one_degree_of_freedom_is_believed_where_there_is_nothing_else() -> None:
    (found,) = moderate([reduce_scores(make_scores(exactly([0.5])))], SeedPrior(variance=0.3, freedom=0.5))
    assert (float(found.variance), float(found.freedom)) == (pytest.approx(0.3), 0.5)
