"""Ids of jobs: hashes of what a job is, however it was made, read or renamed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from cg_lab.catalog import DataRef, PhantomData
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.jobs import JobFactory, replace_data, share_parts
from cg_lab.planning.mixture import Spreader
from cg_lab.planning.plan import Plan, parse_plan
from cg_lab.planning.work import EvalJob, FinetuneJob, Mixture, MixturePart, PartGroups
from cg_lab.serialize import content_id, dump_json, omit_defaults, to_plain
from tests.planning.cases import BACKBONE, DATA, STUDY, cube, make_catalog, make_subset, plan_one, with_design

OTHER = PhantomData(version=2, world="compositional", seed=0, image_size=48, train_per_subset=100, test_per_subset=10)


def plan_design(design: str) -> Plan:
    targets = None if design == "attribute_split" else ("a-x-k", "b-y-k")
    return plan_one(replace(with_design(design), targets=targets, seeds=(0,)), cube())


def plan_many(*releases: str, max_samples: int = 99) -> Plan:
    """Plan over more subsets than mixtures list one by one, of one release or several."""
    study = replace(with_design("all_related", max_samples=max_samples), targets=("a-p-k",), seeds=(0,))
    runs: list[Run] = []
    for seed, name in enumerate(releases or ("Y",)):
        many = [make_subset((a, b, "K")) for a in "ABCDEFGHIJ" for b in "PQRSTUVWXYZ"]
        catalog = make_catalog([*many, make_subset((name, name, "M"), 400)])
        runs.append(
            Run(name=name, study=study, catalog=replace(catalog, data=replace(DATA, seed=seed)), backbone=BACKBONE)
        )
    return build_plan(runs)


def list_jobs(plan: Plan) -> list[FinetuneJob | EvalJob]:
    return [*plan.finetunes, *plan.evals]


@pytest.mark.parametrize("design", ["target_curve", "few_shot", "attribute_split"])
def test_a_job_hashes_itself_to_the_id_that_it_was_made_with(design: str) -> None:
    for job in list_jobs(plan_design(design)):
        assert replace(job).id == job.id


@pytest.mark.parametrize("num_samples", [9, 80, 120, 170])
def test_a_mixture_of_many_subsets_has_the_id_of_its_parts_one_by_one(num_samples: int) -> None:
    factory = JobFactory(DATA, BACKBONE, STUDY.finetune)
    mixtures: list[Mixture] = []
    for letter in "ÄB":
        subsets = tuple(make_subset((f"{letter}{number:02}", '"q"', "K")) for number in range(80))
        mixtures.append(Spreader(subsets).build_mixture(tuple(subset.name for subset in subsets), num_samples, 0))
    for mixture in (*mixtures, replace(mixtures[0], labels="shuffled"), replace(mixtures[0], seed=3)):
        assert isinstance(mixture.parts, PartGroups)
        job = factory.make_finetune(mixture, 0)
        listed = replace(mixture, parts=tuple(mixture.parts))
        assert job.id == replace(job).id == factory.make_finetune(listed, 0).id == replace(job, mixture=listed).id


@pytest.mark.parametrize(
    "make",
    [
        partial(plan_design, "two_source"),
        partial(plan_design, "attribute_split"),
        plan_many,
        partial(plan_many, "Y", "Z"),
    ],
)
def test_a_plan_from_a_file_has_jobs_that_know_their_ids_and_share_equal_parts(make: Callable[[], Plan]) -> None:
    plan = make()
    read = parse_plan(json.loads(plan.text), where="test")
    shared = share_parts(read)
    assert shared == plan
    assert [vars(job)["id"] for job in list_jobs(shared)] == [job.id for job in list_jobs(plan)]
    for job, other in zip(shared.finetunes, plan.finetunes, strict=True):
        assert isinstance(job.mixture.parts, PartGroups) is isinstance(other.mixture.parts, PartGroups)
    parts = {part: part for job in shared.finetunes for part in job.mixture.parts}
    assert all(parts[part] is part for job in shared.finetunes for part in job.mixture.parts)


@pytest.mark.parametrize("max_samples", [99, 112])
def test_a_plan_from_a_file_has_its_mixtures_also_where_few_subsets_give_more_than_the_many(max_samples: int) -> None:
    plan = plan_many(max_samples=max_samples)
    read = parse_plan(json.loads(plan.text), where="test")
    assert [tuple(job.mixture.parts) for job in read.finetunes] == [tuple(job.mixture.parts) for job in plan.finetunes]


@pytest.mark.parametrize(("path", "answers"), [("p", {}), ("llava-hf/llava-1.5-7b-hf", {"answers": "ended"})])
def test_a_fine_tune_whose_fields_have_come_to_mean_other_work_has_another_id(
    path: str, answers: dict[str, str]
) -> None:
    """Two epochs of eight samples by four were always whole; those of ten once ended after five steps."""
    recipe = replace(STUDY.finetune, epochs=2.0, batch_size=4)
    factory = JobFactory(DATA, replace(BACKBONE, path=path), recipe)
    for num_samples, epochs in ((8, {}), (10, {"epochs": "whole"})):
        mixture = Mixture(parts=(MixturePart(subset="a-x-k", count=num_samples),), seed=0)
        job = factory.make_finetune(mixture, 0)
        assert job.id == replace(job).id == content_id("finetune", 1, omit_defaults(job) | answers | epochs)


def test_a_part_that_is_gone_leaves_its_text_to_no_other() -> None:
    factory = JobFactory(DATA, BACKBONE, STUDY.finetune)
    for number in range(9):  # each part in the place in memory of the one before, if that is free again
        job = factory.make_finetune(Mixture(parts=(MixturePart(subset=f"s{number}", count=1),), seed=0), 0)
        assert job.id == replace(job).id


def test_a_job_is_written_with_its_parts_one_by_one_however_it_holds_them() -> None:
    jobs = plan_many().finetunes
    assert any(isinstance(job.mixture.parts, PartGroups) for job in jobs)
    for job in jobs:
        listed = replace(job, mixture=replace(job.mixture, parts=tuple(job.mixture.parts)))
        assert dump_json((job,)) == dump_json((listed,))
        assert to_plain(job) == to_plain(listed)


@pytest.mark.parametrize("design", ["two_source", "few_shot", "attribute_split"])
def test_renamed_data_rename_every_job_and_what_points_to_it(design: str) -> None:
    plan = plan_design(design)
    renamed = replace_data(plan, {DATA: OTHER})
    assert {catalog.data for catalog in renamed.catalogs} == {OTHER}
    assert {job.data for job in list_jobs(renamed)} == {OTHER}
    ids = {job.id for job in list_jobs(renamed)}
    assert not ids & {job.id for job in list_jobs(plan)}
    assert {job.checkpoint_of for job in renamed.evals if job.checkpoint_of} == {job.id for job in renamed.finetunes}
    for jobs in (renamed.finetunes, renamed.evals):
        assert [job.id for job in jobs] == sorted(job.id for job in jobs)
    assert {cell.key for cell in renamed.cells} == {cell.key for cell in plan.cells}
    for cell in renamed.cells:
        evaluation = next(job for job in renamed.evals if job.id == cell.eval_job)
        assert evaluation.target == cell.subset
        assert evaluation.checkpoint_of == cell.finetune_job
    assert replace_data(renamed, {OTHER: DATA}) == plan


def test_data_that_keep_their_name_keep_their_jobs() -> None:
    plan = plan_design("few_shot")
    names: dict[DataRef, DataRef] = {OTHER: DATA}
    assert replace_data(plan, names) == plan
