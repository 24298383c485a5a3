"""Answers in a CSV: columns `question` and `answer`, and where the command does not say them `arm`, `seed` and so on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cg_lab.errors import UserError
from cg_lab.exchange.answer_files import Content, GivenAnswer, Whose
from cg_lab.serialize import read_rows

NEEDED = ("question", "answer")
TOLD = ("arm", "variant", "seed", "held_out")


def read(path: Path) -> Content:
    """Read the rows; one without an answer is a failure.

    Raises
    ------
    UserError
        If a column is missing or a seed is no number.

    """
    try:
        rows = list(read_rows(path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error})") from None
    lacking = [name for name in NEEDED if not rows or name not in rows[0]]
    if lacking:
        raise UserError(
            f"{path}: no column {' and no column '.join(lacking)}; needed: {', '.join(NEEDED)}, and where the command does not say them {', '.join(TOLD)}"
        )
    return Content(tool="a table", answers=tuple(_read_row(path, number, row) for number, row in enumerate(rows, 2)))


def _read_row(path: Path, number: int, row: Mapping[str, str]) -> GivenAnswer:
    seed = (row.get("seed") or "").strip()
    if seed and not seed.isdecimal():
        raise UserError(
            f"{path}, line {number}: seed '{seed}' is no whole number; leave it empty for the untouched model"
        )
    arm, variant, held_out = ((row.get(name) or "").strip() or None for name in ("arm", "variant", "held_out"))
    return GivenAnswer(
        question=(row["question"] or "").strip(),
        text=(row["answer"] or "").strip() or None,
        whose=Whose(arm=arm, variant=variant, seed=int(seed) if seed else None, held_out=held_out),
        place=f"line {number}",
    )
