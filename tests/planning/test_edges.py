"""What the planner does at the edges of a catalogue: no samples, tags, ties, equals, fillers, copies, texts alike."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from cg_lab.arms import Arm
from cg_lab.catalog import Overlap
from cg_lab.errors import UserError
from cg_lab.mat import Kind, Subset
from cg_lab.planning.graph import MatGraph, find_tied
from cg_lab.planning.plan import Plan
from cg_lab.planning.posing import list_or_draw
from cg_lab.study import Study
from tests.planning.cases import cube, make_catalog, make_subset, plan_one, with_design


def subset(text: str, num_train: int = 40, num_test: int = 10, **more: Any) -> Subset:
    """Make a subset named by its elements; `Mass/State` counts as both."""
    made = make_subset(tuple(text.split()), num_train, **more)
    return replace(made, elements=tuple(tuple(part.split("/")) for part in text.split()), num_test=num_test)


def boxes(text: str) -> Subset:
    return replace(subset(text), kind=Kind.DETECTION, num_options=0, labels=())


def filler(num_train: int = 50) -> Subset:
    return Subset(name="wiki", elements=((), (), ()), num_options=4, num_train=num_train, num_test=5, kind=Kind.FILLER)


def plan(study: Study, *subsets: Subset, **more: Any) -> Plan:
    return plan_one(replace(study, seeds=(0,)), make_catalog(list(subsets), **more))


def test_a_trained_target_does_not_count_as_showing_its_elements() -> None:
    subsets = (subset("CT Lung Mass"), subset("CT Brain Level"), subset("MRI Lung Mass"))
    names = [part.name for part in subsets]
    covered = {
        most: plan(with_design("multi_task", max_samples=most, in_distribution=names), *subsets).contrasts[1]
        for most in (2, 3)
    }
    assert {most: (part.target, part.fully_covered) for most, part in covered.items()} == {
        2: ("ct-lung-mass", False), 3: ("ct-lung-mass", True),
    }  # fmt: skip


def test_only_sources_that_were_trained_on_are_asked_about() -> None:
    made = plan(
        replace(with_design("all_related"), targets=("ct-lung-mass",)),
        subset("CT Lung Mass"), subset("CT Brain Level"), subset("MRI Lung Side", 0), subset("US Breast Quality"),
    )  # fmt: skip
    assert {cell.subset for cell in made.cells if cell.arm is Arm.SOURCES} == {"ct-brain-level"}


def test_a_question_without_any_wanted_arm_is_told() -> None:
    others = [part for part in cube().subsets if part.name not in {"a-x-k", "b-y-l"}]
    study = replace(with_design("all_related"), targets=("a-x-k", "b-y-l"), arms=(Arm.CEILING,))
    made = plan(study, *others, subset("A X K", 0), subset("B Y L"))
    assert {contrast.target for contrast in made.contrasts} == {"b-y-l"}
    assert [(part.question, part.reason) for part in made.skipped] == [
        ("a-x-k/all_related", "it offers none of the arms that are asked for")
    ]


def test_a_filler_is_neither_target_nor_source_whatever_kinds_take_part() -> None:
    design = with_design("all_related")
    design = replace(design, design=replace(design.design, kinds=(Kind.CLASSIFICATION, Kind.FILLER)))
    made = plan(replace(design, targets=("wiki", "a-x-k")), *cube().subsets, filler())
    assert {contrast.target for contrast in made.contrasts} == {"a-x-k"}
    assert not any("wiki" in contrast.unrelated for contrast in made.contrasts)
    assert [part.reason for part in made.skipped] == ["it is a filler, which is never held out"]
    alone = replace(design, design=replace(design.design, kinds=(Kind.FILLER,)))
    with pytest.raises(UserError, match="no subset of kind filler that can be a target or a source"):
        plan(alone, *cube().subsets, filler())


def test_a_filler_that_there_is_not_is_refused_with_the_nearest() -> None:
    study = with_design("two_source")
    study = replace(study, targets=("a-x-k",), filler=replace(study.filler, subset="wikj", share=0.5))
    with pytest.raises(UserError, match="no subset of kind filler named 'wikj' in the catalogue; .*'wiki'"):
        plan(study, *cube().subsets, filler())
    with pytest.raises(UserError, match="no subset of kind filler named 'wikj' in the catalogue; it has none"):
        plan(study, *cube().subsets)


def test_copies_of_tests_in_a_filler_leave_the_question_out() -> None:
    study = replace(with_design("all_related"), targets=("a-x-k", "b-y-l"))
    study = replace(study, filler=replace(study.filler, subset="wiki", share=0.5))
    overlap = Overlap(train="wiki", test="a-x-k", count=2, what="image hashes")
    made = plan(study, *cube().subsets, filler(), overlaps=(overlap,))
    assert {contrast.target for contrast in made.contrasts} == {"b-y-l"}
    assert [part.reason.split(" stand")[0] for part in made.skipped] == ["2 samples, image hashes or groups"]


def test_more_examples_than_the_target_has_are_not_asked_for() -> None:
    study = replace(with_design("few_shot", shots=[1, 3]), targets=("ct-lung-mass",))
    made = plan(
        study, subset("CT Lung Mass", 5), subset("CT Brain Mass"), subset("MRI Lung Mass"), subset("US Breast Level")
    )
    assert [contrast.level for contrast in made.contrasts] == [1]
    assert [part.reason for part in made.skipped] == ["3 examples for each label are 6, and it has 5 training samples"]


TAGGED = (
    subset("CT/MRI Brain/Lung/Breast State/Covid"), subset("CT Lung/Brain State"), subset("CT Brain Covid"),
    subset("US Skin Level"),
)  # fmt: skip
"""The second stands for CT Brain State in the direction modality, where the third shows Brain and the first State;
the first alone shows CT Lung State."""


@pytest.mark.parametrize("rows", [None, "named"])
def test_a_combination_stands_for_the_same_in_every_design(rows: str | None) -> None:
    study = replace(with_design("two_source", directions=["modality"], combinations=None), twins="equal")
    found = {contrast.id: contrast for contrast in plan(study, *TAGGED).contrasts}
    named = [
        {"target": part.target, "sources": list(part.related), "direction": part.direction} for part in found.values()
    ]
    again = with_design("backbones", directions=["modality"], per_direction=9, rows=named if rows else None)
    others = {contrast.id: contrast for contrast in plan(replace(again, twins="equal"), *TAGGED).contrasts}
    assert {name: part.view for name, part in others.items()} == {name: part.view for name, part in found.items()}
    assert ("CT", "Brain", "State") in {part.view for part in found.values()}


def test_a_row_of_no_direction_stands_for_what_no_source_shows_alone() -> None:
    row = {"target": TAGGED[1].name, "sources": [TAGGED[0].name, TAGGED[2].name]}
    made = plan(replace(with_design("two_source", rows=[row]), twins="equal"), *TAGGED[:2], TAGGED[2], TAGGED[3])
    assert made.contrasts[0].view == ("CT", "Lung", "State")  # the first source shows all of each view
    assert made.whole_sources
    narrow = subset("CT/MRI Lung/Breast State/Covid")
    row["sources"] = [narrow.name, TAGGED[2].name]
    made = plan(replace(with_design("two_source", rows=[row]), twins="equal"), narrow, *TAGGED[1:])
    assert made.contrasts[0].view == ("CT", "Brain", "State")
    assert not made.whole_sources


def test_distance_is_counted_from_nodes_that_are_trained_on() -> None:
    study = with_design("distance", nodes=["a-x-k", "b-y-l"], per_shell=30)
    others = [part for part in cube().subsets if part.name != "b-y-l"]
    made = plan(study, *others, subset("B Y L", 0))
    assert {contrast.related for contrast in made.contrasts} == {("a-x-k",)}
    assert {contrast.level for contrast in made.contrasts if contrast.target == "b-y-l"} == {3}
    with pytest.raises(UserError, match="1 training samples can't be spread over 2 nodes"):
        plan(with_design("distance", nodes=["a-x-k", "b-y-l"], max_samples=1), *cube().subsets)


def test_nodes_are_found_that_fill_the_shells_only_together() -> None:
    texts = ("US Breast Mass child", "CT Lung Mass child", "MRI Breast Growth child", "MRI Brain State adult",
             "US Breast Growth old", "MRI Brain Growth old")  # fmt: skip
    study = replace(with_design("distance", num_nodes=3, per_shell=3), twins="equal")
    subsets = [*map(subset, texts), subset("US Breast Mass old", 40, 0)]
    made = plan(study, *subsets, factors=("modality", "area", "task", "population"))
    assert {contrast.related for contrast in made.contrasts} == {
        ("ct-lung-mass-child", "us-breast-mass-child", "us-breast-mass-old")
    }
    assert {contrast.level for contrast in made.contrasts} == {1, 2, 3, 4}


def test_a_twin_without_tests_keeps_no_target_from_being_split_off() -> None:
    twin = replace(subset("US Breast Mass", 40, 0), name="twin")
    study = replace(with_design("divergence", test_share=0.5), twins="equal")
    made = plan(study, subset("CT Lung Side"), subset("US Breast Mass"), twin)
    for contrast in made.contrasts:
        assert {contrast.target, *contrast.related} in (
            {"ct-lung-side", "us-breast-mass", "twin"},
            {"us-breast-mass", "ct-lung-side"},
        )


@pytest.mark.parametrize("letter", "ae")
def test_sources_without_any_sample_take_no_place_of_others(letter: str) -> None:
    """As State the target has sources with samples, as Mass it has some without."""
    empty = [replace(subset(text, 0), name=f"{letter}{text}") for text in ("CT Brain Mass", "MRI Lung Mass")]
    full = [replace(subset(text), name=f"{letter}{text}") for text in ("CT Brain State", "MRI Lung State")]
    study = replace(with_design("two_source", combinations=1), targets=(f"{letter}t",))
    made = plan(
        study, replace(subset("CT Lung Mass/State"), name=f"{letter}t"), *empty, *full, subset("US Breast Level")
    )
    assert [contrast.related for contrast in made.contrasts] == [tuple(part.name for part in full)]


def test_a_pair_alone_is_nothing_to_recombine() -> None:
    subsets = (subset("Der Skin"), subset("Der/CT Skin"), subset("CT Lung"), subset("US Breast"))
    study = replace(with_design("two_source", directions=["pair"]), twins="equal", targets=("der-skin",))
    with pytest.raises(UserError, match="no valid sources"):
        plan(study, *subsets, factors=("modality", "area"), tied=(("Der", "Skin"), ("CT", "Lung")))


def test_every_value_that_occurs_with_just_the_same_subsets_is_tied() -> None:
    subsets = (subset("CT Lung Mass"), subset("Der Skin/Arm Mass"))
    tied = find_tied(MatGraph(subsets, ("modality", "area", "task")))
    assert tied == (("CT", "Lung"), ("Der", "Arm"), ("Der", "Skin"))


def test_a_budget_is_spent_on_questions_that_the_data_allow() -> None:
    study = replace(with_design("all_related"), targets=("a-x-k", "b-y-l"), arms=(Arm.RELATED,))
    study = replace(study, budget=replace(study.budget, finetunes=1))
    copies = (Overlap(train="a-x-l", test="a-x-k", count=1, what="groups"),)
    made = plan(study, *cube().subsets, overlaps=copies)
    assert {contrast.target for contrast in made.contrasts} == {"b-y-l"}
    few = replace(with_design("few_shot"), targets=("a-x-k", "b-y-l"), budget=replace(study.budget, finetunes=9))
    made = plan(few, *cube().subsets, overlaps=(Overlap(train="a-x-k", test="a-x-k", count=1, what="groups"),))
    assert "b-y-l" in {contrast.target for contrast in made.contrasts}


@pytest.mark.parametrize("design", ["two_source", "three_source", "few_shot", "cross_kind", "backbones"])
def test_a_row_about_an_unknown_target_is_told_by_every_design(design: str) -> None:
    rows = [
        {"target": "a-x-k", "sources": ["a-x-l", "a-y-k"], "direction": "modality"},
        {"target": "nobody", "sources": ["a-x-l", "a-y-k"], "direction": "area"},
    ]
    made = plan(with_design(design, rows=rows), *cube().subsets)
    assert {contrast.target for contrast in made.contrasts} == {"a-x-k"}
    assert "no subset 'nobody'" in next(part.reason for part in made.skipped if part.target == "nobody")


def test_pairs_that_read_the_same_are_refused() -> None:
    made = [make_subset(pair, title="") for pair in product(("Left", "Left Lung"), ("Lung Mass", "Mass"))]
    with pytest.raises(UserError, match="two pairs read 'Left Lung Mass', so that an answer can't tell them apart"):
        plan(with_design("attribute_split"), *made, factors=("modality", "area"))


def test_drawing_combinations_ends_however_many_are_wanted() -> None:
    apart = [tuple(f"{pool}{number}" for number in range(30)) for pool in "abc"]
    assert len(list(list_or_draw(apart, 100_000, ["key"]))) == 27_000
    assert len(list(list_or_draw(apart, 7, ["key"]))) == 7
    assert list(list_or_draw([tuple("abcdef")] * 7, 5, ["key"])) == []


def test_boxes_of_a_target_are_in_no_arm_with_shuffled_labels() -> None:
    rows = [{"target": "a-x-d", "sources": ["a-x-k", "b-x-k"]}]
    subsets = (*cube().subsets, boxes("A X D"))
    arms = {
        amount: {
            part.arm
            for part in plan(with_design("cross_kind", rows=rows, target_samples=amount), *subsets)
            .contrasts[0]
            .trainings
        }
        for amount in (0, 4)
    }
    assert arms[0] - arms[4] == {Arm.SHUFFLED}
