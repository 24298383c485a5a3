"""The contract's table says of each architecture what its tests found."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))
contract: Any = import_module("contract")
pages: Any = import_module("pages")


def test_a_cell_is_right_only_if_all_of_its_tests_passed() -> None:
    outcomes = contract.Outcomes()

    def report(name: str, *, passed: bool, file: str = "test_contract.py") -> None:
        node = f"tests/models/{file}::{name}"
        outcomes.pytest_runtest_logreport(SimpleNamespace(nodeid=node, when="call", passed=passed, failed=not passed))

    report("test_a_checkpoint_has_the_hub_s_names_and_is_read_back[llava]", passed=True)
    assert outcomes.tell("llava", "checkpoint") == "right"
    report("test_a_fine_tune_learns_and_goes_on_bit_for_bit_where_it_stopped[llava-lora]", passed=False)
    assert outcomes.tell("llava", "checkpoint").startswith("not: test_a_fine_tune_learns")
    assert outcomes.tell("llava_next", "checkpoint") == "not run"
    report(
        "test_an_answer_is_trained_behind_inferences_own_prompt[llava-attention=eager]",
        passed=True,
        file=contract.SETTINGS,
    )
    assert (outcomes.tell("llava", "settings"), outcomes.tell("llava", "template")) == ("right", "not run")


def test_a_table_takes_the_place_of_the_one_before() -> None:
    page = "above\n<!-- one -->\nold\n<!-- end of one -->\nbelow\n"
    assert pages.put_between(page, "one", "new") == page.replace("old", "new")


@pytest.mark.parametrize("page", ["no mark at all", "<!-- one --> that does not end"])
def test_a_page_without_marks_is_left_as_it_is(page: str) -> None:
    with pytest.raises(AssertionError):
        pages.put_between(page, "one", "new")


def test_the_page_has_a_row_for_each_architecture_that_is_tested_or_refused() -> None:
    page = (pages.DOCS / "models.md").read_text(encoding="utf-8")
    _, _, rest = page.partition(f"<!-- {contract.MARK} -->")
    rows = rest.partition(f"<!-- end of {contract.MARK} -->")[0].strip().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == contract.list_rows()
    assert not any("not: " in row or "not run" in row for row in rows)
