"""What the terminal shows at the end of a sweep, and how it writes names, times and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, islice

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cg_lab.arms import Arm
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout
from cg_lab.serialize import read_rows

MOST_ROWS = 40
"""Held-out questions that a table shows."""


def show_effects(layout: Layout, plan: Plan) -> None:
    """Print one line for each held-out question, from effects.csv."""
    console = open_console()
    asked = {cell.contrast for cell in plan.cells if cell.arm.traits.is_main}
    targets = [contrast.target for contrast in plan.contrasts if contrast.id in asked]
    table_rows = read_rows(layout.study(plan.study) / "effects.csv")
    questions = (list(rows) for _, rows in groupby(table_rows, key=lambda row: row["contrast"]))
    shown = list(islice((rows for rows in questions if any(row["verdict"] for row in rows)), MOST_ROWS))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("target", "trained on"):
        table.add_column(column)
    planned = {cell.arm for cell in plan.cells}
    arms = [arm for arm in Arm if arm in planned and arm.traits.is_tabulated]
    for column in (*(arm.traits.words for arm in arms), "gain over unrelated"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for rows in shown:
        row = next(row for row in rows if row["verdict"])
        accuracies = {other["arm"]: other["accuracy"] for other in rows if not other["variant"]}
        detail = row["level"] or ("" if len(set(targets)) == len(targets) else row["direction"])
        table.add_row(
            f"{row['target']} {detail}".strip(),
            shorten_names(tuple(row["related"].split(";"))),
            *(_percent(accuracies.get(arm, "")) for arm in arms),
            _gain(row),
            row["verdict"],
        )
    if len(targets) > len(shown):
        table.add_row(f"... {len(targets) - len(shown)} more", *[""] * (len(arms) + 3))
    console.print(table)


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of texts."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        table.add_column(escape(name))
    for row in rows:
        table.add_row(*map(escape, row))
    open_console().print(table)


def tell_time(seconds: float) -> str:
    """Say a duration.

    >>> tell_time(42), tell_time(250), tell_time(8000)
    ('42 s', '4 min 10 s', '2 h 13 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def open_console() -> Console:
    """Open the terminal; where there is none, lines are not cut."""
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = 140
    return console


def shorten_names(names: tuple[str, ...]) -> str:
    """Name up to three subsets, and count more."""
    return " + ".join(names) if len(names) <= 3 else f"{len(names)} subsets"


def _percent(text: str) -> str:
    return f"{float(text):.0%}" if text else "-"


def _gain(row: dict[str, str]) -> str:
    if not row["gain_over_unrelated"]:
        return "-"
    columns = ("gain_over_unrelated", "gain_over_unrelated_low", "gain_over_unrelated_high")
    estimate, low, high = (round(float(row[column]) * 100) for column in columns)
    return f"{estimate:+d} points [{low:+d}, {high:+d}]"
