"""What each architecture was shown to do: template, precision, checkpoint, settings, coverage.

    python benchmarks/contract.py [--write]

Runs the contract's tests (tests/models/test_contract.py and test_contract_settings.py) and prints a row for each
architecture: "right" where all tests of a column passed, else those that did not; and the reason where an architecture
is refused. With --write the table goes into docs/models.md.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from pages import write_into

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from cg_lab.models.unsupported_architectures import UNSUPPORTED  # noqa: E402
from tests.models.tiny_backbones import ARCHITECTURES  # noqa: E402
from tests.models.tiny_hub_backbones import HUB_ARCHITECTURES  # noqa: E402

MARK = "contract"
COLUMNS = ("template", "precision", "checkpoint", "settings", "coverage")
SETTINGS = "test_contract_settings.py"
WORDS = {
    "template": ("behind_inferences_own_prompt",),
    "precision": ("gpu_would_load",),
    "checkpoint": ("hub_s_names", "bit_for_bit"),
}
"""In the names of the tests of a column; those of `SETTINGS` have one of their own, all others are of coverage."""


def list_rows() -> list[str]:
    """Give the architectures' names in the table's order."""
    return [*ARCHITECTURES, *HUB_ARCHITECTURES, *UNSUPPORTED]


class Outcomes:
    """Notes which tests passed, by architecture and column."""

    def __init__(self) -> None:
        self.passed: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.failed: defaultdict[tuple[str, str], list[str]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take up one test's report."""
        name, _, parameters = report.nodeid.rpartition("::")[2].rstrip("]").partition("[")
        row = next((one for one in list_rows() if one in parameters.split("-")), None)
        if row is None:
            return
        column = next((key for key, words in WORDS.items() if any(word in name for word in words)), "coverage")
        if SETTINGS in report.nodeid:
            column = "settings"
        if report.failed:
            self.failed[row, column].append(name)
        elif report.when == "call" and report.passed:
            self.passed[row, column] += 1

    def tell(self, row: str, column: str) -> str:
        """Say how a column's tests of an architecture went."""
        if self.failed[row, column]:
            return "not: " + ", ".join(sorted(set(self.failed[row, column])))
        return "right" if self.passed[row, column] else "not run"


def write_table(outcomes: Outcomes) -> str:
    """Write the table."""
    lines = [f"| architecture | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row in list_rows():
        if row in UNSUPPORTED:
            lines.append(f"| `{row}` {'| ' * len(COLUMNS)}refused: {UNSUPPORTED[row]} |")
        else:
            lines.append(f"| `{row}` | {' | '.join(outcomes.tell(row, column) for column in COLUMNS)} |")
    return "\n".join(lines)


def main() -> int:
    """Run, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/models.md")
    options = parser.parse_args()
    outcomes = Outcomes()
    tests = [str(ROOT / "tests" / "models" / name) for name in ("test_contract.py", SETTINGS)]
    quiet = ("-q", "--no-header", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    status = pytest.main([*tests, *quiet], plugins=[outcomes])
    table = write_table(outcomes)
    print(table)
    if options.write:
        write_into("models.md", MARK, table)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
