"""The keys of the configuration, and what they are by default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from cg_lab.config.folder import CONFIG_NAME, find_config_dir, list_choices


def load_default(choices: Sequence[str] = ()) -> dict[str, Any]:
    """Give the default configuration, or that with other choices of groups, as plain data that is not resolved."""
    from hydra import initialize_config_dir

    from cg_lab.config.composition import Composer

    with initialize_config_dir(str(find_config_dir()), version_base="1.3"):
        return Composer(CONFIG_NAME, find_config_dir(), None).load(tuple(choices))


def list_keys() -> list[str]:
    """Give every group, and every key of the default configuration, written with dots."""
    return [*list_choices(), *flatten(load_default())]


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Give the values that are no groups of others, by key, written with dots."""
    if not isinstance(value, dict):
        return {prefix: value}
    items = cast("dict[Any, Any]", value).items()
    return {
        key: found
        for name, item in items
        for key, found in flatten(item, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def list_defaults(choices: Sequence[str]) -> dict[str, Any]:
    """Give the keys that there are with some choices of groups, and their defaults; without those that don't fit."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    groups = list_choices()
    known = [part for part in choices if part.partition("=")[2] in groups.get(part.partition("=")[0], ())]
    try:
        return flatten(load_default(known))
    except (HydraException, OmegaConfBaseException):
        return flatten(load_default())
