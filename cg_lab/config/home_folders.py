"""Paths that begin with `~`, on the command line and in files of configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

_IN_OVERRIDE = re.compile(r"(?<=[=\[,])(~[\w.-]*/[^,\]\s'\"]*)")
_WHOLE = re.compile(r"~[\w.-]*/.*")


def quote_home(overrides: Iterable[str]) -> tuple[str, ...]:
    """Quote paths that begin with `~`, which Hydra's grammar does not take as they are.

    >>> quote_home(["data.path=~/images.csv", "~seeds", "targets=[a,b]"])
    ("data.path='~/images.csv'", '~seeds', 'targets=[a,b]')
    """
    return tuple(_IN_OVERRIDE.sub(r"'\1'", override) for override in overrides)


def expand_home(plain: dict[str, Any]) -> dict[str, Any]:
    """Give a configuration with the home folders' paths in place of `~/` and `~name/`.

    Paths of models stay: they are part of jobs' ids as they are given, and are expanded where they are opened.
    """
    return {key: value if key == "model" else _expand(value) for key, value in plain.items()}


def _expand(value: Any) -> Any:
    match value:
        case dict():
            return {key: _expand(item) for key, item in cast("dict[Any, Any]", value).items()}
        case list():
            return [_expand(item) for item in cast("list[Any]", value)]
        case str() if _WHOLE.fullmatch(value):
            try:
                return str(Path(value).expanduser())
            except RuntimeError:  # no such user: the path is told as it was given
                return value
        case _:
            return value
