"""Marks in a page, and the part below each that is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

MARK = re.compile(
    r"(?P<mark><!-- printed: (?P<kind>[^>]+?) -->\n)(?P<part>```\w*\n.*?\n```\n|(?:[^\n]+\n)+)", re.DOTALL
)
"""A mark, and below it a fenced block, or all up to an empty line."""
Writer = Callable[[Path, str], str]
"""Takes a page's path and the part as it is; gives the part as it should be."""


def rewrite(text: str, path: Path, writers: dict[str, Writer]) -> str:
    """Write each marked part of a page anew.

    Raises
    ------
    KeyError
        If a mark names a kind that has no writer.

    """
    return MARK.sub(lambda found: found["mark"] + writers[found["kind"]](path, found["part"]), text)


def fence(part: str, lines: str) -> str:
    """Put lines between the fences of a block."""
    first = part.split("\n", 1)[0]
    return f"{first}\n{lines.strip()}\n```\n"
