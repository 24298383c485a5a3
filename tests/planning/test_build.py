"""What becomes of questions, arms, seeds and files; that plans are right at all is the business of the brute force."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import pytest

from cg_lab.arms import MAIN_ARMS, Arm
from cg_lab.config import read_study
from cg_lab.errors import UserError
from cg_lab.mat import Kind, Subset
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.designs import size_curve
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Plan, parse_plan
from cg_lab.planning.posing import pose
from cg_lab.planning.rows import SourceRow
from cg_lab.planning.work import EvalJob, FinetuneJob
from cg_lab.serialize import canonical_json, content_id, omit_defaults, to_plain
from tests.planning.cases import BACKBONE, STUDY, cube, make_catalog, make_subset, plan_one, with_design


def shared(first: Subset, second: Subset) -> set[int]:
    return {
        place
        for place, (left, right) in enumerate(zip(first.elements, second.elements, strict=True))
        if set(left) & set(right)
    }


@pytest.mark.parametrize("design", ["target_curve", "all_related", "few_shot", "attribute_split"])
def test_ids_put_together_from_parts_are_the_ids_of_the_whole(design: str) -> None:
    plan = plan_one(with_design(design), cube())
    for job in (*plan.finetunes[:40], *plan.evals[:40]):
        kind = "finetune" if isinstance(job, FinetuneJob) else "eval"
        assert job.id == content_id(kind, 1, omit_defaults(job))


def test_a_plan_is_the_same_under_any_hash_seed() -> None:
    code = (
        "from cg_lab.config import read_studies, Request; from cg_lab.cli.runs import open_runs;"
        "from cg_lab.planning.build import build_plan;"
        "o = ('data=med_mat', 'twins=equal', 'design=two_source,folds,divergence,coverage');"
        "runs = open_runs(read_studies(Request(overrides=o, multirun=True)));"
        "print(build_plan([run.to_run() for run in runs]).id)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PATH": ""}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1")
    }
    assert len(found) == 1


def test_two_source_pairs_cover_the_target_one_element_each() -> None:
    plan = plan_one(replace(with_design("two_source"), targets=("a-x-k",)), cube())
    assert len(plan.contrasts) == 6
    for contrast in plan.contrasts:
        target = plan.find_subset(contrast, "a-x-k")
        elements = [shared(plan.find_subset(contrast, name), target) for name in contrast.related]
        direction = ("modality", "area", "task").index(contrast.direction or "")
        assert all(len(part) == 2 and direction in part for part in elements)
        assert len(elements[0] | elements[1]) == 3


def test_equal_work_is_one_job() -> None:
    plan = plan_one(replace(with_design("two_source"), targets=("a-x-k",)), cube())
    ceilings = {cell.finetune_job for cell in plan.cells if cell.arm is Arm.CEILING}
    assert len(ceilings) == 1  # of the first seed, over six held-out questions
    unrelated = {cell.finetune_job for cell in plan.cells if cell.arm is Arm.UNRELATED}
    assert len(unrelated) == 2  # drawn for target, size and seed, so that all directions share it
    assert len(plan.finetunes) < plan.num_declared_finetunes
    assert {cell.eval_job for cell in plan.cells} == {job.id for job in plan.evals}
    assert {cell.finetune_job for cell in plan.cells if cell.finetune_job} == {job.id for job in plan.finetunes}


def test_a_subset_with_the_targets_elements_is_never_related() -> None:
    twin = replace(make_subset(("A", "X", "K")), name="twin")
    plan = plan_one(replace(with_design("all_related"), targets=("a-x-k",)), make_catalog([*cube().subsets, twin]))
    assert all("twin" not in contrast.related + contrast.unrelated for contrast in plan.contrasts)


def test_one_more_seed_adds_only_its_own_jobs() -> None:
    few = plan_one(replace(with_design("two_source"), seeds=(0, 1)), cube())
    more = plan_one(replace(with_design("two_source"), seeds=(0, 1, 2)), cube())
    assert {job.id for job in few.finetunes} < {job.id for job in more.finetunes}
    assert {job.seed for job in more.finetunes if job not in few.finetunes} == {2}


def test_controls_take_the_first_few_seeds_and_as_many_as_the_study_says() -> None:
    study = replace(with_design("two_source", max_samples=40), targets=("a-x-k",), seeds=(4, 2, 9))
    found = {arm: seeds_of(plan_one(study, cube()), arm) for arm in Arm}
    for arm in (Arm.RELATED, Arm.ALONE, Arm.BLIND, Arm.SOURCES):
        assert found[arm] == {4, 2, 9}
    assert found[Arm.UNRELATED] == found[Arm.MISMATCHED] == {4, 2}
    assert found[Arm.CEILING] == found[Arm.SHUFFLED] == {4}
    assert found[Arm.ZERO_SHOT] == {None}
    plan = plan_one(replace(study, arm_seeds={Arm.ALONE: 1, Arm.CEILING: 5}), cube())
    assert seeds_of(plan, Arm.ALONE) == {4}
    assert seeds_of(plan, Arm.CEILING) == {4, 2, 9}
    assert seeds_of(plan, Arm.UNRELATED) == {4, 2}


@pytest.mark.parametrize("arm", ["related", "multi_task", "blind", "sources", "zero_shot"])
def test_arms_without_a_training_beside_the_main_one_have_no_seeds_of_their_own(arm: str) -> None:
    assert read_study(["arm_seeds={unrelated: 3}"]).arm_seeds == {Arm.UNRELATED: 3}
    with pytest.raises(UserError, match=f"arm_seeds.{arm}.*only an arm that is trained beside the main one"):
        read_study([f"arm_seeds={{{arm}: 3}}"])


def seeds_of(plan: Plan, arm: Arm) -> set[int | None]:
    return {cell.seed for cell in plan.cells if cell.arm is arm}


def test_only_the_wanted_arms_are_planned_and_trained() -> None:
    plan = plan_one(replace(with_design("two_source"), arms=(Arm.ZERO_SHOT, Arm.RELATED)), cube())
    assert {cell.arm for cell in plan.cells} == {Arm.ZERO_SHOT, Arm.RELATED}
    assert {cell.finetune_job for cell in plan.cells} - {None} == {job.id for job in plan.finetunes}


def test_blind_alone_still_trains_what_it_shows_blank_images_to() -> None:
    plan = plan_one(replace(with_design("two_source"), arms=(Arm.BLIND,)), cube())
    assert {cell.arm for cell in plan.cells} == {Arm.BLIND}
    assert plan.num_declared_finetunes == len(plan.contrasts) * 2  # seeds
    assert plan.finetunes
    assert all(part.arm in MAIN_ARMS for contrast in plan.contrasts for part in contrast.trainings)


OFFERED = (
    Arm.ZERO_SHOT, Arm.UNRELATED, Arm.RELATED, Arm.ALONE, Arm.MISMATCHED, Arm.SHUFFLED, Arm.CEILING, Arm.BLIND,
    Arm.SOURCES,
)  # fmt: skip


@pytest.mark.parametrize("size", range(1, len(OFFERED) + 1))
def test_any_subset_of_the_arms_plans_the_very_cells_that_all_arms_plan(size: int) -> None:
    study = replace(with_design("two_source", max_samples=40), targets=("a-x-k",), seeds=(0,))
    whole = plan_one(study, cube())
    assert {cell.arm for cell in whole.cells} == {*OFFERED}
    for arms in combinations(OFFERED, size):
        plan = plan_one(replace(study, arms=arms), cube())
        assert plan.cells == tuple(cell for cell in whole.cells if cell.arm in arms)
        assert {job.id for job in plan.finetunes} == {cell.finetune_job for cell in plan.cells} - {None}
        assert len(plan.finetunes) <= plan.num_declared_finetunes <= whole.num_declared_finetunes


def test_arms_that_a_design_does_not_offer_are_refused() -> None:
    with pytest.raises(UserError, match="arms: two_source offers none of multi_task here"):
        plan_one(replace(with_design("two_source"), arms=(Arm.MULTI_TASK,)), cube())


def test_a_filler_is_mixed_into_every_trained_arm_alike() -> None:
    filler = Subset(name="wiki", elements=((), (), ()), num_options=4, num_train=50, num_test=0, kind=Kind.FILLER)
    study = replace(with_design("two_source"), filler=replace(STUDY.filler, subset="wiki", share=0.25))
    plan = plan_one(study, make_catalog([*cube().subsets, filler]))
    for job in plan.finetunes:
        counts = {part.subset: part.count for part in job.mixture.parts}
        assert counts["wiki"] == round(0.25 * (job.mixture.num_samples - counts["wiki"]))
    assert all(contrast.target != "wiki" and "wiki" not in contrast.related for contrast in plan.contrasts)


def test_a_named_target_without_sources_is_refused_with_the_reason() -> None:
    catalog = make_catalog([make_subset(("A", "X", "K")), make_subset(("B", "Y", "L"))])
    with pytest.raises(UserError, match="no valid sources.*\n.*a-x-k.*no two subsets share its"):
        plan_one(replace(with_design("two_source"), targets=("a-x-k",)), catalog)


def test_what_cannot_be_asked_is_listed_and_the_rest_goes_on() -> None:
    lonely = replace(make_subset(("Q", "R", "S")), name="lonely")
    silent = replace(make_subset(("A", "X", "L")), name="silent", num_test=0)
    boxes = replace(make_subset(("A", "Y", "M")), name="boxes", kind=Kind.DETECTION, num_options=0, labels=())
    others = [part for part in cube().subsets if part.name not in {"a-x-l", "a-y-m"}]
    catalog = make_catalog([*others, lonely, silent, boxes])
    study = replace(with_design("two_source"), targets=("lonely", "silent", "boxes", "a-x-k"))
    plan = plan_one(study, catalog)
    assert {contrast.target for contrast in plan.contrasts} == {"a-x-k"}
    assert {part.target: part.reason.split(",")[0] for part in plan.skipped} == {
        "lonely": "no two subsets share its modality or area or task and cover its other elements between them",
        "silent": "it has no test samples",
        "boxes": "it is a detection subset",
    }


def test_rows_that_a_part_of_a_release_lacks_are_listed_and_the_others_asked() -> None:
    good = SourceRow(target="a-x-k", sources=("a-x-l", "a-y-k"), direction="modality")
    absent = replace(good, sources=("a-x-l", "a-y-q"))
    twice = replace(good, sources=("a-x-l", "a-x-l"))
    plan = plan_one(replace(with_design("two_source", rows=(good, absent, twice)), seeds=(0,)), cube())
    assert [contrast.related for contrast in plan.contrasts] == [("a-x-l", "a-y-k")]
    told = [part.reason for part in plan.skipped if part.target == "a-x-k"]
    assert told[0].startswith("no subset 'a-y-q'; known: a-x-k")
    assert told[1].startswith("one source stands there twice (a-x-l, a-x-l)")
    with pytest.raises(UserError, match=r"can't be used:\n  - design.rows\[0\]: no subset 'a-y-q'"):
        plan_one(with_design("two_source", rows=(absent,)), cube())


def test_a_source_without_training_samples_is_not_picked_where_others_are_there() -> None:
    empty = [replace(part, num_train=0) if part.name in {"a-x-l", "a-y-k"} else part for part in cube().subsets]
    plan = plan_one(
        replace(with_design("two_source", combinations=None), targets=("a-x-k",), seeds=(0,)), make_catalog(empty)
    )
    assert not {"a-x-l", "a-y-k"} & {name for contrast in plan.contrasts for name in contrast.related}
    alone = make_catalog([part for part in empty if part.name not in {"a-x-m"}])
    plan = plan_one(replace(with_design("two_source", combinations=None), targets=("a-x-k",), seeds=(0,)), alone)
    only = [contrast for contrast in plan.contrasts if "a-x-l" in contrast.related]
    assert only
    assert not any(contrast.fully_covered for contrast in only)


def test_one_subset_is_never_both_sources() -> None:
    both = Subset(
        name="both",
        elements=(("A",), ("Y", "X"), ("L", "K")),
        labels=("no", "yes"),
        num_options=2,
        num_train=9,
        num_test=9,
    )
    far = make_subset(("C", "Z", "M"))
    catalog = make_catalog([make_subset(("A", "X", "K")), both, far])
    with pytest.raises(UserError, match="no valid sources"):
        plan_one(replace(with_design("two_source", combinations=None), twins="equal"), catalog)


def test_a_design_that_can_ask_nothing_is_listed_and_the_others_go_on() -> None:
    designs = ("two_source", "cross_kind", "divergence")
    catalog = make_catalog([replace(part, num_test=10 * (part.name == "a-x-k")) for part in cube().subsets])
    studies = [replace(with_design(name), seeds=(0,)) for name in designs]
    boxes = replace(studies[1], design=replace(studies[1].design, kinds=(Kind.DETECTION,)))
    runs = [
        Run(name=name, study=study, catalog=catalog, backbone=BACKBONE)
        for name, study in zip((*designs, "boxes"), (*studies, boxes), strict=True)
    ]
    plan = build_plan(runs)
    assert {contrast.setting for contrast in plan.contrasts} == {"two_source"}
    assert {part.setting: (part.question or part.target) for part in plan.skipped} == {
        "cross_kind": "a-x-k", "divergence": "divergence", "boxes": "cross_kind",
    }  # fmt: skip
    with pytest.raises(UserError, match="the catalogue has no subset of kind detection"):
        build_plan(runs[3:])


def test_a_design_with_the_target_among_its_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(graph: MatGraph, targets: tuple[Subset, ...], _: Any) -> Iterator[Contrast | None]:
        related = graph.names(graph.related(targets[0]))
        yield pose(graph, targets[0], (targets[0].name, *related), design="leak", label="x", max_samples=99)

    monkeypatch.setattr(size_curve, "find", find)
    with pytest.raises(
        UserError, match="cell a-x-k/x/related is not valid:\n  - target absent: its model sees .* leave the target out"
    ):
        plan_one(with_design("size_curve"), cube())


@pytest.mark.parametrize("names", [("s1", "s2"), ("s2", "s1")])
def test_a_proof_hangs_on_no_name_and_on_no_question_before_it(names: tuple[str, str]) -> None:
    """Both questions about 500 samples of the target have 2,000 samples in all, as one with none of it has."""
    rich, poor = names
    elements = {
        "t": "CT Lung Mass",
        rich: "CT Brain Mass",
        poor: "CT Knee Mass",
        "s3": "MR Lung Mass",
        "u": "US Hip Side",
    }
    sizes = {"t": 1000, rich: 1000, poor: 500, "s3": 1000, "u": 9000}
    subsets = [replace(make_subset(tuple(elements[name].split()), sizes[name]), name=name) for name in elements]
    design = with_design("target_curve", max_samples=5000, target_samples=[0, 500], combinations=None)
    plan = plan_one(replace(design, targets=("t",), seeds=(0,)), make_catalog(subsets))
    amounts = {contrast.id: contrast.level for contrast in plan.contrasts}
    assert len(amounts) == 4
    for cell in plan.cells:
        mixture = plan.find_mixture(cell)
        assert cell.proof.target_samples == (mixture.count("t") if mixture else 0)
        assert cell.proof.target_absent is (cell.proof.target_samples == 0)
        if cell.arm in {Arm.RELATED, Arm.UNRELATED, Arm.BLIND}:
            assert cell.proof.target_samples == amounts[cell.contrast]


def test_two_questions_with_one_id_are_a_fault_of_the_design(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_curve, "list_combinations", lambda *_: iter(()))
    monkeypatch.setattr(
        size_curve,
        "find",
        lambda graph, targets, _: (
            pose(graph, targets[0], (name,), design="d", label="x", max_samples=9) for name in ("a-x-l", "a-x-m")
        ),
    )
    with pytest.raises(UserError, match="two held-out questions have the id 'a-x-k/x'"):
        plan_one(with_design("size_curve"), cube())


def test_an_unknown_target_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="no subset 'a-x-kk'.*Did you mean 'a-x-k'"):
        plan_one(replace(STUDY, targets=("a-x-kk",)), cube())


@pytest.mark.parametrize("design", ["two_source", "multi_task", "target_curve"])
def test_a_plan_of_the_format_before_is_read_with_its_declarations(design: str) -> None:
    plan = plan_one(with_design(design), cube())
    before = to_plain(plan) | {"schema": 2}  # sets and proofs in full, nothing declared
    for contrast in before["contrasts"]:
        for training in contrast["trainings"]:
            del training["sees_target"]
    read = parse_plan(before, where="plan")
    assert read == plan
    assert [part.sees_target for part in read.contrasts] == [part.sees_target for part in plan.contrasts]


def test_a_plan_names_each_set_of_subsets_once_and_large_ones_by_number() -> None:
    subsets = [make_subset(cell) for cell in product("ABCDE", "VWXYZ", "KLMNO")]
    plan = plan_one(replace(with_design("all_related"), seeds=(0,), targets=("a-v-k",)), make_catalog(subsets))
    raw = json.loads(plan.text)
    assert len(raw["sets"]) == len({str(names) for names in raw["sets"]})
    unrelated = raw["sets"][raw["contrasts"][0]["unrelated"]]
    assert unrelated == [name for name in raw["names"] if not set(name.split("-")) & {"a", "v", "k"}]
    related = raw["sets"][
        next(part["subsets"] for part in raw["contrasts"][0]["trainings"] if part["arm"] == "all_data")
    ]
    assert len(unrelated) == 64
    assert int(related, 16).bit_count() == 124
    assert [name for place, name in enumerate(raw["names"]) if not int(related, 16) >> place & 1] == ["a-v-k"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"proofs": []}, "no entry 0 in a table of 0"),
        ({"sets": [["a"]]}, "no entry 1 in a table of 1"),
        ({"sets": ["12"]}, "string should match pattern"),
        ({"cells": 3}, "cells: should be a list"),
    ],
)
def test_a_spoiled_plan_is_told_by_its_fault(change: dict[str, Any], text: str) -> None:
    raw = json.loads(plan_one(replace(with_design("two_source"), targets=("a-x-k",)), cube()).text)
    with pytest.raises(UserError, match=text):
        parse_plan(raw | change, where="plan.json")
    with pytest.raises(UserError, match="plan.json"):
        parse_plan([], where="plan.json")


RECORDED = {
    "finetune": ("2b5d2a3f8b9ceced", ["backbone", "data", "mixture", "recipe", "seed"]),
    "eval": ("036956cd929154f8", ["backbone", "checkpoint_of", "data", "protocol", "target"]),
}
"""Ids of one job of each kind, and its fields: a change here re-keys every finished job and needs a migration."""


def test_ids_of_jobs_do_not_change_unnoticed() -> None:
    study = replace(with_design("two_source", prefer="hash"), targets=("a-x-k",), seeds=(0,))
    plan = plan_one(study, cube())
    jobs: dict[str, FinetuneJob | EvalJob] = {job.id: job for job in (*plan.finetunes, *plan.evals)}
    for name, fields in RECORDED.values():
        assert sorted(json.loads(canonical_json(omit_defaults(jobs[name])))) == fields
