"""Each rule of validity is broken by a mixture that is wrong, alone, and says what would repair it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cg_lab.arms import Arm
from cg_lab.catalog import Catalog, Overlap
from cg_lab.errors import UnaskableError, UserError
from cg_lab.mat import Kind, Subset
from cg_lab.planning.compile import Compiler, Draft
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Training
from cg_lab.planning.proof import Proof, Prover, Split, compute_detectable_gain, is_askable
from cg_lab.planning.validity import VALIDITY_RULES
from cg_lab.planning.work import Protocol
from cg_lab.study import Study
from tests.planning.cases import BACKBONE, STUDY, make_catalog, make_subset

TARGET = make_subset(("CT", "Lung", "Mass"))
BRAIN = make_subset(("CT", "Brain", "Mass"))
MRI = make_subset(("MRI", "Lung", "Mass"))
FAR = make_subset(("US", "Breast", "Level"))
NEAR = make_subset(("US", "Breast", "Mass"))
TWIN = replace(make_subset(("CT", "Lung", "State")), elements=(("CT",), ("Lung",), ("State", "Mass")))
CATALOG = make_catalog([TARGET, BRAIN, MRI, FAR, NEAR, TWIN])


def train(arm: Arm, *subsets: Subset, num: int = 40, **more: Any) -> Training:
    return Training(arm=arm, subsets=tuple(sorted(part.name for part in subsets)), num_samples=num, **more)


def compile_all(
    *trainings: Training,
    catalog: Catalog = CATALOG,
    strict: bool = True,
    target: Subset = TARGET,
    study: Study = STUDY,
    **more: Any,
) -> list[Draft]:
    members = tuple(part for part in catalog.subsets if part.kind is not Kind.FILLER)
    graph = MatGraph(members, catalog.factors, strict=strict)
    settings: dict[str, Any] = {"view": target.own, "fully_covered": True, **more}
    contrast = Contrast(id="q", design="test", target=target.name, trainings=trainings, unrelated=(), **settings)
    return list(Compiler(study, catalog, graph, Prover(catalog, graph), BACKBONE).compile(contrast))


def proof_of(arm: Arm, drafts: list[Draft]) -> Proof:
    return next(draft.cell.proof for draft in drafts if draft.cell.arm is arm)


GOOD = (train(Arm.UNRELATED, FAR), train(Arm.RELATED, BRAIN, MRI), train(Arm.CEILING, TARGET))
WRONG: dict[str, tuple[Training, str]] = {
    "target absent": (train(Arm.RELATED, BRAIN, MRI, TARGET), "training samples of the target itself"),
    "no twin": (train(Arm.RELATED, BRAIN, MRI, TWIN), "ct-lung-state, which counts as the target itself"),
    "elements covered": (train(Arm.RELATED, BRAIN), "no training subset shows area Lung"),
    "unrelated shares nothing": (train(Arm.UNRELATED, FAR, NEAR), "shows Mass (us-breast-mass)"),
    "one element each": (train(Arm.PARTIAL, NEAR, MRI), "shows 1 and another 2 of the target's elements"),
    "alone is alone": (
        train(Arm.ALONE, BRAIN, MRI, variant=BRAIN.name),
        "it is trained on several subsets, not just on what its variant names",
    ),
    "without means without": (
        train(Arm.WITHOUT, BRAIN, MRI, variant="area"),
        "shows the element that it should do without",
    ),
    "ceiling is the target": (train(Arm.CEILING, TARGET, FAR), "only 20 of its 40 samples are the target's"),
    "equal budgets": (train(Arm.UNRELATED, FAR, num=30), "30 training samples where 40 were planned"),
}


def test_a_good_question_is_admitted() -> None:
    assert {draft.cell.arm for draft in compile_all(*GOOD)} == {
        Arm.ZERO_SHOT, Arm.UNRELATED, Arm.RELATED, Arm.CEILING, Arm.BLIND,
    }  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_mixture_is_refused_by_its_rule_alone(name: str) -> None:
    training, text = WRONG[name]
    others = [part for part in GOOD if part.arm is not training.arm]
    with pytest.raises(UserError) as caught:
        compile_all(*others, training)
    lines = str(caught.value).splitlines()
    rule = next(rule for rule in VALIDITY_RULES if rule.name == name)
    detail = f"/{training.variant}" if training.variant else ""
    assert lines[0] == f"cell q/{training.arm}{detail} is not valid:"
    assert len(lines) == 2
    assert lines[1].startswith(f"  - {name}: ")
    assert text in lines[1]
    assert rule.repair in lines[1]
    assert not isinstance(caught.value, UnaskableError)


def test_a_refusal_names_five_subsets_and_counts_the_rest() -> None:
    near = [replace(NEAR, name=f"near-{number}") for number in range(1, 8)]

    def refuse(num: int) -> str:
        with pytest.raises(UserError) as caught:
            compile_all(GOOD[1], train(Arm.UNRELATED, *near[:num]), catalog=make_catalog([*CATALOG.subsets, *near]))
        return str(caught.value)

    assert "shows Mass (near-1, near-2, near-3, near-4, near-5);" in refuse(5)
    assert "shows Mass (near-1, near-2, near-3, near-4, near-5 and 1 more);" in refuse(6)


def test_every_rule_that_a_cell_breaks_is_told() -> None:
    with pytest.raises(UserError) as caught:
        compile_all(train(Arm.UNRELATED, FAR, NEAR, num=30), GOOD[1])
    assert [line.split(":")[0] for line in str(caught.value).splitlines()[1:]] == [
        "  - unrelated shares nothing", "  - equal budgets",
    ]  # fmt: skip
    copies = Overlap(train=MRI.name, test=TARGET.name, count=3, what="groups")
    catalog = replace(make_catalog([replace(TARGET, num_test=0), BRAIN, MRI, FAR]), overlaps=(copies,))
    related = train(Arm.RELATED, BRAIN, MRI)
    with pytest.raises(UnaskableError, match="a common group; the subset has no test samples: give it"):
        compile_all(related, catalog=catalog, study=replace(STUDY, arms=(Arm.RELATED,)))


def test_one_sample_of_the_target_is_one_too_many() -> None:
    compile_all(train(Arm.UNRELATED, FAR, num=3), train(Arm.RELATED, BRAIN, MRI, num=3))
    with pytest.raises(UserError, match="target absent: its model sees 1 training samples of the target itself"):
        compile_all(train(Arm.UNRELATED, FAR, num=3), train(Arm.RELATED, BRAIN, MRI, TARGET, num=3))


def test_a_partial_arm_shows_one_element_by_each_of_its_subsets() -> None:
    drafts = compile_all(*GOOD, train(Arm.PARTIAL, NEAR))
    assert proof_of(Arm.PARTIAL, drafts).shared_by_each == (1, 1)


def test_an_arm_that_does_without_an_element_names_its_factor() -> None:
    compile_all(*GOOD, train(Arm.WITHOUT, BRAIN, NEAR, variant="area"))
    with pytest.raises(UserError, match="without means without"):
        compile_all(*GOOD, train(Arm.WITHOUT, BRAIN, NEAR))


@pytest.mark.parametrize(("source", "variant"), [(MRI, BRAIN.name), (BRAIN, "")])
def test_an_arm_of_one_source_names_it(source: Subset, variant: str) -> None:
    compile_all(*GOOD, train(Arm.ALONE, BRAIN, variant=BRAIN.name))
    with pytest.raises(UserError, match=f"alone is alone: it is trained on {source.name}, not just on what"):
        compile_all(*GOOD, train(Arm.ALONE, source, variant=variant))


def test_a_source_alone_may_have_samples_of_the_target_and_a_filler_beside_it() -> None:
    alone = train(Arm.ALONE, BRAIN, variant=BRAIN.name, num=30, num_target=10)
    related = train(Arm.RELATED, BRAIN, MRI, num=30, num_target=10)
    filler = Subset(name="wiki", elements=((), (), ()), num_options=4, num_train=9, num_test=0, kind=Kind.FILLER)
    study = replace(STUDY, filler=replace(STUDY.filler, subset="wiki", share=0.1))
    catalog = make_catalog([*CATALOG.subsets, filler])
    proof = proof_of(Arm.ALONE, compile_all(related, alone, catalog=catalog, study=study))
    assert (proof.only, proof.target_samples) == (BRAIN.name, 10)


def test_a_mismatched_arm_shows_nothing_of_the_element_that_it_names() -> None:
    compile_all(*GOOD, train(Arm.MISMATCHED, BRAIN, NEAR, variant="area"))
    with pytest.raises(UserError, match="mismatched/area is not valid:\n  - without means without"):
        compile_all(*GOOD, train(Arm.MISMATCHED, BRAIN, MRI, variant="area"))


def test_every_rule_about_designs_is_tried_on_a_wrong_mixture() -> None:
    assert set(WRONG) == {rule.name for rule in VALIDITY_RULES if not rule.is_about_data}


def test_copies_on_both_sides_leave_the_question_out_of_the_plan() -> None:
    overlap = Overlap(train=MRI.name, test=TARGET.name, count=3, what="groups")
    with pytest.raises(UnaskableError, match="3 samples, image hashes or groups stand in .*: remove them from one"):
        compile_all(*GOOD, catalog=replace(CATALOG, overlaps=(overlap,)))


def test_copies_of_tests_among_what_is_not_trained_on_are_no_fault() -> None:
    others = tuple(Overlap(train=part.name, test=TARGET.name, count=1, what="groups") for part in (BRAIN, NEAR, TWIN))
    elsewhere = Overlap(train=MRI.name, test=BRAIN.name, count=1, what="groups")
    catalog = replace(CATALOG, overlaps=(*others, elsewhere))
    drafts = compile_all(train(Arm.RELATED, MRI), catalog=catalog, fully_covered=False)
    assert {draft.cell.proof.overlaps for draft in drafts} == {0}


def test_copies_of_tests_in_the_targets_own_training_side_count_where_they_are_trained_on() -> None:
    overlap = Overlap(train=TARGET.name, test=TARGET.name, count=1, what="groups")
    catalog = replace(CATALOG, overlaps=(overlap,))
    assert compile_all(*GOOD[:2], catalog=catalog)
    with pytest.raises(UnaskableError, match="1 samples"):
        compile_all(*GOOD, catalog=catalog)
    with pytest.raises(UnaskableError, match="1 samples"):
        compile_all(*GOOD[:2], catalog=catalog, protocol=Protocol(image="original", shots=1))


def test_a_target_without_tests_is_not_asked() -> None:
    catalog = make_catalog([replace(TARGET, num_test=0), BRAIN, MRI, FAR])
    with pytest.raises(UnaskableError, match="the subset has no test samples: give it some"):
        compile_all(*GOOD, catalog=catalog)


def test_target_data_that_are_declared_are_no_fault_in_that_arm_alone() -> None:
    seen = train(Arm.RELATED, BRAIN, MRI, TARGET, sees_target=True)
    proof = proof_of(Arm.RELATED, compile_all(GOOD[0], seen))
    assert not proof.target_absent
    assert proof.target_samples == 14
    with pytest.raises(UserError, match="cell q/shuffled is not valid:\n  - target absent"):
        compile_all(GOOD[0], seen, train(Arm.SHUFFLED, BRAIN, MRI, TARGET))


def test_further_samples_of_the_target_are_declared_and_counted() -> None:
    drafts = compile_all(
        train(Arm.UNRELATED, FAR, num=30, num_target=10), train(Arm.RELATED, BRAIN, MRI, num=30, num_target=10)
    )
    assert [proof_of(arm, drafts).target_samples for arm in (Arm.UNRELATED, Arm.RELATED)] == [10, 10]
    assert not proof_of(Arm.BLIND, drafts).target_absent
    assert proof_of(Arm.ZERO_SHOT, drafts).target_absent


@pytest.mark.parametrize(("num_target", "shots"), [(10, 0), (0, 2)])
def test_declared_target_data_hide_no_twin(num_target: int, shots: int) -> None:
    trainings = (
        train(Arm.UNRELATED, FAR, num=30, num_target=num_target),
        train(Arm.RELATED, BRAIN, TWIN, num=30, num_target=num_target),
    )
    with pytest.raises(
        UserError, match="cell q/related is not valid:\n  - no twin: its training set has ct-lung-state"
    ):
        compile_all(*trainings, protocol=Protocol(image="original", shots=shots))


def test_examples_in_the_prompt_count_as_seen() -> None:
    drafts = compile_all(*GOOD, protocol=Protocol(image="original", shots=2), asks_sources=True)
    proof = proof_of(Arm.ZERO_SHOT, drafts)
    assert not proof.target_absent
    assert proof.target_examples == 4  # two for each of two labels
    assert proof_of(Arm.SOURCES, drafts).target_absent  # they are asked without examples
    shots = {draft.cell.arm: draft.evaluation.protocol.shots for draft in drafts}
    assert (shots[Arm.ZERO_SHOT], shots[Arm.RELATED], shots[Arm.BLIND], shots[Arm.SOURCES]) == (2, 2, 2, 0)
    boxes = replace(TARGET, num_options=0, labels=(), kind=Kind.DETECTION)
    catalog = make_catalog([boxes, BRAIN, MRI, FAR])
    drafts = compile_all(*GOOD[:2], catalog=catalog, protocol=Protocol(image="original", shots=2))
    assert proof_of(Arm.ZERO_SHOT, drafts).target_examples == 2


def test_what_the_main_arms_model_is_asked_further_has_no_variant() -> None:
    drafts = compile_all(GOOD[0], train(Arm.RELATED, BRAIN, MRI, variant="v"))
    variants = {draft.cell.arm: draft.cell.variant for draft in drafts}
    assert (variants[Arm.RELATED], variants[Arm.BLIND], variants[Arm.ZERO_SHOT]) == ("v", "", "")


@pytest.mark.parametrize("strict", [True, False])
def test_twins_are_named_under_both_settings_and_count_under_one(strict: bool) -> None:
    seen = train(Arm.RELATED, BRAIN, MRI, TWIN, sees_target=strict)
    proof = proof_of(Arm.RELATED, compile_all(GOOD[0], seen, strict=strict))
    assert proof.twins == (TWIN.name,)
    assert proof.target_absent is not strict


def test_a_source_that_alone_shows_the_whole_combination_is_named() -> None:
    drafts = compile_all(GOOD[0], train(Arm.RELATED, BRAIN, TWIN), strict=False)
    assert proof_of(Arm.RELATED, drafts).whole_in == (TWIN.name,)
    assert proof_of(Arm.RELATED, compile_all(*GOOD)).whole_in == ()
    as_state = compile_all(
        GOOD[0], train(Arm.RELATED, BRAIN, TWIN), strict=False, view=("CT", "Lung", "State"), fully_covered=False
    )
    assert proof_of(Arm.RELATED, as_state).whole_in == (TWIN.name,)
    as_other = compile_all(
        GOOD[0], train(Arm.RELATED, BRAIN, TWIN), strict=False, view=("CT", "Lung", "X"), fully_covered=False
    )
    assert proof_of(Arm.RELATED, as_other).whole_in == ()


def test_coverage_says_by_whom_each_element_is_shown() -> None:
    proof = proof_of(Arm.RELATED, compile_all(*GOOD))
    assert [(part.factor, part.value, part.subsets) for part in proof.coverage] == [
        ("modality", "CT", (BRAIN.name,)), ("area", "Lung", (MRI.name,)), ("task", "Mass", (BRAIN.name, MRI.name)),
    ]  # fmt: skip
    assert proof.shared_elements == 3
    assert proof.shared_by_each == (2, 2)
    for arm in (Arm.UNRELATED, Arm.ZERO_SHOT):
        assert proof_of(arm, compile_all(*GOOD)).shared_by_each == (0, 0)


def test_only_what_is_asked_about_must_be_covered() -> None:
    candidates = ("CT Brain", "CT Lung", "MRI Brain", "MRI Lung")
    asked = Protocol(image="original", ask="elements", places=(0, 1), candidates=candidates)
    related = train(Arm.RELATED, make_subset(("CT", "Brain", "State")), make_subset(("MRI", "Lung", "State")))
    catalog = make_catalog(
        [TARGET, *(make_subset(own) for own in (("CT", "Brain", "State"), ("MRI", "Lung", "State")))]
    )
    proof = proof_of(Arm.RELATED, compile_all(related, catalog=catalog, protocol=asked))
    assert [part.factor for part in proof.coverage] == ["modality", "area"]
    assert proof.chance == 0.25
    assert proof.detectable == compute_detectable_gain(0.25, 10)
    assert proof_of(Arm.RELATED, compile_all(*GOOD)).detectable == compute_detectable_gain(0.5, 10)


def test_overlaps_are_unknown_where_there_are_no_samples() -> None:
    drafts = compile_all(*GOOD, catalog=replace(CATALOG, overlaps=None))
    assert {draft.cell.proof.overlaps for draft in drafts} == {None}


def test_labels_option_sets_and_data_sets_in_common_are_told() -> None:
    target = replace(TARGET, datasets=("9", "8"))
    other = replace(BRAIN, datasets=("9",), labels=("yes", "no"))
    third = replace(MRI, labels=("no", "perhaps"))
    proof = proof_of(
        Arm.RELATED,
        compile_all(GOOD[0], train(Arm.RELATED, other, third), catalog=make_catalog([target, other, third, FAR])),
    )
    assert proof.labels_shared == ("no", "yes")
    assert proof.same_options == (other.name,)
    assert proof.same_datasets == ("9",)
    target = replace(TARGET, labels=("benign", "no"))
    proof = proof_of(Arm.RELATED, compile_all(*GOOD[:2], catalog=make_catalog([target, BRAIN, MRI, FAR])))
    assert proof.labels_shared == ("no",)


def test_boxes_have_no_options_in_common_no_chance_level_and_no_detectable_gain() -> None:
    boxes = replace(TARGET, num_options=0, labels=(), kind=Kind.DETECTION)
    others = [replace(part, num_options=0, labels=(), kind=Kind.DETECTION) for part in (BRAIN, MRI)]
    proof = proof_of(Arm.RELATED, compile_all(*GOOD[:2], catalog=make_catalog([boxes, *others, FAR])))
    assert proof.chance == 0
    assert proof.detectable is None
    assert proof.same_options == ()


def test_the_detectable_gain_is_never_beyond_all_right_and_never_less_than_one_question_shows() -> None:
    assert compute_detectable_gain(0.5, 0) == compute_detectable_gain(0.5, 1) == 0.5
    assert compute_detectable_gain(0.01, 1) == pytest.approx(2.8016 * (0.01 * 0.99) ** 0.5, abs=1e-4)


def test_cells_of_one_split_share_one_proof() -> None:
    drafts = compile_all(*GOOD)
    (first, second) = (draft.cell.proof for draft in drafts if draft.cell.arm is Arm.RELATED)  # of two seeds
    assert first is second


def test_equal_splits_share_one_proof() -> None:
    graph = MatGraph(CATALOG.subsets, CATALOG.factors)
    split = Split(
        target=TARGET.name, view=TARGET.own, factors=(0, 1, 2), training=graph.gather([BRAIN.name]), target_samples=0,
        filler="", target_examples=0, num_train=40, budget=40, asked=TARGET.name, num_candidates=0,
    )  # fmt: skip
    prover = Prover(CATALOG, graph)
    assert prover.prove(split) is prover.prove(replace(split))
    assert prover.prove(split) != prover.prove(replace(split, training=graph.gather([MRI.name])))


def test_one_test_sample_makes_a_target() -> None:
    filler = replace(TARGET, kind=Kind.FILLER)
    assert [is_askable(part) for part in (replace(TARGET, num_test=0), replace(TARGET, num_test=1), filler)] == [
        False, True, False,
    ]  # fmt: skip


def test_the_detectable_gain_has_the_power_that_it_claims() -> None:
    """By simulation: a model that is better than chance by that gain is found in about 80 % of all test sets."""
    import numpy as np

    gain = compute_detectable_gain(0.25, 400)
    right = np.random.default_rng(0).binomial(400, 0.25 + gain, size=4000) / 400
    found = (right - 0.25) / np.sqrt(0.25 * 0.75 / 400) > 1.96
    assert 0.75 < found.mean() < 0.88
