"""Each rule of validity fires where it should, names the cell, and says what would repair it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cg_lab.arms import Arm
from cg_lab.catalog import Overlap
from cg_lab.errors import UserError
from cg_lab.mat import Kind, Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.validity import (
    VALIDITY_RULES,
    Claim,
    Coverage,
    Proof,
    Prover,
    check_proof,
    compute_detectable_gain,
)
from tests.planning.cases import cube, make_catalog, make_subset, plan_one, with_design

GOOD = Proof(
    target_absent=True,
    twins=(),
    coverage=tuple(
        Coverage(factor=factor, value=value, subsets=("s",))
        for factor, value in (("modality", "CT"), ("area", "Lung"), ("task", "Mass"))
    ),
    shared_elements=3,
    num_train=64,
    budget=64,
    num_test=10,
    chance=0.5,
    detectable=0.4,
    labels_shared=(),
    same_options=(),
    same_datasets=(),
    overlaps=0,
)
RELATED = Claim(arm=Arm.RELATED, variant="", is_covered=True, sees_target=False)
UNCOVERED = (replace(GOOD.coverage[0], subsets=()), *GOOD.coverage[1:])
CASES: dict[str, tuple[dict[str, Any], Claim, str]] = {
    "target absent": ({"target_absent": False}, RELATED, "has the target itself"),
    "no twin": ({"target_absent": False, "twins": ("other",)}, RELATED, "other, which counts as the target"),
    "elements covered": ({"coverage": UNCOVERED}, RELATED, "no training subset shows modality CT"),
    "unrelated shares nothing": ({"shared_elements": 1}, replace(RELATED, arm=Arm.UNRELATED), "shows CT"),
    "without means without": ({}, replace(RELATED, arm=Arm.WITHOUT, variant="task"), "should do without"),
    "equal budgets": ({"num_train": 60}, RELATED, "60 training samples where 64 were planned"),
    "sides apart": ({"overlaps": 2}, RELATED, "2 samples, image hashes or groups"),
    "something to ask": ({"num_test": 0}, RELATED, "no test samples"),
}


def test_a_good_proof_is_admitted() -> None:
    check_proof("cell", GOOD, RELATED)


@pytest.mark.parametrize("name", [rule.name for rule in VALIDITY_RULES])
def test_each_rule_fires_alone_and_says_what_would_repair_it(name: str) -> None:
    changes, claim, text = CASES[name]
    with pytest.raises(UserError) as caught:
        check_proof("a/related/seed0", replace(GOOD, **changes), claim)
    lines = str(caught.value).splitlines()
    rule = next(rule for rule in VALIDITY_RULES if rule.name == name)
    assert lines[0] == "cell a/related/seed0 is not valid:"
    assert len(lines) == 2
    assert name in lines[1]
    assert text in lines[1]
    assert rule.repair in lines[1]


def test_what_an_arm_does_by_intent_is_no_fault() -> None:
    check_proof("c", replace(GOOD, target_absent=False), replace(RELATED, arm=Arm.CEILING, sees_target=True))
    check_proof("c", replace(GOOD, coverage=UNCOVERED), replace(RELATED, is_covered=False))


def make_prover(*subsets: Subset, strict: bool = True, **more: Any) -> tuple[Prover, MatGraph]:
    catalog = make_catalog(list(subsets), **more)
    graph = MatGraph(catalog.subsets, catalog.factors, strict=strict)
    return Prover(catalog, graph), graph


TARGET = make_subset(("CT", "Lung", "Mass"))
TWIN = replace(make_subset(("CT", "Lung", "State")), elements=(("CT",), ("Lung",), ("State", "Mass")))
OTHER = make_subset(("US", "Brain", "Mass"), datasets=("9",))


def prove(prover: Prover, graph: MatGraph, *training: Subset, target: Subset = TARGET) -> Proof:
    members = graph.gather(subset.name for subset in training)
    return prover.prove(target, target.own, members, asked=target, num_train=40, budget=40)


def test_a_subset_that_shares_every_element_by_a_tag_is_a_twin_unless_only_equal_ones_count() -> None:
    assert prove(*make_prover(TARGET, TWIN, OTHER), TWIN).twins == (TWIN.name,)
    assert prove(*make_prover(TARGET, TWIN, OTHER, strict=False), TWIN).twins == ()


def test_coverage_says_by_whom() -> None:
    proof = prove(*make_prover(TARGET, TWIN, OTHER), OTHER)
    assert [part.subsets for part in proof.coverage] == [(), (), (OTHER.name,)]
    assert proof.shared_elements == 1


def test_overlaps_between_the_sides_are_counted_and_unknown_where_there_are_no_samples() -> None:
    overlap = Overlap(train=OTHER.name, test=TARGET.name, count=3, what="image hashes")
    assert prove(*make_prover(TARGET, OTHER, overlaps=(overlap,)), OTHER).overlaps == 3
    assert prove(*make_prover(TARGET, OTHER, overlaps=None), OTHER).overlaps is None


def test_a_plan_with_copies_on_both_sides_is_refused() -> None:
    first = cube().subsets[0].name
    overlaps = tuple(Overlap(train=subset.name, test=first, count=1, what="groups") for subset in cube().subsets[1:])
    with pytest.raises(UserError, match="sides apart: .* stand in its training and test sets both; remove them"):
        plan_one(with_design("all_related"), make_catalog(list(cube().subsets), overlaps=overlaps))


def test_labels_option_sets_and_data_sets_in_common_are_told() -> None:
    target = replace(TARGET, datasets=("9", "8"))
    proof = prove(*make_prover(target, OTHER), OTHER, target=target)
    assert proof.labels_shared == ("no", "yes")
    assert proof.same_options == (OTHER.name,)
    assert proof.same_datasets == ("9",)


def test_boxes_have_no_chance_level_and_no_detectable_gain() -> None:
    boxes = replace(OTHER, num_options=0, labels=(), kind=Kind.DETECTION)
    proof = prove(*make_prover(TARGET, boxes), TARGET, target=boxes)
    assert proof.chance == 0
    assert proof.detectable is None


def test_the_detectable_gain_has_the_power_that_it_claims() -> None:
    """By simulation: a model that is better than chance by that gain is found in about 80 % of all test sets."""
    import numpy as np

    gain = compute_detectable_gain(0.25, 400)
    right = np.random.default_rng(0).binomial(400, 0.25 + gain, size=4000) / 400
    found = (right - 0.25) / np.sqrt(0.25 * 0.75 / 400) > 1.96
    assert 0.75 < found.mean() < 0.88
