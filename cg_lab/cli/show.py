"""What the terminal shows at the end of a sweep, and how it writes names, times and sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from cg_lab.arms import Arm
from cg_lab.percentages import percent
from cg_lab.planning.plan import Plan
from cg_lab.planning.training_length import tell_unlearned
from cg_lab.results import Layout
from cg_lab.serialize import read_rows

MOST_ROWS = 40
"""Held-out questions that are shown."""
WIDEST = 1000
"""Columns of a terminal on which any table fits."""
MOST_EXPLAINED = 8
"""Held-out questions up to which the reason of each verdict is told too; the report has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What came of a held-out question, in words."""

    target: str
    setting: str
    """Of a multirun; empty where there is one alone."""
    sources: str
    accuracies: tuple[tuple[str, str], ...]
    """Words of each arm, and what it reached."""
    gain: str
    verdict: str
    reason: str


def show_end(layout: Layout, plan: Plan, *, is_mirrored: bool) -> None:
    """Print what a sweep ends with: what came of each held-out question, and where all of it stands."""
    show_effects(layout, plan)
    folder = layout.study(plan.study)
    print(f"\nreport   {folder / 'report.html'}")
    print(f"answers  {folder / 'answers' / 'index.html'}")
    print(f"numbers  {folder / 'effects.csv'}")
    if is_mirrored:
        print(f"compare  python -m cg_lab ui{say_where(layout)}")


def say_where(layout: Layout) -> str:
    """Say in an override where results lie, if not where they do by default."""
    return "" if layout.root == Path("results") else f" results_dir={layout.root}"


def show_effects(layout: Layout, plan: Plan, warning: str | None = None) -> None:
    """Print what came of each held-out question, from effects.csv: a table where it fits, else some lines for each.

    `warning` comes first, that ceilings are low; where it is not known yet, it is found in effects.csv.
    """
    console = open_console()
    asked = {cell.contrast for cell in plan.cells if cell.arm.traits.is_main}
    targets = [contrast.target for contrast in plan.contrasts if contrast.id in asked]
    path = layout.study(plan.study) / "effects.csv"
    questions = (list(rows) for _, rows in groupby(read_rows(path), key=lambda row: row["contrast"]))
    planned = {cell.arm for cell in plan.cells}
    arms = [arm for arm in Arm if arm in planned and arm.traits.is_tabulated]
    is_plain = len(set(targets)) == len(targets)
    judged = (rows for rows in questions if any(row["verdict"] for row in rows))
    shown = _tell_apart([_read_outcome(rows, arms, is_plain=is_plain) for rows in islice(judged, MOST_ROWS)])
    if warning is None:
        warning = tell_unlearned(plan, _read_ceilings(path))
    if warning:
        console.print(f"[bold yellow]{escape(warning)}[/]\n")
    table = _tabulate(shown, [arm.traits.words for arm in arms])
    explains = len(shown) <= MOST_EXPLAINED
    if console.measure(table, options=console.options.update(width=WIDEST)).maximum <= console.width:
        console.print(table)
        if explains:
            console.print()
            for part in shown:
                console.print(escape(f"{part.target}: {part.reason}"))
    else:
        for part in shown:
            reached = ", ".join(f"{words} {accuracy}" for words, accuracy in part.accuracies)
            console.print(f"[bold]{escape(part.target)}: {escape(part.verdict)}[/bold]")
            for text in (f"from {part.sources}", f"{reached}; over unrelated {part.gain}", part.reason * explains):
                if text:
                    console.print(Padding(escape(text), (0, 0, 0, 2)))
    if len(targets) > len(shown):
        console.print(f"... {len(targets) - len(shown)} more")


def _read_outcome(rows: Sequence[dict[str, str]], arms: Sequence[Arm], *, is_plain: bool) -> _Outcome:
    """Read a question's rows of effects.csv; its level or direction is told where the target has several questions."""
    row = next(row for row in rows if row["verdict"])
    accuracies = {other["arm"]: other["accuracy"] for other in rows if not other["variant"]}
    detail = row["level"] or ("" if is_plain else row["direction"])
    return _Outcome(
        target=f"{row['target']} {detail}".strip(),
        setting=row.get("setting", ""),
        sources=shorten_names(tuple(row["related"].split(";"))),
        accuracies=tuple((arm.traits.words, _percent(accuracies.get(arm, ""))) for arm in arms),
        gain=_gain(row),
        verdict=row["verdict"],
        reason=row["verdict_reason"],
    )


def _tell_apart(shown: Sequence[_Outcome]) -> list[_Outcome]:
    """Put the setting of a multirun behind targets that several of them ask about."""
    count = Counter(part.target for part in shown)
    return [
        replace(part, target=f"{part.target}, {part.setting}") if count[part.target] > 1 and part.setting else part
        for part in shown
    ]


def _read_ceilings(path: Path) -> dict[str, bool]:
    """Tell by id of the held-out questions with a ceiling whether it is surely above a guess."""
    return {
        row["contrast"]: float(row["accuracy_low"]) > float(row["chance"])
        for row in read_rows(path)
        if row["arm"] == Arm.CEILING and row.get("accuracy_low")
    }


def _tabulate(shown: Sequence[_Outcome], arms: Sequence[str]) -> Table:
    numbers = (*arms, "gain over unrelated")
    table = open_table("target", "trained on", *numbers, "verdict", right=numbers)
    for part in shown:
        table.add_row(part.target, part.sources, *(reached for _, reached in part.accuracies), part.gain, part.verdict)
    return table


def open_table(*heads: str, right: Collection[str] = (), whole: Collection[str] = ()) -> Table:
    """Open a table without frames, in which nothing is cut: on a narrow terminal texts go on in the next line.

    Parameters
    ----------
    heads
        Of the columns.
    right
        Columns of numbers.
    whole
        Columns of what one types or copies, which is never taken apart.

    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        side = "right" if head in right else "left"
        table.add_column(escape(head), justify=side, overflow="fold", no_wrap=head in whole)
    return table


def print_table(console: Console, table: Table) -> None:
    """Print a table; where it is too wide, texts are broken between words, or rows become a few lines each."""
    texts = [[str(text) for text in (column.header, *column.cells)] for column in table.columns]
    widths = [max(map(len, column)) for column in texts]
    longest = [max(len(word) for text in column for word in (text.split() or [""])) for column in texts]
    room = console.width - 2 * (len(texts) - 1)
    if sum(longest) > room:
        for first, *rest in zip(*(column[1:] for column in texts), strict=True):
            console.print(first)
            told = [f"{head} {text}" for (head, *_), text in zip(texts[1:], rest, strict=True) if text]
            console.print(Padding(", ".join(told), (0, 0, 0, 2)))
        return
    while sum(widths) > room:
        widths[max(range(len(widths)), key=lambda place: widths[place] - longest[place])] -= 1
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    console.print(table)


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of texts."""
    table = open_table(*head)
    for row in rows:
        table.add_row(*map(escape, row))
    print_table(open_console(), table)


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
    return percent(float(text)) if text else "-"


def _gain(row: dict[str, str]) -> str:
    if not row["gain_over_unrelated"]:
        return "-"
    columns = ("gain_over_unrelated", "gain_over_unrelated_low", "gain_over_unrelated_high")
    estimate, low, high = (round(float(row[column]) * 100) for column in columns)
    return f"{estimate:+d} points [{low:+d}, {high:+d}]"
