"""What an untouched backbone tells of subsets: counted on made-up features of which it is known what they hold."""

from dataclasses import replace

import numpy as np
import pytest

from cg_lab.recommendation.calibration import calibrate
from cg_lab.recommendation.mixture_scores import score_structure
from cg_lab.recommendation.ranked_mixtures import prefer_validated, rank_mixtures, show_views
from cg_lab.recommendation.subset_features import COLUMNS, SubsetFeatures, add_features, compute_logme
from cg_lab.recommendation.transfer_model import TransferModel, describe_mixtures
from cg_lab.recommendation.validation_answers import ValidatedMixture
from tests.recommendation.worlds import SAMPLES, helps_nowhere, make_evidence, make_relations, observe

RELATIONS = make_relations()
NAMES = tuple(RELATIONS.graph.index)


def see(name: str) -> SubsetFeatures:
    """Let the first feature say the label, the others the first element and noise."""
    random = np.random.default_rng(NAMES.index(name))
    labels = ("no", "yes") * 8
    image_ND = random.normal(0, 0.1, (16, 5))
    image_ND[:, 0] += np.array([label == "yes" for label in labels])
    image_ND[:, 1 + "abc".index(name[0])] += 3
    return SubsetFeatures(image_ND=image_ND, prompt_ND=random.normal(0, 0.1, (16, 2)), labels=labels)


@pytest.fixture(scope="module")
def seen() -> dict[str, SubsetFeatures]:
    return {name: see(name) for name in NAMES}


def test_labels_that_features_tell_have_more_evidence_than_labels_dealt_anew(seen: dict[str, SubsetFeatures]) -> None:
    part = seen["a-x-k"]
    dealt = tuple(np.random.default_rng(0).permutation(part.labels).tolist())
    assert compute_logme(part.joined_ND, part.labels) > compute_logme(part.joined_ND, dealt) + 0.5


def test_an_element_that_shows_is_read_off_subsets_that_were_not_learned_from(seen: dict[str, SubsetFeatures]) -> None:
    added = add_features(RELATIONS, seen, sees_target=False)
    decoded_ST = added.extra_STK[..., COLUMNS.index("decoded")]
    source, same, other = (NAMES.index(name) for name in ("a-x-k", "a-y-l", "b-y-l"))
    assert decoded_ST[source, same] == pytest.approx(1 / 3), "of three factors the first is shared, and always right"
    assert decoded_ST[source, other] == 0


def test_a_target_is_like_sources_of_its_element_and_its_labels_are_read_off(seen: dict[str, SubsetFeatures]) -> None:
    added = add_features(RELATIONS, seen, sees_target=True)
    similar_ST, probed_ST = (added.extra_STK[..., COLUMNS.index(name)] for name in ("similar", "probed"))
    target = NAMES.index("a-x-k")
    near, far = NAMES.index("a-y-l"), NAMES.index("b-y-l")
    assert similar_ST[near, target] > 0.5 > similar_ST[far, target]
    assert probed_ST[near, target] > 0.5


def test_without_images_of_the_target_nothing_that_takes_some_is_told(seen: dict[str, SubsetFeatures]) -> None:
    rest = {name: part for name, part in seen.items() if name != "a-x-k"}
    added = add_features(RELATIONS, rest, sees_target=False)
    assert added.extra_STK.shape[-1] == 2
    other = add_features(RELATIONS, {**rest, "a-x-k": seen["c-y-l"]}, sees_target=True)
    again = add_features(RELATIONS, rest, sees_target=False)
    assert other.extra_STK.shape[-1] == 4
    assert (added.extra_STK == again.extra_STK).all()


def test_features_count_in_the_order_without_fine_tunes_and_never_in_the_regression(
    seen: dict[str, SubsetFeatures],
) -> None:
    added = add_features(RELATIONS, seen, sees_target=True)
    observed = observe(RELATIONS, helps_nowhere)
    counts_NS, targets_N = observed.counts_NS[:40], observed.targets_N[:40]
    plain, more = (describe_mixtures(part, counts_NS, targets_N) for part in (RELATIONS, added))
    assert not np.allclose(score_structure(plain), score_structure(more))
    model = TransferModel(RELATIONS, observed)
    assert (model.predict(RELATIONS, counts_NS, targets_N) == model.predict(added, counts_NS, targets_N)).all()


def test_the_order_by_features_comes_first_only_where_held_out_targets_lose_less_by_it() -> None:
    """A world in which what is probed decides, and elements say nothing."""
    random = np.random.default_rng(1)
    probed_ST = random.uniform(0, 1, (12, 12))
    extra_STK = np.stack([np.zeros((12, 12)), np.zeros((12, 12)), np.zeros((12, 12)), probed_ST], axis=-1)
    told = replace(RELATIONS, extra_STK=extra_STK)
    observed = observe(told, lambda _, mixture, target: float(probed_ST[list(mixture), target].mean() ** 8), noise=0.0)
    known, blind = calibrate(told, observed), calibrate(RELATIONS, observed)
    assert known is not None
    assert blind is not None
    assert known.prefers_structure
    assert not blind.prefers_structure, "without a backbone that was asked, the order by elements alone never does"
    found = rank_mixtures(told, make_evidence(observed.hide([0])), NAMES[0], SAMPLES, most=3, confidence=0.95)
    best = max(range(1, 12), key=lambda source: probed_ST[source, 0])
    assert NAMES[best] in found.mixtures[0].subsets


def test_what_is_seen_of_the_first_mixture_is_told(seen: dict[str, SubsetFeatures]) -> None:
    evidence = make_evidence(observe(RELATIONS, helps_nowhere).hide([0]))
    added = add_features(RELATIONS, {name: seen[name] for name in NAMES[1:]}, sees_target=False)
    found = show_views(added, rank_mixtures(added, evidence, NAMES[0], SAMPLES, most=1, confidence=0.95))
    assert tuple(view.subset for view in found.source_views) == found.mixtures[0].subsets
    assert {view.similar for view in found.source_views} == {None}


def test_help_is_likely_where_even_the_lower_end_of_validation_lies_above_a_guess() -> None:
    evidence = make_evidence(observe(RELATIONS, helps_nowhere).hide([0]))
    found = rank_mixtures(RELATIONS, evidence, NAMES[0], SAMPLES, most=1, confidence=0.95)
    assert found.outlook == "unlikely"
    one = ValidatedMixture(subsets=("b-x-k",), samples=(96,), num_models=1, accuracy=0.8, low=0.6, high=0.9)
    assert prefer_validated(found, (one,)).outlook == "likely"
    assert prefer_validated(found, (replace(one, low=found.chance),)).outlook == "unlikely"
    assert prefer_validated(found, ()) is found
