"""What pages say that is printed is printed: each block and table stands under a mark, or a test holds it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.printed.__main__ import ROOT, WRITERS, list_pages, write_pages
from tools.printed.marks import MARK, rewrite

PAGES = {str(path.relative_to(ROOT)): path for path in list_pages()}
MARKED = [name for name, path in PAGES.items() if MARK.search(path.read_text(encoding="utf-8"))]
PLANNED = [name for name in MARKED if "medmat" in name]
HELD = {
    "docs/notebooks.md": "tests/reporting/test_notebooks.py::"
    "test_the_examples_run_in_order_and_show_what_the_page_says",
    "docs/own_arm.md": "tests/test_docs.py::test_the_page_on_writing_an_arm_works_as_written",
    "docs/own_server.md": "tests/test_docs.py::test_the_page_on_a_server_of_ones_own_works_as_written",
    "docs/own_source.md": "tests/test_docs.py::test_the_page_on_writing_a_source_works_as_written",
}
"""Pages whose blocks a test compares as it follows them."""
BLOCK = re.compile(r"^```(?P<language>[^\n]*)\n(?P<lines>.*?)^```$", re.DOTALL | re.MULTILINE)
LONGEST_CELL = 120
"""Characters that are shown; a sentence of more than one line is not a cell."""
WRITTEN = ("experiments/*/report.md",)
"""Pages that a sweep writes."""
BENCHMARKED = re.compile(r"<!-- (?P<name>[^>:]+) -->\n.*?<!-- end of (?P=name) -->", re.DOTALL)


def list_unheld(text: str) -> list[str]:
    """List the printed lines of a page that stand under no mark."""
    rest = MARK.sub("", BENCHMARKED.sub("", text))
    blocks = BLOCK.finditer(rest)
    return [
        line
        for block in blocks
        if block["language"] in {"", "console", "text"}
        for line in block["lines"].splitlines()
        if not line.startswith("$ ")
    ]


@pytest.mark.parametrize("name", [name for name in MARKED if name not in PLANNED])
def test_a_page_says_what_is_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert write_pages([PAGES[name]], is_check=True) == 0, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANNED)
def test_a_page_counts_what_its_plan_has(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert write_pages([PAGES[name]], is_check=True) == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_has_printed_is_written_or_held_by_a_test(name: str) -> None:
    unheld = list_unheld(PAGES[name].read_text(encoding="utf-8"))
    assert bool(unheld) == (name in HELD), unheld


@pytest.mark.parametrize("test", HELD.values())
def test_the_tests_that_hold_pages_are_there(test: str) -> None:
    file, name = test.split("::")
    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_each_study_that_is_told_of_has_its_table_from_its_numbers() -> None:
    for path in sorted((ROOT / "experiments").glob("*/effects.csv")):
        assert "<!-- printed: effects.csv -->" in (path.parent / "README.md").read_text(encoding="utf-8"), path


def list_long_cells(text: str) -> list[str]:
    """List the cells of a page that are longer than a line, links as they are shown."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    cells = [cell.strip() for row in rows for cell in re.split(r"(?<!\\)\|", row.strip("|"))]
    return [cell for cell in cells if len(re.sub(r"\]\([^)]*\)", "]", cell)) > LONGEST_CELL]


def test_no_cell_of_a_table_is_longer_than_a_line() -> None:
    pages = [ROOT / "CONTRIBUTING.md", ROOT / "results" / "README.md", *PAGES.values()]
    long = {
        path.name: cells
        for path in [*pages, *(ROOT / "docs" / "decisions").glob("*.md")]
        if not any(path.match(pattern) for pattern in WRITTEN)
        and (cells := list_long_cells(path.read_text(encoding="utf-8")))
    }
    assert long == {}
    assert list_long_cells(f"| a | {'b' * 121} |\n") == ["b" * 121]


def test_each_table_of_figures_says_by_which_command_it_was_measured() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    scripts = set(re.findall(r"benchmarks/\w+\.py", page))
    assert {name for name in scripts if not (ROOT / name).exists()} == set()
    for section in page.split("\n## "):
        for table in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE):
            head, _, *rows = table.splitlines()
            if head.endswith("| command |"):
                assert all(re.search(r"\| (`.+`|the same|the \w+.*) \|$", row) for row in rows), table
            else:
                assert re.search(r"`python benchmarks/\w+\.py", section), head


def test_output_without_a_mark_is_noticed() -> None:
    block = "```console\n$ cg_lab plan\n48 fine-tunes\n```\n"
    assert list_unheld(block) == ["48 fine-tunes"]
    assert list_unheld(f"<!-- printed: sweep -->\n{block}") == []
    assert list_unheld(f"<!-- scale -->\n{block}<!-- end of scale -->\n") == []


def test_only_what_stands_below_a_mark_is_written() -> None:
    page = "above\n\n<!-- printed: plan -->\nold\nolder\n\nbelow\n"
    assert rewrite(page, Path("a.md"), {"plan": lambda _, __: "new\n"}) == page.replace("old\nolder\n", "new\n")


def test_a_mark_of_an_unknown_kind_is_a_fault() -> None:
    with pytest.raises(KeyError, match="nothing"):
        rewrite("<!-- printed: nothing -->\nold\n", Path("a.md"), WRITERS)


def test_the_page_on_scale_has_the_lines_of_its_simulation(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/scale.py", "--jobs", "40", "--slots", "4", "--preemptions", "0"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    block = page.split("$ python benchmarks/scale.py\n")[1].split("\n```")[0]
    assert [line[:18] for line in block.splitlines()] == [line[:18] for line in done.stdout.splitlines()]
