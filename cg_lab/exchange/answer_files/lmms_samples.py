"""Samples that lmms-eval logs of an exported task, with `--log_samples`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cg_lab.errors import UserError
from cg_lab.exchange.answer_files import Content, GivenAnswer, Whose

FAILED = "[LMMS_EVAL_REQUEST_FAILED"
"""Begins what stands in place of an answer that a server did not give."""


def read(path: Path) -> Content:
    """Read the lines.

    Raises
    ------
    UserError
        If a line is no sample of an exported task.

    """
    with path.open(encoding="utf-8") as file:
        answers = tuple(_read_line(path, number, line) for number, line in enumerate(file, 1) if line.strip())
    return Content(tool="lmms-eval", answers=answers)


def _read_line(path: Path, number: int, line: str) -> GivenAnswer:
    try:
        sample: dict[str, Any] = json.loads(line)
        question, said = str(sample["answered"]["id"]), _find_text(sample["resps"])
    except (ValueError, LookupError, TypeError):
        raise UserError(
            f"{path}, line {number}: no sample of a task that `export --to lmms-eval` wrote: it needs 'resps' and the id in 'answered'"
        ) from None
    return GivenAnswer(
        question=question,
        text=None if said.startswith(FAILED) else said,
        whose=Whose(),
        place=f"line {number}",
    )


def _find_text(said: object) -> str:
    """Give the first text of a response, which stands in as many lists as there are repeats and filters."""
    while isinstance(said, list):
        said = said[0]
    if not isinstance(said, str):
        raise TypeError
    return said
