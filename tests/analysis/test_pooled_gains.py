"""Mean gains over several questions: about these very targets, and about others like them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cg_lab.analysis.gain_estimates import GainEstimate
from cg_lab.analysis.pooled_gains import TargetGain, pool_gains

GAINS = (0.1, 0.4, 0.3, 0.0)


def gain(
    estimate: float,
    *models: tuple[str, ...],
    target: str = "",
    variance: float = 0.01,
    freedom: float = 4.0,
    of_seeds: float = 0.004,
) -> TargetGain:
    return TargetGain(
        target=target or f"target of {estimate}",
        gain=GainEstimate(
            estimate=np.asarray(estimate),
            variance=np.asarray(variance),
            freedom=np.asarray(freedom),
            seed_variances=(np.asarray(of_seeds),) * len(models),
        ),
        models=models,
    )


def read(found: GainEstimate | None) -> tuple[float, float, float]:
    assert found
    return float(found.estimate), float(found.variance), float(found.freedom)


def test_over_these_targets_variances_of_independent_gains_add_up() -> None:
    found = pool_gains([gain(estimate, (f"m{estimate}",)) for estimate in GAINS])
    assert read(found.over_these) == pytest.approx((0.2, 4 * 0.01 / 16, 4 * 4.0))


def test_degrees_of_freedom_are_satterthwaites() -> None:
    parts = [gain(0.1, variance=0.01, freedom=4.0), gain(0.3, variance=0.03, freedom=9.0)]
    assert read(pool_gains(parts).over_these) == pytest.approx(
        (0.2, 0.04 / 4, 0.04**2 / (0.01**2 / 4 + 0.03**2 / 9))
    )  # fmt: skip


def test_a_fine_tune_that_questions_share_moves_them_all_alike() -> None:
    """Of three, two share one: what its seeds add to both, they add together."""
    parts = [gain(0.1, ("a",), of_seeds=0.001), gain(0.2, ("a",), ("b",), of_seeds=0.004), gain(0.6, of_seeds=0.0)]
    shared = 2 * np.sqrt(0.001 * 0.004) / 9
    whole = 3 * 0.01 / 9 + shared
    squares = 3 * (0.01 / 9) ** 2 / 4 + shared**2 / 4
    assert read(pool_gains(parts).over_these) == pytest.approx((0.3, whole, whole**2 / squares))
    spread = float(np.var([0.1, 0.2, 0.6], ddof=1)) / 3
    whole = spread + shared
    assert read(pool_gains(parts).over_targets) == pytest.approx(
        (0.3, whole, whole**2 / (spread**2 / 2 + shared**2 / 4))
    )


def test_the_untouched_backbone_is_no_fine_tune_that_is_shared() -> None:
    found = pool_gains([gain(estimate, ()) for estimate in GAINS])
    assert read(found.over_these)[1] == pytest.approx(4 * 0.01 / 16)


def test_over_targets_like_these_it_is_a_t_test_on_the_targets_gains() -> None:
    found = pool_gains([gain(estimate) for estimate in GAINS]).over_targets
    assert found
    expected = stats.ttest_1samp(GAINS, 0.0)
    assert read(found)[0] == pytest.approx(0.2)
    assert float(found.test()) == pytest.approx(expected.pvalue)
    limits = expected.confidence_interval(0.95)
    assert [float(end) for end in found.find_limits(0.95)] == pytest.approx([limits.low, limits.high])


def test_fewer_than_three_targets_say_nothing_about_others() -> None:
    assert pool_gains([gain(0.1), gain(0.2)]).over_targets is None
    assert pool_gains([gain(0.1, target="a"), gain(0.2, target="a"), gain(0.3, target="b")]).over_targets is None
    assert pool_gains([gain(0.1), gain(0.2), gain(0.3)]).over_targets is not None


def test_questions_about_one_target_count_as_one_target() -> None:
    twice = [
        gain(estimate, target=name) for name, estimate in zip("aabbcc", (0.1, 0.1, 0.4, 0.4, 0.3, 0.3), strict=True)
    ]
    once = [gain(estimate) for estimate in (0.1, 0.4, 0.3)]
    assert read(pool_gains(twice).over_targets) == pytest.approx(read(pool_gains(once).over_targets))


def test_gains_without_any_variance_keep_the_fewest_degrees_of_freedom() -> None:
    parts = [
        gain(0.25, target=name, variance=0.0, freedom=freedom) for name, freedom in (("a", 3.0), ("b", 7.0), ("c", 5.0))
    ]
    found = pool_gains(parts)
    assert read(found.over_these) == (0.25, 0.0, 3.0)
    assert read(found.over_targets) == read(found.over_these)


def test_degrees_of_freedom_are_never_below_one() -> None:
    parts = [gain(0.1, variance=0.0, freedom=0.2), gain(0.2, variance=0.01, freedom=0.5)]
    assert read(pool_gains(parts).over_these)[2] == 1.0


@pytest.mark.parametrize("of_seeds", [0.0003, 0.0007, 0.0011])
def test_targets_that_gain_alike_have_the_interval_of_these_very_targets(of_seeds: float) -> None:
    """Neither nothing, as rounding makes of it, nor a gain without any doubt."""
    parts = [
        TargetGain(
            target=name,
            gain=GainEstimate(
                estimate=np.asarray(0.1),
                variance=np.asarray(0.002),
                freedom=np.asarray(6.0),
                seed_variances=(np.asarray(of_seeds),),
            ),
            models=((name,),),
        )
        for name in ("a", "b", "c")
    ]
    pooled = pool_gains(parts)
    assert pooled.over_targets is not None
    found, these = pooled.over_targets.to_interval(0.95), pooled.over_these.to_interval(0.95)
    assert (found.low, found.high, found.p_value) == (these.low, these.high, these.p_value)
    assert 0 < found.high - found.low < 0.2
