"""One module for each design of the field: its settings, and `find`, which poses the held-out questions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Protocol, cast

from cg_lab.dotted_modules import list_modules, load_module
from cg_lab.errors import UserError, suggest
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Skipped
from cg_lab.serialize import parse
from cg_lab.study import DesignSettings


class Design(Protocol):
    """What the module of a design offers."""

    Settings: type[DesignSettings]

    def find(
        self,
        graph: MatGraph,
        targets: tuple[Subset, ...],
        settings: Any,  # noqa: ANN401
    ) -> Iterator[Contrast | Skipped]:
        """Pose the held-out questions about some targets, in a fixed order, and say which can't be asked, and why."""
        ...

    def explain_absence(self, settings: Any) -> str:  # noqa: ANN401
        """Say what a target would have needed to be asked about."""
        ...


def load_design(name: str) -> Design:
    """Load the module of a design: one of this package, or a dotted module of one's own.

    Raises
    ------
    UserError
        If there is none, or it lacks a part.

    """
    needs = ("Settings", "find", "explain_absence")
    return cast("Design", load_module(name, sys.modules[__name__], needs, setting="design.name"))


def parse_design(raw: Any, *, where: str) -> DesignSettings:  # noqa: ANN401 - the door
    """Check the settings of a design against its own module."""
    name = cast("dict[str, Any]", raw).get("name") if isinstance(raw, dict) else None
    if not isinstance(name, str):
        raise UserError(f"{where}: design.name must name a design; {suggest(str(name), list_designs())}")
    return parse(load_design(name).Settings, raw, where=where)


def list_designs() -> tuple[str, ...]:
    """Name the designs that come with the package."""
    return list_modules(sys.modules[__name__])
