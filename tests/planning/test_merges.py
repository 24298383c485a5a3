"""Arms that ask merged adapters: what they are trained on, which fine-tunes they share, and what they may see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cg_lab.arms import Arm
from cg_lab.errors import UserError
from cg_lab.mat import Kind, Subset
from cg_lab.planning.jobs import replace_data
from cg_lab.planning.plan import Cell, Plan, parse_plan
from cg_lab.planning.plan_union import unite_plans
from cg_lab.planning.validity import VALIDITY_RULES, Declaration
from cg_lab.planning.work import AdapterMerge
from cg_lab.recipe import Lora
from cg_lab.serialize import read_json
from cg_lab.study import MergeSettings
from tests.planning.cases import DATA, STUDY, cube, make_catalog, plan_one, with_design

ROW = {"target": "a-x-k", "sources": ["a-y-k", "b-x-k"], "direction": "task"}
MERGED = (Arm.COMPOSED, Arm.COMPOSED_ALONE, Arm.COMPOSED_UNRELATED)
ARMS = (Arm.UNRELATED, Arm.RELATED, Arm.ALONE, *MERGED)
ADAPTERS = replace(STUDY.finetune, lora=Lora(rank=4, alpha=8, dropout=0.0))


def plan_merges(arms: tuple[Arm, ...] = ARMS, **more: Any) -> Plan:
    study = replace(with_design("two_source", rows=[ROW], max_samples=30), arms=arms, finetune=ADAPTERS)
    return plan_one(replace(study, **more), cube())


def cells(plan: Plan, arm: Arm) -> list[Cell]:
    return [cell for cell in plan.cells if cell.arm is arm]


def merge_of(plan: Plan, cell: Cell) -> AdapterMerge:
    (job,) = (job for job in plan.evals if job.id == cell.eval_job)
    assert job.merge is not None
    assert job.checkpoint_of is None
    assert job.needs == job.merge.of == cell.merged_jobs
    return job.merge


def test_adapters_of_shares_together_saw_what_joint_training_sees() -> None:
    plan = plan_merges()
    for composed, related in zip(cells(plan, Arm.COMPOSED), cells(plan, Arm.RELATED), strict=True):
        assert plan.find_mixture(composed) == plan.find_mixture(related)
        parts = [plan.finetune_by_id[tune].mixture for tune in composed.merged_jobs]
        assert [[(part.subset, part.count) for part in mixture.parts] for mixture in parts] == [
            [("a-y-k", 15)], [("b-x-k", 15)],
        ]  # fmt: skip
        assert {mixture.seed for mixture in parts} == {composed.seed}
        assert composed.finetune_job is None


def test_adapters_of_sources_alone_are_those_of_the_arms_alone() -> None:
    plan = plan_merges()
    for composed in cells(plan, Arm.COMPOSED_ALONE):
        alone = [cell.finetune_job for cell in cells(plan, Arm.ALONE) if cell.seed == composed.seed]
        assert list(composed.merged_jobs) == alone
    without = plan_merges(arms=tuple(arm for arm in ARMS if arm is not Arm.COMPOSED_ALONE))
    assert plan.finetunes == without.finetunes


def test_what_unrelated_merges_saw_shares_nothing_with_the_target() -> None:
    plan = plan_merges()
    for cell in cells(plan, Arm.COMPOSED_UNRELATED):
        mixture = plan.find_mixture(cell)
        assert mixture is not None
        assert [part.count for part in mixture.parts] == [15, 15]
        assert not any({"a", "x", "k"} & set(part.subset.split("-")) for part in mixture.parts)
        assert cell.proof.shared_elements == 0


def test_a_merge_is_proved_by_all_that_its_adapters_saw() -> None:
    plan = plan_merges()
    proof = cells(plan, Arm.COMPOSED)[0].proof
    assert proof.target_absent
    assert [part.subsets for part in proof.coverage] == [("a-y-k",), ("b-x-k",), ("a-y-k", "b-x-k")]
    assert (proof.num_train, proof.budget) == (30, 30)
    assert cells(plan, Arm.COMPOSED_ALONE)[0].proof.num_train == 60


@pytest.mark.parametrize(
    ("arm", "change", "broken"),
    [
        (Arm.COMPOSED, {"target_samples": 5}, "target absent"),
        (Arm.COMPOSED, {"num_train": 29}, "equal budgets"),
        (Arm.COMPOSED, {"coverage": ()}, None),
        (Arm.COMPOSED_UNRELATED, {"shared_elements": 1}, "unrelated shares nothing"),
    ],
)
def test_merges_are_held_to_the_rules_of_their_arms(arm: Arm, change: dict[str, Any], broken: str | None) -> None:
    proof = replace(cells(plan_merges(), arm)[0].proof, **change)
    declared = Declaration(arm=arm, variant="", is_covered=True, sees_target=False, sees_twins=False)
    assert [rule.name for rule in VALIDITY_RULES if rule.is_broken(proof, declared)] == ([broken] if broken else [])


@pytest.mark.parametrize("arm", MERGED)
def test_merges_need_adapters(arm: Arm) -> None:
    with pytest.raises(UserError, match=rf"arms: {arm} asks merged adapters.*finetune=lora"):
        plan_merges(arms=(Arm.RELATED, arm), finetune=STUDY.finetune)


def test_merges_are_planned_only_where_they_are_named() -> None:
    study = replace(with_design("two_source", rows=[ROW], max_samples=30), finetune=ADAPTERS)
    assert not {cell.arm for cell in plan_one(study, cube()).cells} & set(MERGED)


def test_few_samples_or_few_unrelated_subsets_leave_merges_out() -> None:
    assert not cells(plan_merges(design=with_design("two_source", rows=[ROW], max_samples=1).design), Arm.COMPOSED)
    subsets = [part for part in cube().subsets if "a" in part.name or "k" in part.name or part.name == "b-y-l"]
    study = replace(with_design("two_source", rows=[ROW], max_samples=30), arms=ARMS, finetune=ADAPTERS)
    plan = plan_one(study, make_catalog(subsets))
    assert cells(plan, Arm.COMPOSED)
    assert not cells(plan, Arm.COMPOSED_UNRELATED)  # one subset shares nothing, and two are to be merged


def test_weights_are_shares_of_the_samples_or_as_given() -> None:
    plan = plan_merges(arms=(Arm.RELATED, Arm.COMPOSED))
    assert merge_of(plan, cells(plan, Arm.COMPOSED)[0]).weights == (0.5, 0.5)
    small = [replace(part, num_train=10) if part.name == "a-y-k" else part for part in cube().subsets]
    study = replace(with_design("two_source", rows=[ROW], max_samples=30), arms=ARMS, finetune=ADAPTERS)
    uneven = plan_one(study, make_catalog(small))
    assert merge_of(uneven, cells(uneven, Arm.COMPOSED)[0]).weights == (1 / 3, 2 / 3)
    assert not cells(uneven, Arm.COMPOSED_ALONE)  # a source has no arm of its own
    summed = plan_merges(merge=MergeSettings(method="linear", weights=1.0, density=0.5))
    assert merge_of(summed, cells(summed, Arm.COMPOSED)[0]).weights == (1.0, 1.0)


def test_density_and_seed_count_only_where_values_are_pruned_and_drawn() -> None:
    ways = {
        method: [
            merge_of(plan, cell)
            for plan in [plan_merges(merge=MergeSettings(method=method, weights="share", density=0.2))]
            for cell in cells(plan, Arm.COMPOSED)
        ]
        for method in ("cat", "ties", "dare_linear")
    }
    told = {method: [(merge.density, merge.seed) for merge in merges] for method, merges in ways.items()}
    assert told == {
        "cat": [(None, 0), (None, 0)], "ties": [(0.2, 0), (0.2, 0)], "dare_linear": [(0.2, 0), (0.2, 1)],
    }  # fmt: skip


def test_another_way_of_merging_is_another_evaluation_of_the_same_fine_tunes() -> None:
    first = plan_merges()
    other = plan_merges(merge=MergeSettings(method="svd", weights="share", density=0.5))
    assert first.finetunes == other.finetunes
    changed = {cell.arm for cell, same in zip(first.cells, other.cells, strict=True) if cell.eval_job != same.eval_job}
    assert changed == set(MERGED)


def test_ids_are_hashes_of_content_and_plans_are_read_as_they_were_written(tmp_path: Any) -> None:
    plan = plan_merges()
    for job in plan.evals:
        assert job.id == replace(job).id
    path = tmp_path / "plan.json"
    path.write_text(plan.text, encoding="utf-8")
    assert parse_plan(read_json(path), where="plan") == plan


def test_merges_that_are_added_keep_their_fine_tunes() -> None:
    before, asked = plan_merges(arms=(Arm.RELATED,)), plan_merges(arms=(Arm.RELATED, Arm.COMPOSED))
    united = unite_plans(before, asked)
    assert not united.conflicts
    assert united.plan.finetunes == asked.finetunes
    assert asked.num_declared_finetunes == 6  # of each of two seeds one, and one for each source


def test_a_filler_is_mixed_into_each_adapter_by_its_samples() -> None:
    filler = Subset(name="wiki", elements=((), (), ()), num_options=4, num_train=50, num_test=0, kind=Kind.FILLER)
    study = replace(with_design("two_source", rows=[ROW], max_samples=30), arms=ARMS, finetune=ADAPTERS)
    plan = plan_one(
        replace(study, filler=replace(STUDY.filler, subset="wiki", share=0.2)), make_catalog([*cube().subsets, filler])
    )
    for composed in cells(plan, Arm.COMPOSED):
        parts = [plan.finetune_by_id[tune].mixture.parts for tune in composed.merged_jobs]
        assert [{part.subset: part.count for part in found} for found in parts] == [
            {"a-y-k": 15, "wiki": 3}, {"b-x-k": 15, "wiki": 3},
        ]  # fmt: skip
        together = plan.find_mixture(composed)
        assert together is not None
        assert {part.subset: part.count for part in together.parts} == {"a-y-k": 15, "b-x-k": 15, "wiki": 6}


def test_renamed_data_rename_what_is_merged() -> None:
    plan, other = plan_merges(), replace(DATA, seed=9)
    renamed = replace_data(plan, {DATA: other})
    assert not {job.id for job in plan.finetunes} & {job.id for job in renamed.finetunes}
    for before, after in zip(plan.cells, renamed.cells, strict=True):
        if before.merged_jobs:
            assert merge_of(renamed, after).of == after.merged_jobs
            assert renamed.find_mixture(after) == plan.find_mixture(before)
    assert replace_data(renamed, {other: DATA}) == plan
