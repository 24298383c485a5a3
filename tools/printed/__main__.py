"""Write what runs print into the docs: python -m tools.printed [--check] [PAGE ...]."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from tools.printed.effects import fill_table, fill_worlds
from tools.printed.marks import Writer, rewrite
from tools.printed.records import list_writers
from tools.printed.terminal import ROOT, count_plan, show_fault, show_server, show_sweep

WRITERS: dict[str, Writer] = {
    "effects.csv": fill_table,
    "worlds": fill_worlds,
    "plan": count_plan,
    "sweep": show_sweep,
    "a fault": show_fault,
    "a server": show_server,
    **list_writers(),
}


def list_pages() -> list[Path]:
    """List the pages that may have marks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "experiments").glob("*/*.md"))]


def write_pages(pages: list[Path], *, is_check: bool) -> int:
    """Write pages, or print what would change.

    Returns
    -------
    How many pages are not as they should be.

    """
    num_changed = 0
    for path in pages:
        text = path.read_text(encoding="utf-8")
        new = rewrite(text, path, WRITERS)
        if new == text:
            continue
        num_changed += 1
        name = str(path.relative_to(ROOT))
        if is_check:
            diff = difflib.unified_diff(text.splitlines(), new.splitlines(), name, "as it is printed", lineterm="")
            print("\n".join(diff))
        else:
            path.write_text(new, encoding="utf-8")
            print(f"written  {name}")
    return num_changed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write what runs print into the docs.")
    parser.add_argument("--check", action="store_true", help="write nothing, say what would change")
    parser.add_argument("pages", nargs="*", type=Path)
    asked = parser.parse_args()
    changed = write_pages([path.resolve() for path in asked.pages] or list_pages(), is_check=asked.check)
    sys.exit(1 if asked.check and changed else 0)
