"""Mixtures are ranked by what others did for other targets, and nothing is promised where nothing helps."""

import math
from dataclasses import replace

import numpy as np
import pytest

from cg_lab.planning.graph import MatGraph
from cg_lab.recommendation import rank_mixtures, ranked_mixtures
from cg_lab.recommendation.calibration import Miss, calibrate
from cg_lab.recommendation.mixture_search import MOST_SOURCES, MixtureSearch
from cg_lab.recommendation.subset_relations import relate_subsets
from cg_lab.recommendation.transfer_model import Observations, TransferModel, describe_mixtures
from tests.planning.cases import make_subset
from tests.recommendation.worlds import (
    SAMPLES,
    helps_nowhere,
    make_evidence,
    make_relations,
    needs_all_elements,
    observe,
)

RELATIONS = make_relations()
NOTHING = Observations(
    counts_NS=np.zeros((0, 12), np.int64),
    targets_N=np.zeros(0, np.int64),
    skills_N=np.zeros(0),
    seeds_N=np.zeros(0, np.int64),
)


def rank(observed: Observations, target: str = "a-x-k", num_samples: int = SAMPLES, most: int = 5):  # noqa: ANN201
    evidence = make_evidence(observed)
    return rank_mixtures(RELATIONS, evidence, target, num_samples, most=most, confidence=0.95)


@pytest.fixture(scope="module")
def composing() -> Observations:
    return observe(RELATIONS, needs_all_elements)


def test_where_all_elements_are_needed_a_mixture_that_shows_them_comes_first(composing: Observations) -> None:
    found = rank(composing.hide([0]))
    assert found.outlook == "likely"
    for mixture in found.mixtures:
        assert all(part.subsets for part in mixture.shown)
    first = found.mixtures[0]
    assert first.low is not None
    assert first.high is not None
    assert first.low < 1.0 <= first.high + 0.02
    assert first.accuracy == pytest.approx(1.0, abs=0.15)


def test_neither_the_target_nor_its_like_is_in_any_mixture(composing: Observations) -> None:
    found = rank(composing.hide([0]), most=10_000)
    assert not any("a-x-k" in mixture.subsets for mixture in found.mixtures)
    assert {len(mixture.subsets) for mixture in found.mixtures} == {1, 2, 3, 4, 5}


def test_where_nothing_helps_nothing_is_promised() -> None:
    observed = observe(RELATIONS, helps_nowhere)
    for target in RELATIONS.graph.names(RELATIONS.graph.everything):
        assert rank(observed.hide([RELATIONS.graph.index[target]]), target).outlook == "unlikely"


def test_without_fine_tunes_the_order_is_that_of_elements_and_no_number_is_told() -> None:
    found = rank(NOTHING)
    assert found.outlook == "unknown"
    assert found.calibration is None
    assert all(part.subsets for part in found.mixtures[0].shown)
    assert {mixture.accuracy for mixture in found.mixtures} == {None}


def test_samples_are_spread_evenly_and_add_up_to_the_budget(composing: Observations) -> None:
    found = rank(composing.hide([0]), num_samples=50)
    for mixture in found.mixtures:
        assert sum(mixture.samples) == 50
        assert max(mixture.samples) - min(mixture.samples) <= 1


def test_hiding_a_target_leaves_out_its_questions_and_all_that_was_trained_on_it(composing: Observations) -> None:
    hidden = composing.hide([3])
    assert 3 not in hidden.targets_N
    assert not hidden.counts_NS[:, 3].any()
    kept = (composing.targets_N != 3) & (composing.counts_NS[:, 3] == 0)
    assert len(hidden.skills_N) == kept.sum() > 0


def test_what_was_found_about_the_target_changes_nothing_once_it_is_hidden(composing: Observations) -> None:
    skills_N = np.where(composing.targets_N == 0, 5.0, composing.skills_N)
    told = Observations(
        counts_NS=composing.counts_NS, targets_N=composing.targets_N, skills_N=skills_N, seeds_N=composing.seeds_N
    )
    assert rank(told.hide([0])) == rank(composing.hide([0]))


def test_a_held_out_targets_choice_is_compared_with_the_best_that_was_tried(composing: Observations) -> None:
    known = calibrate(RELATIONS, composing)
    assert known is not None
    assert known.num_targets == 12
    assert known.regret < 0.1 < known.random_regret
    assert known.regret < known.nearest_regret


def test_all_related_together_come_first_where_they_did_better_than_the_ranking(
    composing: Observations, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, known = rank(composing.hide([0])), calibrate(RELATIONS, composing.hide([0]))
    assert known is not None
    assert not known.prefers_all_related
    monkeypatch.setattr(ranked_mixtures, "calibrate", lambda *_: replace(known, prefers_all_related=True))
    after = rank(composing.hide([0]))
    assert after.mixtures[0] == after.all_related == before.all_related
    assert after.mixtures[1:] == before.mixtures[:-1]
    assert {name[0] for name in after.mixtures[0].subsets} == {"a", "b", "c"}
    assert all({*name.split("-")} & {"a", "x", "k"} for name in after.mixtures[0].subsets)


def test_what_is_nearest_to_all_related_is_found_by_counting() -> None:
    def half_random(relations, mixture, target) -> float:  # noqa: ANN001
        return float(np.random.default_rng([*mixture, target]).uniform(0, 1))

    observed = observe(RELATIONS, half_random)
    known = calibrate(RELATIONS, observed)
    assert known is not None
    regrets = []
    for target, own in enumerate(RELATIONS.graph.subsets):
        related = {
            place for place, part in enumerate(RELATIONS.graph.subsets) if part is not own and {*part.own} & {*own.own}
        }
        asked = observed.keep(observed.targets_N == target)
        away = [len(related ^ {int(place) for place in np.flatnonzero(row)}) for row in asked.counts_NS]
        regrets.append(asked.skills_N.max() - asked.skills_N[away.index(min(away))])
    assert known.related_regret == pytest.approx(np.mean(regrets))
    assert known.prefers_all_related == (known.related_regret < known.regret)


def test_an_interval_for_one_more_target_is_students() -> None:
    low, high = Miss(num_targets=4, mean=0.1, deviation=0.2).bound(0.5, 0.95)
    width = 3.182446305 * 0.2 * math.sqrt(1.25)  # t table, 3 degrees of freedom
    assert (low, high) == pytest.approx((0.6 - width, 0.6 + width))


def test_intervals_cover_targets_that_were_not_looked_at() -> None:
    def half_random(relations, mixture, target) -> float:  # noqa: ANN001
        luck = np.random.default_rng([*mixture, target, 7]).normal(0, 0.15)
        return 0.5 * needs_all_elements(relations, mixture, target) + luck

    observed = observe(RELATIONS, half_random)
    covered = []
    for target in range(12):
        rest = observed.hide([target])
        known = calibrate(RELATIONS, rest)
        assert known is not None
        asked = observed.keep(observed.targets_N == target)
        predicted_N = TransferModel(RELATIONS, rest).predict(RELATIONS, asked.counts_NS, asked.targets_N)
        first = int(np.argmax(predicted_N))
        low, high = known.accuracy.bound(float(predicted_N[first]), 0.95)
        covered.append(low <= asked.skills_N[first] <= high)
    assert np.mean(covered) >= 0.8


def test_the_best_pair_is_found_by_trying_every_one(composing: Observations) -> None:
    model = TransferModel(RELATIONS, composing.hide([0]))

    def score(counts_MS):  # noqa: ANN001, ANN202
        return model.predict(RELATIONS, counts_MS, np.zeros(len(counts_MS), np.int64))

    search = MixtureSearch(RELATIONS, SAMPLES, score)
    allowed = RELATIONS.list_allowed("a-x-k")
    pairs = [(first, second) for first in allowed for second in allowed if first < second]
    found = [mixture for mixture in search.search(allowed, 2) if len(mixture.subsets) == 2]
    assert len(found) == len(pairs)
    assert found[0].score == max(search.score([pair])[0].score for pair in pairs)


def test_features_of_a_mixture_are_what_one_counts_by_hand() -> None:
    names = RELATIONS.graph.index
    counts_NS = np.zeros((1, 12), np.int64)
    counts_NS[0, [names["a-y-k"], names["b-x-l"]]] = 24, 8
    described = describe_mixtures(RELATIONS, counts_NS, np.array([names["a-x-k"]]))[0]
    modality, area, task = 0.75, 0.25, 0.75
    effective = -math.log(0.75**2 + 0.25**2)
    expected = [(modality + area + task) / 3, 1, 1, 0.75, 1, effective, 5]
    assert described.tolist() == pytest.approx(expected)


def test_a_combination_that_would_help_is_told() -> None:
    relations = make_relations()
    graph = relations.graph
    kept = tuple(subset for subset in graph.subsets if subset.name not in {"a-y-k", "a-x-l", "a-y-l"})
    fewer = relate_subsets(MatGraph(kept, graph.factors))
    observed = observe(fewer, needs_all_elements)
    place = fewer.graph.index["a-x-k"]
    found = rank_mixtures(fewer, make_evidence(observed.hide([place])), "a-x-k", SAMPLES, most=3, confidence=0.95)
    assert found.useful
    assert all(part.elements[0] == "A" for part in found.useful)


def test_of_a_large_catalogue_only_the_best_sources_are_mixed() -> None:
    cells = [make_subset((first, second, "K")) for first in map(str, range(20)) for second in map(str, range(10))]
    graph = MatGraph(tuple(sorted(cells, key=lambda subset: subset.name)), ("modality", "area", "task"))
    relations = relate_subsets(graph)

    def score(counts_MS):  # noqa: ANN001, ANN202
        return (counts_MS > 0) @ -np.arange(200.0)

    found = MixtureSearch(relations, SAMPLES, score).search(relations.list_allowed(graph.subsets[0].name), 3)
    mixed = {name for mixture in found if len(mixture.subsets) > 1 for name in mixture.subsets}
    assert mixed == {subset.name for subset in graph.subsets[1 : MOST_SOURCES + 1]}
