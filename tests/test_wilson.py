"""Wilson's interval against two libraries."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from cg_lab.wilson import wilson_interval


@pytest.mark.parametrize(("right", "asked"), [(0, 1), (0, 40), (7, 40), (40, 40), (120, 240), (999, 1000)])
def test_wilson_is_that_of_scipy_and_statsmodels(right: int, asked: int) -> None:
    for confidence in (0.8, 0.95, 0.99):
        ours = wilson_interval(right, asked, confidence)
        scipy = binomtest(right, asked).proportion_ci(confidence, method="wilson")
        assert ours == pytest.approx((scipy.low, scipy.high), abs=1e-12)
        assert ours == pytest.approx(proportion_confint(right, asked, 1 - confidence, "wilson"), abs=1e-12)
