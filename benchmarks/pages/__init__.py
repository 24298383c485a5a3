"""Tables that a command writes into a page of docs/, between two marks."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def put_between(page: str, name: str, table: str) -> str:
    """Put a table between a page's marks of this name."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    assert found, f"the page has no mark {begin}"
    assert closed, f"the page has no mark {end}"
    return f"{before}{begin}\n{table}\n{end}{after}"


def write_into(name: str, mark: str, table: str) -> None:
    """Put a table between the marks of a page of docs/."""
    path = DOCS / name
    path.write_text(put_between(path.read_text(encoding="utf-8"), mark, table), encoding="utf-8")
