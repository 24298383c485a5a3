"""The published designs of Med-MAT (arXiv 2412.20070), planned over the catalogue that comes with the package."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from cg_lab.arms import Arm
from cg_lab.catalog import Catalog
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.planning.plan import Plan
from cg_lab.study import Study
from tests.planning.cases import plan_one

PUBLISHED = Path(__file__).resolve().parent.parent / "data" / "published"
DESIGNS = (
    "two_source", "three_source", "all_related", "disrupt", "multi_task", "size_curve", "target_curve", "backbones",
    "few_shot", "cross_kind", "crossmed", "coverage", "divergence", "distance", "folds", "attribute_split",
    "transfer",
)  # fmt: skip
DIRECTIONS = {
    "fixed_modality": "modality", "fixed_area": "area", "fixed_task": "task", "modality_area_pair": "pair",
}  # fmt: skip


def read_rows(name: str) -> list[dict[str, str]]:
    with (PUBLISHED / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def plan_med_mat(*overrides: str) -> tuple[Plan, Study, Catalog]:
    study = read_study(["data=med_mat", "seeds=[0]", *overrides])
    catalog = read_catalog(study.data)
    return plan_one(study, catalog), study, catalog


def number_of(name: str) -> str:
    return name.rsplit("-", 1)[1]


def test_the_catalogue_has_what_the_paper_says() -> None:
    catalog = read_catalog(read_study(["data=med_mat"]).data)
    kinds = Counter((subset.kind, subset.split) for subset in catalog.subsets)
    assert kinds == {
        ("classification", "in_distribution"): 25,
        ("classification", "out_of_distribution"): 12,
        ("detection", None): 16,
    }
    datasets = {dataset for subset in catalog.subsets for dataset in subset.datasets}
    assert len(datasets) == 106
    assert {str(number) for number in range(1, 110)} - datasets == {"43", "64", "83"}


@pytest.fixture(scope="module")
def pairs() -> set[tuple[str, str, frozenset[str]]]:
    plan, _, __ = plan_med_mat(
        "twins=equal", "design.directions=[modality,area,task,pair]", "design.combinations=null", "arms=[zero_shot]"
    )
    return {
        (contrast.direction or "", number_of(contrast.target), frozenset(map(number_of, related)))
        for contrast, related in _list_pairs(plan)
    }


def _list_pairs(plan: Plan) -> list[tuple]:
    return [(contrast, tuple(contrast.id.rsplit("/", 1)[1].split("+"))) for contrast in plan.contrasts]


def list_alternatives(row: dict[str, str]) -> set[tuple[str, str, frozenset[str]]]:
    return {
        (DIRECTIONS[row["direction"]], row["target_subset_INFERRED"], frozenset({first, second}))
        for first in row["r1_subset_INFERRED"].split("|")
        for second in row["r2_subset_INFERRED"].split("|")
    }


def test_the_two_source_rule_covers_all_rows_of_table_3(pairs: set[tuple[str, str, frozenset[str]]]) -> None:
    rows = read_rows("table3_classification")
    missed = [row["row"] for row in rows if not list_alternatives(row) & pairs]
    assert (len(rows), missed) == (43, [])


def test_the_candidates_beyond_table_3_are_these(pairs: set[tuple[str, str, frozenset[str]]]) -> None:
    published = set().union(*(list_alternatives(row) for row in read_rows("table3_classification")))
    beyond = sorted(
        f"{direction} {target} from {'+'.join(sorted(names))}" for direction, target, names in pairs - published
    )
    recorded = (PUBLISHED.parent / "candidates_beyond_table3.txt").read_text(encoding="utf-8").splitlines()
    assert beyond == recorded


def test_three_source_yields_all_rows_of_table_10() -> None:
    plan, _, __ = plan_med_mat("twins=equal", "design=three_source", "design.combinations=null", "arms=[zero_shot]")
    found = {(number_of(part.target), frozenset(map(number_of, sources))) for part, sources in _list_pairs(plan)}
    rows = read_rows("table10_three_sources")
    wanted = {
        (row["target"][-3:-1], frozenset(row[column][:2] for column in ("M_source", "A_source", "T_source")))
        for row in rows
    }
    assert len(rows) == 9
    assert wanted <= found


def test_backbones_draws_the_papers_rows() -> None:
    rows = read_rows("table3_classification")
    _, study, catalog = plan_med_mat("experiment=medmat_backbones")
    plan = plan_one(study, catalog)
    drawn = {
        direction: {
            place
            for place, row in enumerate([row for row in rows if DIRECTIONS[row["direction"]] == direction])
            if any(
                (direction, number_of(contrast.target), frozenset(map(number_of, contrast.related)))
                in list_alternatives(row)
                for contrast in plan.contrasts
                if contrast.direction == direction
            )
        }
        for direction in DIRECTIONS.values()
    }
    assert drawn == {"modality": {8, 12}, "area": {1, 2}, "task": {5, 7}, "pair": {6, 7}}


@pytest.mark.parametrize("twins", ["shared", "equal"])
def test_disrupt_gives_all_arms_of_figure_4_at_15000_samples(twins: str) -> None:
    plan, _, __ = plan_med_mat(f"twins={twins}", "design=disrupt", "targets=[ct-lung-covid-03,xray-lung-covid-28]")
    columns = {
        "All_Unrelated": (Arm.UNRELATED, ""), "All_Related": (Arm.RELATED, ""), "All_Data": (Arm.ALL_DATA, ""),
        "wo_Modality": (Arm.WITHOUT, "modality"), "wo_Area": (Arm.WITHOUT, "area"), "wo_Task": (Arm.WITHOUT, "task"),
        "Baseline": (Arm.ZERO_SHOT, ""),
    }  # fmt: skip
    rows = read_rows("figure4_scaling")
    for row in rows:
        target = next(c for c in plan.contrasts if number_of(c.target) == row["target"].removeprefix("Subset"))
        sizes = {(cell.arm, cell.variant): cell.proof.num_train for cell in plan.cells if cell.contrast == target.id}
        assert set(columns) == set(row) - {"target"}
        for column, key in columns.items():
            assert sizes[key] == (0 if column == "Baseline" else 15_000), (row["target"], column)


def test_the_published_check_marks_follow_the_rule() -> None:
    rows = read_rows("table3_classification")
    marks = [float(row["trained"]) > max(float(row["baseline"]), float(row["baseline_plus"])) for row in rows]
    assert [row["cg_helps"] == "1" for row in rows] == marks
    assert sum(marks) == 37


@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_plans_med_mat(design: str) -> None:
    plan, _, __ = plan_med_mat("twins=equal", f"design={design}")
    assert plan.cells
    assert all(cell.proof.num_test > 0 for cell in plan.cells)


def test_data_sets_on_both_sides_are_told() -> None:
    plan, _, __ = plan_med_mat("twins=equal", "design=all_related", "targets=[mri-brain-diseases-22]")
    shared = {name for cell in plan.cells for name in cell.proof.same_datasets if cell.arm is not Arm.CEILING}
    assert shared <= {"44", "45"}


def test_the_full_two_source_matrix_shares_its_fine_tunes() -> None:
    _, study, catalog = plan_med_mat(
        "twins=equal", "design.directions=[modality,area,task,pair]", "design.combinations=null"
    )
    plan = plan_one(replace(study, seeds=(0, 1, 2)), catalog)
    assert len(plan.finetunes) <= 0.6 * plan.num_declared_finetunes
