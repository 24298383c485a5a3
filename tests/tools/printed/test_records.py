"""Figures in the docs are those of records, which runs of benchmarks write."""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Formatter

import pytest

from tools.printed.records import RECORDS, keep, list_writers, read_records

PRINTED = "report of 1,000 cells, 12 images: 20.5 s, 0.52 MB of HTML\n"
ROWS = [
    {
        "what": "report", "figure": "old", "date": "2026-01", "is_transcribed": True, "command": "`python b.py`",
        "reads": r": (?P<seconds>[\d.]+) s, (?P<size>[\d.]+) MB", "tells": "{seconds} s; {size} MB",
    },
    {"what": "another", "figure": "old", "floor": "9 s", "date": "2026-01", "command": "`python b.py`"},
    {"what": "a third", "figure": "old", "date": "2026-01", "machine": "Xeon", "command": "`make install`"},
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "speed.json").write_text(json.dumps(ROWS), encoding="utf-8")
    return tmp_path


def test_a_run_writes_the_figures_that_patterns_read_and_leaves_others_as_they_were(folder: Path) -> None:
    told = keep(folder, "python b.py", PRINTED, date="2026-11-29", machine="EPYC")
    assert told == ["report: 20.5 s; 0.52 MB", "another: as it was, read by no pattern"]
    first, *others = read_records(folder / "speed.json")
    assert (first.figure, first.date, first.machine) == ("20.5 s; 0.52 MB", "2026-11-29", "EPYC")
    assert not first.is_transcribed
    assert [(row.figure, row.date) for row in others] == [("old", "2026-01")] * 2


def test_a_run_that_prints_something_else_is_refused_and_writes_nothing(folder: Path) -> None:
    before = (folder / "speed.json").read_bytes()
    with pytest.raises(ValueError, match=r"speed.json: python b.py printed nothing like .*, for: report"):
        keep(folder, "python b.py", "failed", date="d", machine="m")
    assert (folder / "speed.json").read_bytes() == before


def test_a_table_has_where_and_when_each_figure_was_measured(folder: Path) -> None:
    assert list_writers(folder)["record speed"](Path("a.md"), "").splitlines() == [
        "| what | figure | floor | measured | command |",
        "|---|---|---|---|---|",
        "| report | old |  | 2026-01 | `python b.py` |",
        "| another | old | 9 s | 2026-01 | the same |",
        "| a third | old |  | 2026-01, Xeon | `make install` |",
    ]


def test_each_figure_is_made_of_what_its_pattern_reads() -> None:
    rows = [row for path in RECORDS.glob("*.json") for row in read_records(path)]
    assert len(rows) > 30
    for row in rows:
        fields = {name for _, name, _, _ in Formatter().parse(row.tells) if name}
        assert fields == set(re.compile(row.reads).groupindex), row.what
