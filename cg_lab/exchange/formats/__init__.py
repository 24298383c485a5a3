"""One module for each tool that a study is exported to: `write` writes the test questions as it reads them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol, cast

from cg_lab.dotted_modules import load_module
from cg_lab.errors import UserError, suggest
from cg_lab.exchange.exported_study import ExportedStudy


class Format(Protocol):
    """What the module of a format offers."""

    TAKES_BOXES: bool
    """Whether it has questions that are answered by boxes."""

    def write(self, study: ExportedStudy, folder: Path) -> str:
        """Write test questions into a folder that has the tables of arms; gives what a README says of them, in Markdown."""
        ...


FORMATS = ("hf", "inspect", "lmms-eval", "vlmevalkit", "croissant")
"""By the names that their users know."""


def load_format(name: str) -> Format:
    """Load the module of a format: one of this package, or a dotted module of one's own.

    Raises
    ------
    UserError
        If there is none, or it lacks a part.

    """
    if "." not in name and name not in FORMATS:
        raise UserError(f"--to: no format '{name}', nor a dotted module of your own; {suggest(name, FORMATS)}")
    module = load_module(name.replace("-", "_"), sys.modules[__name__], ("TAKES_BOXES", "write"), setting="--to")
    return cast("Format", module)
