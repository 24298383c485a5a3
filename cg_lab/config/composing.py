"""Expand a multirun and compose its configurations, all but the first at a small part of its time."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The overrides of one configuration."""

    name: str
    """Those that vary over the multirun; empty if none does."""
    overrides: tuple[str, ...]


def expand(overrides: tuple[str, ...], composer: Composer) -> list[Batch]:
    """Expand a multirun as Hydra's own sweeper does: `a=1,2`, `choice()`, `range()`, `glob()`, `hydra.sweeper.params`.

    Must run inside Hydra's `initialize_config_dir`.
    """
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    given = parser.parse_overrides(list(overrides))
    fixed = tuple(part.input_line for part in given if not part.is_sweep_override() and part.input_line)
    params = composer.read_sweep(fixed)
    wanted = parser.parse_overrides([f"{key}={value}" for key, value in params.items()]) + given
    last = {override.get_key_element(): override for override in wanted}
    varying = {key for key, override in last.items() if override.is_sweep_override()}
    batches = [
        Batch(
            name=",".join(part for part in batch if part.split("=", 1)[0] in varying),
            overrides=tuple(part.removesuffix("=null") if part.startswith("~") else part for part in batch),
        )
        for batch in BasicSweeper.split_arguments(wanted, None)[0]
    ]
    return list(dict.fromkeys(batches))  # `a=1,1` is one setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """One configuration as plain data."""

    plain: dict[str, Any]
    missing: tuple[str, ...]
    """Keys that must be given and are not."""


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """A configuration as composed from some files, without plain values."""

    make: Callable[[], DictConfig]
    choices: dict[str, str]
    """The choice of every group."""
    params: dict[str, str]
    """What `hydra.sweeper.params` asks to vary."""
    base: _Shape | None = None
    """The shape that this one differs from in one group which no interpolation reads."""
    swapped: tuple[str, dict[str, Any]] = ("", {})
    """That group, and what stands in it here."""

    @cached_property
    def config(self) -> DictConfig:
        """The configuration, unresolved."""
        return self.make()

    @cached_property
    def resolved(self) -> Resolved:
        """The configuration as it is without any value of the user's."""
        if self.base is None or self.base.resolved.missing:
            return _resolve(self.config)
        group, content = self.swapped
        return Resolved(plain={**self.base.resolved.plain, group: content}, missing=())

    @cached_property
    def referenced(self) -> frozenset[str]:
        """Every word in an interpolation: keys whose value others may take over."""
        if self.base is not None:
            return self.base.referenced
        return frozenset(
            word
            for text in _list_texts(OmegaConf.to_container(self.config, resolve=False))
            for found in re.findall(r"\$\{([^}]*)\}", text)
            for word in re.findall(r"\w+", found)
        )


class Composer:
    """Composes many configurations of one project.

    Hydra takes some 50 ms for each. Here a choice of groups is composed and resolved once, and plain values are set in
    a copy of it; in the unresolved one, as Hydra does, where an interpolation may take them over. Where only the choice
    of one group differs and nothing else touches that group, its file takes the place of the other. Everything else is
    left to Hydra.

    Parameters
    ----------
    config_name
        Primary configuration.
    folder, further
        The project's own `conf/`, and a folder of the user's that is searched after it.

    """

    def __init__(self, config_name: str, folder: Path, further: Path | None) -> None:
        self._config_name = config_name
        self._folder = folder
        self._has_further = further is not None
        self._loader = GlobalHydra.instance().config_loader()
        if further is not None:
            path = self._loader.get_search_path()
            path.prepend("command-line", f"file://{further.resolve()}", anchor="schema")
            self._loader.repository.initialize_sources(path)  # type: ignore[attr-defined] - as Hydra's own --config-dir
        self._parsed: dict[str, Override] = {}
        self._groups: dict[str, bool] = {}
        self._shapes: dict[tuple[str, ...], _Shape] = {}

    def read_sweep(self, fixed: tuple[str, ...]) -> dict[str, str]:
        """Give what `hydra.sweeper.params` of a configuration asks to vary."""
        return self._find_shape(self._keep_shaping(fixed)).params

    def compose(self, overrides: tuple[str, ...]) -> Resolved:
        """Compose and resolve one configuration."""
        shape = self._find_shape(self._keep_shaping(overrides))
        values = [override for override in map(self._parse, overrides) if not self._is_shaping(override)]
        if all(_is_independent(override, shape) for override in values):
            resolved = shape.resolved
            for override in values:
                resolved = _set_value(resolved, override.key_or_group, override.value())
            return resolved
        config = copy.deepcopy(shape.config)
        for override in values:
            try:
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
            except (ConfigAttributeError, ConfigKeyError) as error:
                raise ConfigCompositionException(f"Could not override '{override.key_or_group}'.") from error
        return _resolve(config)

    def _parse(self, override: str) -> Override:
        if override not in self._parsed:
            self._parsed[override] = OverridesParser.create(config_loader=self._loader).parse_override(override)
        return self._parsed[override]

    def _keep_shaping(self, overrides: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(override for override in overrides if self._is_shaping(self._parse(override)))

    def _is_shaping(self, override: Override) -> bool:
        """Tell whether an override may change which files are composed, or the shape of the result."""
        is_plain = not (override.is_add() or override.is_force_add() or override.is_delete() or override.package)
        return not is_plain or override.key_or_group.startswith("hydra") or self._is_group(override.key_or_group)

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            self._groups[key] = bool(self._loader.get_group_options(key.replace(".", "/")))
        return self._groups[key]

    def _find_shape(self, shaping: tuple[str, ...]) -> _Shape:
        if shaping not in self._shapes:
            self._shapes[shaping] = self._swap(shaping) or self._compose_shape(shaping)
        return self._shapes[shaping]

    def _compose_shape(self, shaping: tuple[str, ...]) -> _Shape:
        config = hydra_compose(self._config_name, overrides=list(shaping), return_hydra_config=True)
        choices = {str(group): str(choice) for group, choice in config.hydra.runtime.choices.items()}
        params = OmegaConf.select(config, "hydra.sweeper.params") or {}
        with open_dict(config):
            del config["hydra"]
        return _Shape(
            make=lambda: config, choices=choices, params={str(key): str(value) for key, value in params.items()}
        )

    def _swap(self, shaping: tuple[str, ...]) -> _Shape | None:
        """Make a configuration from one that differs in the choice of one group; None where that is not safe."""
        for known, shape in self._shapes.items():
            changed = [override for override in shaping if override not in known]
            kept = [override for override in known if override not in shaping]
            if self._has_further or len(changed) != 1 or not _is_choice(changed[0]):
                continue
            group, after = changed[0].split("=", 1)
            before = shape.choices.get(group)
            if any(override.split("=", 1)[0] != group for override in kept) or before is None:
                continue
            files = [self._folder / group / f"{choice}.yaml" for choice in (before, after)]
            if not all(_is_alone(file) for file in files) or self._is_touched(group, shape):
                continue
            content = _read(files[1])
            is_unread = group not in shape.referenced and not any("${" in text for text in _list_texts(content))
            return _Shape(
                make=partial(_put, shape, group, content),
                choices={**shape.choices, group: after},
                params=shape.params,
                base=shape if is_unread else None,
                swapped=(group, content),
            )
        return None

    def _is_touched(self, group: str, shape: _Shape) -> bool:
        """Tell whether another chosen file may write into a group, as an experiment or a recipe does."""
        if group in _read(self._folder / f"{self._config_name}.yaml"):
            return True
        for other, choice in shape.choices.items():
            file = self._folder / other / f"{choice}.yaml"
            if other.startswith("hydra/") or choice == "None":
                continue
            if not file.is_file():
                return True
            package = _find_package(file)
            if package == "_global_":
                nested = [entry for entry in _read(file).get("defaults", []) if not _is_override(entry)]
                if group in _read(file) or nested:
                    return True
            elif package is not None and package.split(".")[0] == group:
                return True
        return False


def _put(shape: _Shape, group: str, content: dict[str, Any]) -> DictConfig:
    config = copy.deepcopy(shape.config)
    OmegaConf.set_struct(config, value=False)
    config[group] = content
    OmegaConf.set_struct(config, value=True)
    return config


def _resolve(config: DictConfig) -> Resolved:
    missing = tuple(sorted(OmegaConf.missing_keys(config)))
    plain = {} if missing else OmegaConf.to_container(config, resolve=True)
    return Resolved(plain={str(key): value for key, value in dict(plain).items()}, missing=missing)  # type: ignore[arg-type]


def _is_independent(override: Override, shape: _Shape) -> bool:
    """Tell whether a value can be set in resolved data: the key is known, no mapping, and in no interpolation."""
    keys = override.key_or_group.split(".")
    if shape.resolved.missing or not shape.referenced.isdisjoint(keys):
        return False
    node: Any = shape.resolved.plain
    for key in keys:
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    value = override.value()
    return (
        not isinstance(node, dict)
        and not isinstance(value, dict)
        and not any("${" in text for text in _list_texts(value))
    )


def _set_value(resolved: Resolved, path: str, value: Any) -> Resolved:
    """Set a value in a copy that shares all but the way to it."""
    first, *rest = path.split(".")
    plain = dict(resolved.plain)
    node = plain
    for key, following in pairwise([first, *rest]):
        node[key] = dict(node[key])
        node = node[key]
        assert following in node
    node[path.rsplit(".", 1)[-1]] = list(value) if isinstance(value, list) else value
    return Resolved(plain=plain, missing=())


def _list_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _list_texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _list_texts(item)


def _is_override(entry: Any) -> bool:
    """Tell whether an entry of a defaults list only changes a choice that was made already."""
    return entry == "_self_" or (isinstance(entry, dict) and all(str(key).startswith("override ") for key in entry))


def _find_package(file: Path) -> str | None:
    """Give the package that a file's header names; None if it has no header."""
    found = re.search(r"^#\s*@package\s+(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return found.group(1) if found else None


def _is_choice(override: str) -> bool:
    """Tell whether an override names one file of one group and nothing else."""
    group, _, choice = override.partition("=")
    return group.isidentifier() and choice.isidentifier()


@cache
def _read(file: Path) -> dict[str, Any]:
    return dict(OmegaConf.to_container(OmegaConf.load(file), resolve=False))  # type: ignore[arg-type]


@cache
def _is_alone(file: Path) -> bool:
    """Tell whether a file says all that choosing it does: no defaults of its own, no other package."""
    if not file.is_file():
        return False
    text = file.read_text(encoding="utf-8")
    return "@package" not in text and "defaults:" not in text
