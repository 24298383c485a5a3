"""The crossed bootstrap, resample by resample, and what is read off replicates."""

from __future__ import annotations

import numpy as np
import pytest

from cg_lab.analysis import bootstrap
from cg_lab.analysis.bootstrap import (
    Interval,
    Resampling,
    Scores,
    draw_groups,
    list_parts,
    resample_means,
    subtract,
    summarize,
)

GROUPS = ("a", "b", "a", "c", "a", "b", "d")


def make_scores(correct_SQ: np.ndarray, groups: tuple[str, ...] = GROUPS) -> Scores:
    return Scores(questions=tuple(map(str, range(len(groups)))), groups=groups, correct_SQ=correct_SQ)


@pytest.mark.parametrize("num_resamples", [40, 700])  # 500 are drawn at a time
def test_a_replicate_is_the_mean_over_drawn_seeds_of_the_mean_over_drawn_groups_questions(num_resamples: int) -> None:
    correct_SQ = np.random.default_rng(7).random((3, 7))
    resampling = Resampling(num_resamples=num_resamples, seed=5, confidence=0.95)
    drawn_RG = np.random.default_rng(5).multinomial(4, [0.25] * 4, size=num_resamples)
    drawn_RS = np.random.default_rng([5, 3]).multinomial(3, [1 / 3] * 3, size=num_resamples)
    expected = []
    for drawn_G, drawn_S in zip(drawn_RG, drawn_RS, strict=True):
        times = dict(zip("abcd", drawn_G, strict=True))
        questions = [place for place, group in enumerate(GROUPS) for _ in range(times[group])]
        seeds = [seed for seed, count in enumerate(drawn_S) for _ in range(count)]
        expected.append(np.mean([correct_SQ[seed, questions].mean() for seed in seeds]))
    (found,) = resample_means([make_scores(correct_SQ)], resampling)
    assert found == pytest.approx(np.array(expected))


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_replicates_are_the_same_in_however_small_steps_memory_makes_them_be_drawn(
    num_seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [make_scores(np.random.default_rng(seed).random((num_seeds, 7))) for seed in (7, 8)]
    resampling = Resampling(num_resamples=40, seed=6, confidence=0.95)
    with monkeypatch.context() as patch:
        patch.setattr(bootstrap, "FLOATS_AT_ONCE", 50)
        in_steps = resample_means(scores, resampling)
    draw_groups.cache_clear()
    assert np.array(in_steps) == pytest.approx(np.array(resample_means(scores, resampling)))


def test_resamples_are_drawn_in_parts_that_fit_in_memory_one_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "FLOATS_AT_ONCE", 7)
    five = Resampling(num_resamples=5, seed=0, confidence=0.95)
    assert list(list_parts(five, 3)) == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert list(list_parts(five, 8)) == [slice(place, place + 1) for place in range(5)]


def test_draws_of_groups_are_held_in_two_bytes_each() -> None:
    assert draw_groups(4, Resampling(num_resamples=3, seed=0, confidence=0.95)).itemsize == 2


def test_an_interval_is_read_off_the_replicates_quantiles_and_a_replicate_at_zero_counts_on_both_sides() -> None:
    replicates = np.arange(-1.0, 19.0)  # twenty, of which one lies below zero and one at it
    found = summarize(0.5, replicates, 0.5)
    assert found == Interval(estimate=0.5, low=3.75, high=13.25, p_value=pytest.approx(2 * 3 / 21))
    assert summarize(0.5, -replicates, 0.5).p_value == pytest.approx(2 * 3 / 21)
    assert summarize(0.0, np.array([-1.0, 0.0, 0.0, 1.0]), 0.5).p_value == 1.0


def test_arms_are_paired_seed_by_seed_where_they_have_as_many_and_not_where_they_have_other_numbers() -> None:
    three = make_scores(np.eye(3, 7))
    assert not subtract(three, three).correct_SQ.any()
    with pytest.raises(AssertionError):
        subtract(three, make_scores(np.eye(2, 7)))


def test_one_row_is_paired_with_each_of_three_seeds() -> None:
    first, second = np.eye(3, 7), np.ones((1, 7))
    assert subtract(make_scores(first), make_scores(second)).correct_SQ.tolist() == (first - 1).tolist()
    assert subtract(make_scores(second), make_scores(first)).groups == GROUPS
