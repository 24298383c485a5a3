"""Expand a multirun and compose its configurations, all but the first at a small part of its time."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hydra import compose as hydra_compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The overrides of one configuration."""

    name: str
    """Those that vary over the multirun; empty if none does."""
    overrides: tuple[str, ...]


def expand(overrides: tuple[str, ...], extra: list[str], config_name: str) -> list[Batch]:
    """Expand a multirun as Hydra's own sweeper does: `a=1,2`, `choice()`, `range()`, `glob()`, `hydra.sweeper.params`.

    Must run inside Hydra's `initialize_config_dir`.
    """
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    given = parser.parse_overrides(list(overrides))
    plain = [override.input_line for override in given if not override.is_sweep_override() and override.input_line]
    whole = hydra_compose(config_name, overrides=[*plain, *extra], return_hydra_config=True)
    params = OmegaConf.select(whole, "hydra.sweeper.params") or {}
    wanted = parser.parse_overrides([f"{key}={value}" for key, value in params.items()]) + given
    last = {override.get_key_element(): override for override in wanted}
    varying = {key for key, override in last.items() if override.is_sweep_override()}
    batches = BasicSweeper.split_arguments(wanted, None)[0]
    return [
        Batch(
            name=",".join(part for part in batch if part.split("=", 1)[0] in varying),
            overrides=tuple(part.removesuffix("=null") if part.startswith("~") else part for part in batch),
        )
        for batch in batches
    ]


class Composer:
    """Composes many configurations of one project.

    Hydra takes some 50 ms for each. Here a choice of groups is composed once, and plain values are set in a copy of it
    as Hydra sets them. Where only the choice of one group differs and nothing else touches that group, its file takes
    the place of the other. Everything else is left to Hydra.

    Parameters
    ----------
    config_name, extra
        Primary configuration, and overrides that every configuration gets.
    folder
        The project's own `conf/`.

    """

    def __init__(self, config_name: str, extra: list[str], folder: Path) -> None:
        self._config_name = config_name
        self._extra = extra
        self._folder = folder
        self._loader = GlobalHydra.instance().config_loader()
        self._parse = cache(self._parse_one)
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: tuple[str, ...]) -> DictConfig:
        """Compose one configuration; interpolations are left as they are."""
        parsed = [self._parse(override) for override in overrides]
        shaping = tuple(part.input_line or "" for part in parsed if self._is_shaping(part))
        config = copy.deepcopy(self._compose_shape(shaping))
        for override in parsed:
            if self._is_shaping(override):
                continue
            try:
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
            except (ConfigAttributeError, ConfigKeyError) as error:
                raise ConfigCompositionException(f"Could not override '{override.key_or_group}'.") from error
        return config

    def _parse_one(self, override: str) -> Override:
        return OverridesParser.create(config_loader=self._loader).parse_override(override)

    def _is_shaping(self, override: Override) -> bool:
        """Tell whether an override may change which files are composed, or the shape of the result."""
        is_plain = not (override.is_add() or override.is_force_add() or override.is_delete() or override.package)
        return not is_plain or override.key_or_group.startswith("hydra") or self._is_group(override.key_or_group)

    @cache  # noqa: B019 - lives as long as one composition
    def _is_group(self, key: str) -> bool:
        return bool(self._loader.get_group_options(key.replace(".", "/")))

    def _compose_shape(self, shaping: tuple[str, ...]) -> DictConfig:
        found = self._composed.get(shaping)
        if found is None:
            found = self._swap(shaping) or hydra_compose(self._config_name, overrides=[*shaping, *self._extra])
            self._composed[shaping] = found
        return found

    def _swap(self, shaping: tuple[str, ...]) -> DictConfig | None:
        """Make a configuration from one that differs in the choice of one group; None where that is not safe."""
        for known, config in self._composed.items():
            changed = [(old, new) for old, new in zip(known, shaping, strict=False) if old != new]
            if len(known) != len(shaping) or len(changed) != 1:
                continue
            (group, before), (other, after) = (part.split("=", 1) for part in changed[0])
            files = [self._folder / group / f"{choice}.yaml" for choice in (before, after)]
            if group != other or not all(_is_alone(file) for file in files) or self._extra:
                continue
            if OmegaConf.to_container(config[group], resolve=False) != _read(files[0]):
                continue
            swapped = copy.deepcopy(config)
            OmegaConf.set_struct(swapped, value=False)
            swapped[group] = _read(files[1])
            OmegaConf.set_struct(swapped, value=True)
            return swapped
        return None


@cache
def _read(file: Path) -> object:
    return OmegaConf.to_container(OmegaConf.load(file), resolve=False)


@cache
def _is_alone(file: Path) -> bool:
    """Tell whether a file says all that choosing it does: no defaults of its own, no other package."""
    if not file.is_file():
        return False
    text = file.read_text(encoding="utf-8")
    return "@package" not in text and "defaults:" not in text
