"""One module for each trainer that cg_lab knows the files of: `export` writes them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol, cast

from cg_lab.dotted_modules import load_module
from cg_lab.training.trainer_task import TrainerTask


class Exporter(Protocol):
    """What the module of an exporter offers."""

    VERSION: int
    """Part of every job's id; raised when the same task comes to be written otherwise."""

    def export(self, task: TrainerTask) -> Path:
        """Write samples and configuration into `task.data`; gives what `{config}` of the command stands for."""
        ...


def load_exporter(name: str) -> Exporter:
    """Load the module of an exporter: one of this package, or a dotted module of one's own.

    Raises
    ------
    UserError
        If there is none, or it lacks a part.

    """
    return cast(
        "Exporter", load_module(name, sys.modules[__name__], ("VERSION", "export"), setting="finetune.exporter")
    )
