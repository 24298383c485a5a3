"""Tables of committed studies, from their effects.csv: a head of the table says what stands below it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from cg_lab.arms import Arm
from cg_lab.serialize import read_rows

Row = dict[str, str]
Question = list[Row]
"""The rows of a held-out question, one for each arm."""
ARMS = {arm.traits.words: arm for arm in Arm} | {
    "both": Arm.RELATED,
    "single-task": Arm.CEILING,
    "each alone": Arm.ALONE,
}
COLUMNS = {
    "gain over unrelated": "gain_over_unrelated",
    "gain over single-task": "gain_over_ceiling",
    "synergy in points": "synergy",
}
WORLD = re.compile(r"\((?P<page>\S+)\)")
WORDS = ("composes", "transfers", "no evidence", "harms")


def read_questions(path: Path) -> list[Question]:
    """Read the held-out questions of a study, in its order."""
    return [list(rows) for _, rows in groupby(read_rows(path), key=lambda row: row["contrast"])]


def fill_table(path: Path, part: str) -> str:
    """Write the rows below the heads of a table on a study's page."""
    head, line, *_ = part.splitlines()
    heads = split_row(head)
    rows = [[tell(question, name) for name in heads] for question in read_questions(path.parent / "effects.csv")]
    return "".join(f"{row}\n" for row in (head, line, *map(join_row, rows)))


def tell(question: Question, head: str) -> str:
    """Say what stands in a cell."""
    (main,) = (row for row in question if row["verdict"])
    if head in COLUMNS:
        return tell_gain(main, COLUMNS[head])
    if head.startswith("held out"):
        return ", ".join(filter(None, (main["target"], main["level"])))
    if head in OF_QUESTIONS:
        return OF_QUESTIONS[head](main)
    if head == "composed keeps":
        return next((_tell_kept(row) for row in question if row["arm"] == Arm.COMPOSED), "")
    is_varied = head.startswith("without ")
    arm = Arm.WITHOUT if is_varied else ARMS[head]
    return _tell_arm(question, arm, head.removeprefix("without ") if is_varied else "")


def _tell_asked(main: Row) -> str:
    return f"**{main['target']}** (held out)" if main["direction"].startswith("out") else main["target"]


OF_QUESTIONS: dict[str, Callable[[Row], str]] = {
    "target": lambda main: main["target"],
    "verdict": lambda main: main["verdict"],
    "world": lambda main: main["setting"].rpartition("=")[2],
    "asked about": _tell_asked,
    "a guess": lambda main: tell_shares([main["chance"]]),
}


def _tell_arm(question: Question, arm: Arm, variant: str = "") -> str:
    """Say what an arm reached: in one variant, or in each."""
    found = (row["accuracy"] for row in question if row["arm"] == arm and variant in {"", row["variant"]})
    return tell_shares([share for share in found if share] or [""])


def _tell_kept(row: Row) -> str:
    """Say what a merge keeps of joint training's gain; of none that is resolved it keeps no share."""
    if not row["share_of_gain_kept"]:
        return "both gain nothing that is resolved"
    value, low, high = (f"{float(row[f'share_of_gain_kept{end}']) * 100:.0f}" for end in ("", "_low", "_high"))
    return f"{value} % [{low}, {high}]"


def fill_worlds(path: Path, part: str) -> str:
    """Write what was said of the embedded model in each world, a study a row."""
    head, line, *rows = part.splitlines()
    return "".join(f"{row}\n" for row in (head, line, *(_tell_world(path, row) for row in rows)))


def _tell_world(path: Path, row: str) -> str:
    name = split_row(row)[0]
    found = WORLD.search(name)
    assert found, f"{path}: no link in {row}"
    questions = read_questions((path.parent / found["page"]).parent / "effects.csv")
    main = [row for question in questions for row in question if row["verdict"]]
    count = Counter(row["verdict"] for row in main)
    return join_row([name, *(str(count[word]) for word in WORDS), tell_shares([row["accuracy"] for row in main], ", ")])


def split_row(row: str) -> list[str]:
    """Split a row of a table into its cells."""
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def join_row(cells: list[str]) -> str:
    """Make a row of a table."""
    return f"| {' | '.join(cells)} |"


def tell_shares(texts: list[str], between: str = " / ") -> str:
    """Write accuracies.

    >>> tell_shares(["0.376667", "1"])
    '38 / 100 %'
    >>> tell_shares([""])
    'missing'
    """
    if not all(texts):
        return "missing"
    return f"{between.join(f'{float(text) * 100:.0f}' for text in texts)} %"


def tell_gain(row: Row, column: str) -> str:
    """Write a gain with its interval, in points."""
    if not row[column]:
        return ""
    value, low, high = (round(float(row[name]) * 100) for name in (column, f"{column}_low", f"{column}_high"))
    return f"{value:+d} [{low:+d}, {high:+d}]"
