"""One module for each design of the field: its settings, and `find`, which poses the held-out questions."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Protocol, cast

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
    own = "." in name
    try:
        module = import_module(name if own else f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        where = "is it on PYTHONPATH?" if own else suggest(name, list_designs())
        raise UserError(f"design.name: no module '{name}' ({error}); {where}") from None
    missing = [part for part in ("Settings", "find", "explain_absence") if not hasattr(module, part)]
    if missing:
        raise UserError(
            f"design.name: {module.__name__} has no {' and no '.join(missing)}; {suggest(name, list_designs())}"
        )
    return cast("Design", module)


def parse_design(raw: Any, *, where: str) -> DesignSettings:  # noqa: ANN401 - the door
    """Check the settings of a design against its own module."""
    name = cast("dict[str, Any]", raw).get("name") if isinstance(raw, dict) else None
    if not isinstance(name, str):
        raise UserError(f"{where}: design.name must name a design; {suggest(str(name), list_designs())}")
    return parse(load_design(name).Settings, raw, where=where)


def list_designs() -> tuple[str, ...]:
    """Name the designs that come with the package."""
    return tuple(sorted(part.name for part in pkgutil.iter_modules(__path__)))
