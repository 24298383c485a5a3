"""Modules that a setting names: one that comes with the package, or a dotted one of the user's own."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from cg_lab.errors import UserError, suggest


def load_module(name: str, package: ModuleType, needs: Sequence[str], *, setting: str) -> ModuleType:
    """Load the module that a setting names.

    Parameters
    ----------
    name
        Of a module of the package, or dotted.
    package
        Holds those that come with cg_lab.
    needs
        What the module must have.
    setting
        That named it, for messages.

    Raises
    ------
    UserError
        If there is no such module, or it lacks a part.

    """
    own, known = "." in name, list_modules(package)
    try:
        module = import_module(name if own else f"{package.__name__}.{name}")
    except (ModuleNotFoundError, ValueError, TypeError) as error:
        where = "is it on PYTHONPATH?" if own else suggest(name, known)
        raise UserError(f"{setting}: no module '{name}' ({error}); {where}") from None
    if missing := [part for part in needs if not hasattr(module, part)]:
        raise UserError(f"{setting}: {module.__name__} has no {' and no '.join(missing)}; {suggest(name, known)}")
    return module


def list_modules(package: ModuleType) -> tuple[str, ...]:
    """Name the modules of a package."""
    return tuple(sorted(part.name for part in pkgutil.iter_modules(package.__path__)))
