"""What a combination does beyond its sources: over the best of them, and on log-odds."""

from __future__ import annotations

import numpy as np
import pytest

from cg_lab.analysis.arm_estimates import ArmEstimates, Key
from cg_lab.analysis.bootstrap import Interval, Scores
from cg_lab.analysis.gain_estimates import GainEstimate, Part
from cg_lab.analysis.seed_variance import ModeratedVariance, SeedScores, reduce_seeds
from cg_lab.analysis.stacking import Stack
from cg_lab.analysis.synergy import combine_sources, find_alone, find_synergy, measure_interaction
from cg_lab.arms import Arm
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


MAIN, UNTOUCHED, UNRELATED = ((arm, "", "t") for arm in (Arm.RELATED, Arm.ZERO_SHOT, Arm.UNRELATED))
A, B = (Arm.ALONE, "a", "t"), (Arm.ALONE, "b", "t")
STACK = Stack(seeds=(), scores=Scores(questions=("q",), groups=("q",), correct_SQ=np.ones((1, 1))))


def compare(gains: dict[tuple[Key, Key], tuple[float, float]]) -> ArmEstimates:
    """Give arms whose gains over each other have these estimates and lower ends."""
    keys = [*dict.fromkeys(key for pair in gains for key in pair)]
    return ArmEstimates(
        stacks=dict.fromkeys([*keys, (Arm.UNRELATED, "more", "t"), (Arm.UNRELATED, "", "another target")], STACK),
        parts={key: Part(scores=answer(5), seeds=None) for key in keys},
        differences={},
        main=MAIN,
        accuracies={},
        gains={
            pair: (gain(estimate, 0.1), Interval(estimate=estimate, low=low, high=1.0, p_value=0.5))
            for pair, (estimate, low) in gains.items()
        },
    )


def find_sufficient(gains: dict[tuple[Key, Key], tuple[float, float]]) -> str:
    arms = compare(gains)
    return combine_sources(arms, find_alone(arms.stacks), 0.95).sufficient


GOOD: dict[tuple[Key, Key], tuple[float, float]] = {
    (key, control): (0.3, 0.1) for key in (A, B) for control in (UNTOUCHED, UNRELATED)
}


def test_the_source_that_is_nearest_to_the_combination_is_enough() -> None:
    assert find_sufficient({(MAIN, A): (0.2, -0.1), (MAIN, B): (0.1, 0.0), **GOOD}) == "b"
    assert find_sufficient({(MAIN, A): (0.1, -0.1), (MAIN, B): (0.2, 0.0), **GOOD}) == "a"


def test_a_source_that_the_combination_beats_is_not_enough() -> None:
    assert find_sufficient({(MAIN, A): (0.2, 0.01), (MAIN, B): (0.3, 0.02), **GOOD}) == ""


@pytest.mark.parametrize("control", [UNTOUCHED, UNRELATED])
def test_a_source_that_does_not_beat_each_control_is_not_enough(control: Key) -> None:
    assert find_sufficient({(MAIN, A): (0.1, -0.1), **GOOD, (A, control): (0.2, 0.0)}) == ""


def test_without_controls_no_source_is_enough() -> None:
    assert find_sufficient({(MAIN, A): (0.1, -0.1)}) == ""


def test_one_source_interacts_with_nothing() -> None:
    one = compare({(MAIN, A): (0.1, 0.05), **GOOD})
    two = compare({(MAIN, A): (0.1, 0.05), (MAIN, B): (0.1, 0.05), **GOOD})
    assert combine_sources(one, find_alone(one.stacks), 0.95).interaction is None
    assert combine_sources(two, find_alone(two.stacks), 0.95).interaction is not None
