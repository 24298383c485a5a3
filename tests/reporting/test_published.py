"""The papers' tables: arithmetic against print."""

from __future__ import annotations

from pathlib import Path

import pytest

from cg_lab.cli import main
from cg_lab.errors import UserError
from cg_lab.reporting.published import FIGURE_4, TABLES, read_published

OURS = Path(__file__).parents[1] / "data" / "published"
"""Copies of the tables that designs are checked against."""
WHOLE = Path(__file__).resolve().parents[3] / "shared" / "paper"
needs_all = pytest.mark.skipif(not WHOLE.is_dir(), reason="the published tables are not beside the project")


def test_means_and_marks_of_table_3_are_those_in_print() -> None:
    table = read_published(OURS)["Table 3: two sources"]
    means = table[table["related"] == "mean"].set_index("direction")
    printed = {
        "fixed_modality": ("40.9", "41.4", "47.4"),
        "fixed_area": ("35.0", "29.0", "48.8"),
        "fixed_task": ("37.0", "42.1", "57.7"),
        "all": ("38.5", "40.0", "50.5"),
    }
    for direction, numbers in printed.items():
        assert tuple(means.loc[direction, ["baseline", "baseline_plus", "trained"]]) == numbers
    rows = table[table["related"] != "mean"]
    assert len(rows) == 43
    assert set(rows["as printed"]) == {"yes"}  # every mark follows from its row


@needs_all
def test_means_and_deviations_of_the_other_tables_are_those_in_print() -> None:
    tables = read_published(WHOLE)
    assert len(tables) == len(TABLES)
    assert tuple(tables["Table 1: in distribution"].iloc[-1]) == ("mean", "29.6", "53.1", "79.8")
    assert tuple(tables["Table 2: out of distribution"].iloc[-1]) == ("mean", "30.5", "45.3")
    for _, row in tables["Table 9: three runs"].iterrows():
        mean, _, sd = str(row["printed"]).partition(" ± ")
        assert abs(float(row["mean"]) - float(mean)) <= 0.0101
        assert abs(float(row["sd"]) - float(sd)) <= 0.0101


def test_the_command_writes_a_page_and_the_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--published", str(OURS), f"results_dir={tmp_path}"]) == 0
    assert "figure4.svg" in capsys.readouterr().out
    page = (tmp_path / "published/published.md").read_text(encoding="utf-8")
    assert "| fixed_modality | Lung COVID + Brain Cancer | Lung Cancer | 25 | 25 | 27 | yes | yes |" in page
    svg = (tmp_path / "published/figure4.svg").read_text(encoding="utf-8")
    assert "without Modality" in svg
    assert (OURS / FIGURE_4).is_file()


def test_a_folder_without_tables_names_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no table in .*; known: table1_in_distribution\.csv"):
        read_published(tmp_path)
