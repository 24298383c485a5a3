"""Published numbers beside ours, against the papers' tables."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from cg_lab.analysis.effects import compute_effects
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.reporting.beside import Beside, list_beside
from tests.planning.cases import plan_one

PUBLISHED = Path(__file__).resolve().parent.parent / "data" / "published"


def list_of(experiment: str) -> list[Beside]:
    study = read_study([f"experiment={experiment}", "rule.resamples=100"])
    return list_beside(compute_effects(plan_one(study, read_catalog(study.data)), {}, {}))


def test_each_row_of_table_3_stands_beside_its_question_with_the_printed_numbers() -> None:
    found = [row for row in list_of("medmat_table3") if row.table == "Table 3"]
    with (PUBLISHED / "table3_classification.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for arm, column in (("zero-shot", "baseline"), ("unrelated", "baseline_plus"), ("related", "trained")):
        ours = Counter(row.published for row in found if row.arm == arm)
        assert ours == Counter(f"{float(row[column]):g} %" for row in rows)
    assert {row.ours for row in found} == {"-"}


@pytest.mark.parametrize(
    ("experiment", "table", "count"),
    [
        ("medmat_table1", "Table 1", 75), ("medmat_table2", "Table 2", 24), ("medmat_table10", "Table 10", 18),
        ("medmat_figure4", "Figure 4", 14), ("medmat_tables13_14", "Tables 13 and 14", 32),
    ],
)  # fmt: skip
def test_other_tables_stand_beside_the_studies_that_reproduce_them(experiment: str, table: str, count: int) -> None:
    assert sum(row.table == table for row in list_of(experiment)) == count


def test_other_worlds_have_no_published_numbers() -> None:
    assert not list_of("phantom_two_source")
