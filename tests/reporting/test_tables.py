"""Files of rows, as spreadsheets and other programs read them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cg_lab.reporting.tables import write_csv


@pytest.mark.parametrize("cell", ["plain", "a,b", 'say "aah"', "two\nlines", "a\rb", '",\n"', "", " led by a space"])
def test_a_cell_is_read_again_as_it_was(cell: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.csv", [{"first": cell, "a,head": "x"}, {"first": "y", "a,head": cell}])
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [{"first": cell, "a,head": "x"}, {"first": "y", "a,head": cell}]


def test_a_row_that_lacks_a_column_leaves_it_empty_and_no_row_leaves_no_file(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.csv", [{"a": "1", "b": "2"}, {"b": "3"}])
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8") == "a,b\n1,2\n,3\n"
    write_csv(tmp_path / "none.csv", [])
    assert not (tmp_path / "none.csv").exists()
