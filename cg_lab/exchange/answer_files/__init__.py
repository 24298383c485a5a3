"""One module for each kind of file that answers come in: `read` gives what a model said to which question."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from cg_lab.errors import UserError
from cg_lab.results import AnswerSource

KINDS = {
    ".eval": "inspect_logs",
    ".json": "inspect_logs",
    ".jsonl": "lmms_samples",
    ".csv": "answer_table",
}
"""Modules by the ending of a file's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Which model answered, as far as it is said; None where it is not."""

    arm: str | None = None
    variant: str | None = None
    seed: int | None = None
    held_out: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAnswer:
    """What a model said to a question."""

    question: str
    """Id, as it was exported."""
    text: str | None
    """None where the tool tells of a failure."""
    whose: Whose
    place: str
    """In its file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFile:
    """The answers of a file."""

    source: AnswerSource
    answers: tuple[GivenAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a module reads of a file."""

    tool: str
    model: str = ""
    answers: tuple[GivenAnswer, ...]


def read_answer_file(path: Path) -> AnswerFile:
    """Read a file of answers.

    Raises
    ------
    UserError
        If it is not there, of no kind that is known, or says something else.

    """
    if not path.is_file():
        raise UserError(f"import: no file '{path}'")
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise UserError(
            f"import: '{path}' is none of: a log of inspect_ai (.eval, .json), samples of lmms-eval (.jsonl), or answers in a table (.csv)"
        )
    read: Callable[[Path], Content] = import_module(f"{__name__}.{kind}").read
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    content = read(path)
    source = AnswerSource(name=path.name, sha256=digest, tool=content.tool, model=content.model)
    return AnswerFile(source=source, answers=content.answers)
