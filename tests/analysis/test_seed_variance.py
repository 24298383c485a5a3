"""Variances over seeds, one number at a time in plain Python beside arrays of several studies at once."""

from __future__ import annotations

import math
from statistics import fmean, variance

import numpy as np
import pytest
from scipy import optimize, special

from cg_lab.analysis.gain_estimates import Part, estimate_gain, estimate_gains
from cg_lab.analysis.seed_variance import (
    ModeratedVariance,
    SeedPrior,
    SeedScores,
    find_typical,
    moderate_variance,
    reduce_seeds,
)

STUDIES = {
    "much alike": ([0.004, 0.005, 0.0045], [4, 4, 4]),
    "wide apart": ([0.0001, 0.02, 0.3], [2, 4, 1]),
    "pairs of seeds": ([0.001, 0.03, 0.002], [1, 1, 1]),
    "one of a single seed": ([0.002, math.nan, 0.01], [2, 0, 1]),
    "seeds that agree": ([0.0, 0.0, 0.02], [2, 2, 2]),
    "single seeds": ([math.nan, math.nan, math.nan], [0, 0, 0]),
}
FLOORS = [0.001, 0.0005, 0.002]
VARIANCE, FREEDOM = (np.array([study[part] for study in STUDIES.values()], dtype=float) for part in (0, 1))
"""Of shape (study, target)."""


def trigamma(x: float) -> float:
    return float(special.polygamma(1, x))


def find_typical_slowly(variances: list[float], freedoms: list[float]) -> tuple[float, float]:
    """Smyth's estimate as the module's page has it, target by target."""
    told = [number for number, freedom in enumerate(freedoms) if freedom > 0]
    if not told:
        return 0.0, 0.0
    mean = fmean(variances[number] for number in told)
    if max(freedoms) < 2:
        mean *= 1 + 0.5 * math.sqrt(2 / sum(freedoms))
    logs = [math.log(max(variances[number], FLOORS[number] / 100)) for number in told]
    apart = sum((log - fmean(logs)) ** 2 for log in logs)
    explained = (len(told) - 1) * fmean(trigamma(freedoms[number] / 2) for number in told)
    beyond = (apart - explained + 6 * trigamma(4 / 2)) / (len(told) - 1 + 6)
    sought = max(beyond, trigamma(10 / 2))
    freedom = 2 * float(optimize.root_scalar(lambda half: trigamma(half) - sought, bracket=(1e-3, 100.0)).root)
    return mean, freedom if len(told) >= 3 else 0.0


@pytest.mark.parametrize(("name", "place"), [(name, place) for place, name in enumerate(STUDIES)])
def test_what_is_typical_of_each_study_is_that_of_its_own_targets(name: str, place: int) -> None:
    found = find_typical(VARIANCE, np.array(FLOORS), FREEDOM)
    mean, freedom = find_typical_slowly(*map(list, STUDIES[name]))
    assert found.variance.shape == found.freedom.shape == (len(STUDIES), 1)
    assert float(found.variance[place, 0]) == pytest.approx(mean)
    assert float(found.freedom[place, 0]) == pytest.approx(freedom, rel=1e-4)


@pytest.mark.parametrize("prior", [None, SeedPrior(variance=0.05, freedom=3.0), SeedPrior(variance=0.05, freedom=90.0)])
@pytest.mark.parametrize(("name", "place"), [(name, place) for place, name in enumerate(STUDIES)])
def test_each_target_is_drawn_towards_what_is_typical(name: str, place: int, prior: SeedPrior | None) -> None:
    found = moderate_variance(VARIANCE, np.array(FLOORS), FREEDOM, prior)
    variances, freedoms = STUDIES[name]
    typical, weight = find_typical_slowly(list(variances), list(freedoms))
    total = float(sum(freedoms))
    if weight == 0 and prior is not None:
        typical, weight, total = 0.05, min(4.0, prior.freedom), total + prior.freedom
    for target, (own, freedom) in enumerate(zip(variances, freedoms, strict=True)):
        whole = weight + freedom
        mixed = (weight * typical + (freedom * own if freedom else 0.0)) / whole if whole else 0.0
        assert float(found.variance[place, target]) == pytest.approx(max(FLOORS[target], mixed) if whole else 0.0)
        assert float(found.freedom[place, target]) == pytest.approx(min(whole, total), rel=1e-4)


VALUES = np.random.default_rng(3).integers(0, 2, (2, 4, 7)).astype(float)
"""Of shape (target, seed, group)."""


@pytest.mark.parametrize("num_groups", [2, 3, 7])
def test_answers_are_reduced_target_by_target(num_groups: int) -> None:
    values = VALUES[..., :num_groups]
    found = reduce_seeds(values)
    assert found.num_seeds == 4
    for target, rows in enumerate(values.tolist()):
        between = variance([fmean(row) for row in rows])
        within = fmean(variance(column) for column in zip(*rows, strict=True))
        noise = max(0.0, (within - between) * num_groups / (num_groups - 1)) / num_groups
        assert found.means_G[target].tolist() == pytest.approx([fmean(column) for column in zip(*rows, strict=True)])
        assert float(found.estimate[target]) == pytest.approx(fmean(map(fmean, rows)))
        assert float(found.variance[target]) == pytest.approx(between)
        assert float(found.noise[target]) == pytest.approx(noise)
        assert float(found.floor[target]) == pytest.approx(max(noise, (1.959964 / (num_groups + 1.959964**2)) ** 2))


def test_one_group_has_no_noise_that_could_be_told_from_its_seeds() -> None:
    found = reduce_seeds(VALUES[..., :1])
    assert found.noise.tolist() == [0.0, 0.0]
    assert found.floor.tolist() == pytest.approx([(1.959964 / (1 + 1.959964**2)) ** 2] * 2)


@pytest.mark.parametrize(("is_trained", "num_seeds"), [(True, 1), (False, 0)])
def test_one_seed_has_no_variance_and_the_untouched_backbone_no_seed(*, is_trained: bool, num_seeds: int) -> None:
    found = reduce_seeds(VALUES[:, :1], is_trained=is_trained)
    assert (found.num_seeds, found.freedom) == (num_seeds, 0)
    assert np.isnan(found.variance).tolist() == [True, True]
    assert found.noise.tolist() == [0.0, 0.0]
    assert found.floor.tolist() == pytest.approx([(1.959964 / (7 + 1.959964**2)) ** 2] * 2)
    assert reduce_seeds(VALUES[:, :1]).num_seeds == 1


def weigh(weight: float, target: int, *more: int, num_groups: int = 7) -> Part:
    scores = reduce_seeds(VALUES[[target, *more] if more else target, :, :num_groups])
    seeds = ModeratedVariance(variance=scores.variance, freedom=np.full_like(scores.variance, 5.0))
    return Part(scores=scores, seeds=seeds, weight=weight)


def test_gains_at_once_are_those_of_each_by_itself() -> None:
    first, second = estimate_gains([[weigh(1.0, 0), weigh(-1.0, 1)], [weigh(1.0, 1), weigh(-1.0, 0)]], 0.9, (-0.1, 0.1))
    alone = estimate_gain([weigh(1.0, 0), weigh(-1.0, 1)])
    for (gain, interval), sign in ((first, 1), (second, -1)):
        assert float(gain.estimate) == pytest.approx(sign * float(alone.estimate))
        assert float(gain.variance) == pytest.approx(float(alone.variance))
        assert float(gain.freedom) == pytest.approx(float(alone.freedom))
        assert (interval.low, interval.high) == (-0.1, 0.1)


def test_several_gains_of_one_array_have_their_own_questions() -> None:
    both = estimate_gain([weigh(1.0, 0, 1)])
    for place in (0, 1):
        alone = estimate_gain([weigh(1.0, place)])
        assert float(both.variance[place]) == pytest.approx(float(alone.variance))
        assert float(both.freedom[place]) == pytest.approx(float(alone.freedom))


def test_a_gain_over_one_group_is_estimated_and_never_resolved() -> None:
    found = estimate_gain([weigh(1.0, 0, num_groups=1)])
    assert float(found.estimate) == pytest.approx(float(VALUES[0, :, 0].mean()))
    assert (float(found.variance), float(found.freedom)) == (math.inf, 1.0)
    assert np.isfinite(estimate_gain([weigh(1.0, 0, num_groups=2)]).variance)


def test_several_gains_of_a_single_patient_each_may_be_anything() -> None:
    for gain, interval in estimate_gains([[weigh(1.0, place, num_groups=1)] for place in (0, 1)], 0.95):
        assert (float(gain.variance), float(gain.freedom)) == (np.inf, 1.0)
        assert (interval.low, interval.high) == (-1.0, 1.0)


def test_no_gain_at_all_has_a_p_value_of_1_even_where_nothing_varies() -> None:
    nothing = SeedScores(
        means_G=np.zeros(3), num_seeds=3, variance=np.array(0.0), noise=np.array(0.0), floor=np.array(0.01)
    )
    found = estimate_gain([Part(scores=nothing, seeds=None)])
    assert [float(found.test(side)) for side in ("both", "above", "below")] == pytest.approx([1.0, 0.5, 0.5])


def test_degrees_of_freedom_are_one_at_least() -> None:
    scores = reduce_seeds(VALUES[0, :, :2])
    seeds = ModeratedVariance(variance=np.array(1.0), freedom=np.array(0.5))
    assert float(estimate_gain([Part(scores=scores, seeds=seeds)]).freedom) == 1.0
