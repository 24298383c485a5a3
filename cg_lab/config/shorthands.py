"""Overrides that stand for several."""

from __future__ import annotations

from collections.abc import Iterable

CHECKPOINTS = "checkpoints="
"""Begins the override that names a table of checkpoints."""
FIXED_BY_TABLE = ("finetune", "recipe", "trainer", "seeds", "arm_seeds", "looks")
"""What such a table says, or what says nothing beside it."""


def expand_shorthands(overrides: Iterable[str]) -> tuple[str, ...]:
    """Write out the overrides that stand for several.

    >>> expand_shorthands(["checkpoints=trained.csv", "targets=[a]"])
    ('design=checkpoints', 'design.table=trained.csv', 'targets=[a]')
    """
    found: list[str] = []
    for override in overrides:
        if override.startswith(CHECKPOINTS):
            found += ["design=checkpoints", f"design.table={override.removeprefix(CHECKPOINTS)}"]
        else:
            found.append(override)
    return tuple(found)
