"""Properties of plans over random catalogues."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cg_lab.catalog import Catalog, PhantomData, build_catalog
from cg_lab.config import read_study
from cg_lab.errors import UserError
from cg_lab.mat import Subset, Triplet
from cg_lab.planning.arms import Arm
from cg_lab.planning.build import build_plan
from cg_lab.planning.plan import Plan
from cg_lab.questions import AnswerForm
from cg_lab.serialize import canonical_json, parse, to_plain
from cg_lab.study import AllRelatedSettings, Backbone, Study, TwoSourceSettings

DATA = PhantomData(version=1, world="compositional", seed=0, image_size=48, train_per_subset=100, test_per_subset=10)
BACKBONE = Backbone(name="m", path="p", revision="r", answer=AnswerForm.LETTER)
STUDY = replace(read_study(["data.targets=null", "seeds=[0,1]"]), targets=None)
TWO_SOURCE = TwoSourceSettings(
    name="two_source", directions=("modality", "area", "task"), combinations=2, max_samples=64
)
ALL_RELATED = AllRelatedSettings(name="all_related", max_samples=64)


def make_subset(triplet: tuple[str, str, str], num_train: int = 40) -> Subset:
    return Subset(
        name="-".join(triplet).lower(),
        triplet=Triplet(*triplet),
        labels=("no", "yes"),
        num_train=num_train,
        num_test=10,
    )


def make_catalog(subsets: list[Subset]) -> Catalog:
    return build_catalog(DATA, subsets)


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    cells = list(product("ABC", "XYZ", "KLM"))
    chosen = draw(st.lists(st.sampled_from(cells), min_size=2, max_size=16, unique=True))
    sizes = draw(st.lists(st.integers(1, 90), min_size=len(chosen), max_size=len(chosen)))
    return make_catalog([make_subset(cell, size) for cell, size in zip(chosen, sizes, strict=True)])


def plan_or_none(study: Study, catalog: Catalog) -> Plan | None:
    try:
        return build_plan(study, catalog, BACKBONE)
    except UserError:
        return None


@pytest.mark.parametrize("design", [TWO_SOURCE, ALL_RELATED])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(catalog=catalogs())
def test_every_cell_is_a_valid_split(design: TwoSourceSettings | AllRelatedSettings, catalog: Catalog) -> None:
    plan = plan_or_none(replace(STUDY, design=design), catalog)
    if plan is None:
        return
    subsets = {subset.name: subset for subset in plan.subsets}
    contrasts = {contrast.id: contrast for contrast in plan.contrasts}
    for cell in plan.cells:
        target = subsets[contrasts[cell.contrast].target]
        trained = [subsets[part.subset] for part in cell.trained_on.parts] if cell.trained_on else []
        assert all(
            part.count <= subsets[part.subset].num_train for part in (cell.trained_on.parts if cell.trained_on else ())
        )
        if cell.arm is Arm.CEILING:
            assert [subset.name for subset in trained] == [target.name]
        else:
            assert all(subset.triplet != target.triplet for subset in trained)
        if cell.arm is Arm.UNRELATED:
            assert not any(subset.triplet.shared(target.triplet) for subset in trained)
        if cell.arm in {Arm.RELATED, Arm.UNRELATED}:
            assert cell.proof.num_train == cell.proof.budget
        if cell.arm is Arm.RELATED and contrasts[cell.contrast].fully_covered:
            assert all(part.subsets for part in cell.proof.coverage)


@settings(max_examples=30, deadline=None)
@given(catalog=catalogs())
def test_related_and_unrelated_partition_the_other_triplets(catalog: Catalog) -> None:
    plan = plan_or_none(replace(STUDY, design=ALL_RELATED), catalog)
    for contrast in plan.contrasts if plan else ():
        others = {subset.name for subset in catalog.subsets} - {contrast.target}
        assert set(contrast.related) | set(contrast.unrelated) == others
        assert not set(contrast.related) & set(contrast.unrelated)


@settings(max_examples=20, deadline=None)
@given(catalog=catalogs())
def test_order_of_the_catalogue_does_not_matter(catalog: Catalog) -> None:
    first = plan_or_none(STUDY, catalog)
    second = plan_or_none(STUDY, make_catalog(list(reversed(catalog.subsets))))
    assert first == second


def test_a_plan_is_the_same_under_any_hash_seed() -> None:
    code = (
        "from cg_lab.config import read_study; from cg_lab.data.sources import read_catalog;"
        "from cg_lab.models.identity import identify_backbone; from cg_lab.planning.build import build_plan;"
        "s = read_study([]); print(build_plan(s, read_catalog(s.data), identify_backbone(s.model)).id)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PATH": ""}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(found) == 1


def cube() -> Catalog:
    return make_catalog([make_subset(cell) for cell in product("ABC", "XYZ", "KLM")])


def test_two_source_pairs_cover_the_target_one_element_each() -> None:
    study = replace(STUDY, design=TWO_SOURCE, targets=("a-x-k",))
    plan = build_plan(study, cube(), BACKBONE)
    subsets = {subset.name: subset for subset in plan.subsets}
    assert len(plan.contrasts) == 6
    for contrast in plan.contrasts:
        shared = [subsets[name].triplet.shared(subsets["a-x-k"].triplet) for name in contrast.related]
        assert all(len(elements) == 2 and contrast.direction in elements for elements in shared)
        assert len(shared[0] | shared[1]) == 3


def test_equal_work_is_one_job() -> None:
    plan = build_plan(replace(STUDY, design=TWO_SOURCE, targets=("a-x-k",)), cube(), BACKBONE)
    ceilings = {cell.finetune_job for cell in plan.cells if cell.arm is Arm.CEILING}
    assert len(ceilings) == 2  # one for each seed, over six contrasts
    assert len(plan.finetunes) < plan.num_declared_finetunes
    assert {cell.eval_job for cell in plan.cells} == {job.id for job in plan.evals}
    assert {cell.finetune_job for cell in plan.cells if cell.finetune_job} == {job.id for job in plan.finetunes}


def test_a_subset_with_the_targets_triplet_is_never_related() -> None:
    twin = replace(make_subset(("A", "X", "K")), name="twin")
    catalog = make_catalog([*cube().subsets, twin])
    plan = build_plan(replace(STUDY, design=ALL_RELATED, targets=("a-x-k",)), catalog, BACKBONE)
    assert all("twin" not in contrast.related + contrast.unrelated for contrast in plan.contrasts)


def test_one_more_seed_adds_only_its_own_jobs() -> None:
    few = build_plan(replace(STUDY, design=TWO_SOURCE, seeds=(0, 1)), cube(), BACKBONE)
    more = build_plan(replace(STUDY, design=TWO_SOURCE, seeds=(0, 1, 2)), cube(), BACKBONE)
    assert {job.id for job in few.finetunes} < {job.id for job in more.finetunes}
    assert {job.seed for job in more.finetunes if job not in few.finetunes} == {2}


def test_a_named_target_without_sources_is_refused_with_the_reason() -> None:
    catalog = make_catalog([make_subset(("A", "X", "K")), make_subset(("B", "Y", "L"))])
    with pytest.raises(UserError, match="no valid sources.*\n.*a-x-k.*no two subsets share its"):
        build_plan(replace(STUDY, design=TWO_SOURCE, targets=("a-x-k",)), catalog, BACKBONE)


def test_an_unknown_target_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="no subset 'a-x-kk'.*Did you mean 'a-x-k'"):
        build_plan(replace(STUDY, targets=("a-x-kk",)), cube(), BACKBONE)


def test_a_plan_survives_its_file() -> None:
    plan = build_plan(replace(STUDY, design=TWO_SOURCE), cube(), BACKBONE)
    assert parse(Plan, json.loads(canonical_json(plan)), where="plan") == plan
    assert parse(Plan, to_plain(plan), where="plan").id == plan.id


def test_ids_of_jobs_do_not_change_unnoticed() -> None:
    plan = build_plan(replace(STUDY, design=TWO_SOURCE, targets=("a-x-k",), seeds=(0,)), cube(), BACKBONE)
    job = min(plan.finetunes, key=lambda job: job.id)
    recorded = json.loads(canonical_json(job))
    assert sorted(recorded) == ["backbone", "data", "mixture", "recipe", "seed"]
    assert sorted(recorded["recipe"]) == [
        "batch_size", "epochs", "learning_rate", "max_grad_norm", "trainable", "warmup_share", "weight_decay",
    ]  # fmt: skip
