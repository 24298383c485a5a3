"""Pooled gains, curves, slopes, calibration, seen and unseen pairs: against other implementations and by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols

from cg_lab.analysis.calibration import Bin, _measure, find_error
from cg_lab.analysis.curves import find_needed, fit_line
from cg_lab.analysis.pairs import Answers, measure_curve, read_answer, trace_bias
from cg_lab.arms import Arm


def test_slopes_are_those_of_scipy() -> None:
    points = [(1.0, 0.3), (1.0, 0.25), (2.0, 0.2), (2.0, 0.22), (3.0, 0.02)]
    found = fit_line([(*point, str(number)) for number, point in enumerate(points)], 0.95)
    expected = stats.linregress(*zip(*points, strict=True))
    assert found is not None
    assert found.estimate == pytest.approx(expected.slope)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.high - found.estimate == pytest.approx(stats.t.ppf(0.975, 3) * expected.stderr)


def test_targets_that_stand_at_several_levels_have_lines_of_their_own_height() -> None:
    points = [(1.0, 0.3, "a"), (2.0, 0.25, "a"), (3.0, 0.22, "a"), (1.0, 0.8, "b"), (2.0, 0.78, "b"), (3.0, 0.7, "b")]
    found = fit_line(points, 0.95)
    fitted = ols("y ~ x + C(t)", pd.DataFrame(points, columns=["x", "y", "t"])).fit()
    assert found is not None
    assert found.estimate == pytest.approx(fitted.params["x"])
    assert (found.low, found.high) == pytest.approx(tuple(fitted.conf_int().loc["x"]))
    assert fit_line(points[:2], 0.95) is None
    assert fit_line([(1.0, 0.1, "a"), (1.0, 0.2, "b"), (1.0, 0.3, "c")], 0.95) is None


def test_what_another_arm_needs_is_read_off_its_first_crossing() -> None:
    levels = np.array([0.0, 100.0, 200.0, 400.0])
    curve = np.array([[0.2, 0.5, 0.4, 0.8]])
    for wanted, expected in ((0.1, 0.0), (0.35, 50.0), (0.5, 100.0), (0.6, 300.0), (0.9, math.inf)):
        assert find_needed(np.array([wanted]), curve, levels)[0] == pytest.approx(expected)


def test_calibration_error_is_the_distance_of_accuracy_from_confidence_weighted_by_answers() -> None:
    sure = np.array([0.95, 0.92, 0.97, 0.55, 0.51])
    right = np.array([1.0, 0.0, 1.0, 0.0, 1.0])
    found = _measure(Arm.RELATED, sure, right, 0.95)
    assert [part.num_answers for part in found.bins] == [2, 3]
    assert found.error == pytest.approx(0.4 * abs(0.5 - 0.53) + 0.6 * abs(2 / 3 - 0.94666667), abs=1e-6)
    perfect = Bin(num_answers=5, confidence=0.7, accuracy=0.7, low=0.0, high=1.0)
    assert find_error([perfect]) == 0


def test_a_bias_towards_unseen_pairs_traces_what_adding_it_to_scores_does() -> None:
    generator = np.random.default_rng(5)
    unseen = [False, False, False, True, True]
    scores = generator.normal(0, 1, (60, 5))
    right = generator.integers(0, 5, 60)
    rows = [read_answer(row.tolist(), unseen, int(place)) for row, place in zip(scores, right, strict=True)]
    is_unseen, margin, is_right = (np.array(column) for column in zip(*rows, strict=True))
    answers = Answers(is_unseen_Q=is_unseen, margin_Q=margin, is_right_Q=is_right)
    curve = trace_bias(answers)
    seen_of = {round(float(u), 9): [] for u, _ in curve}
    for u, s in curve:
        seen_of[round(float(u), 9)].append(float(s))
    for bias in (-5.0, -0.7, 0.0, 0.3, 1.1, 5.0):
        chosen = (scores + np.where(unseen, bias, 0)).argmax(axis=1)
        hit = chosen == right
        on_unseen, on_seen = hit[is_unseen].mean(), hit[~is_unseen].mean()
        assert any(s == pytest.approx(on_seen) for s in seen_of[round(float(on_unseen), 9)])
    found = measure_curve(curve)
    assert found["seen"] == pytest.approx(curve[:, 1].max())
    assert found["auc"] == pytest.approx(np.trapezoid(curve[:, 1], curve[:, 0]))
    both = [2 * u * s / (u + s) for u, s in curve if u + s > 0]
    assert found["harmonic_mean"] == pytest.approx(max(both))


def test_a_perfect_model_has_area_one() -> None:
    answers = Answers(
        is_unseen_Q=np.array([False, True]), margin_Q=np.array([1.0, -1.0]), is_right_Q=np.array([True, True])
    )
    assert measure_curve(trace_bias(answers)) == {"seen": 1.0, "unseen": 1.0, "harmonic_mean": 1.0, "auc": 1.0}
