"""Compose configurations with Hydra; what only differs in plain values is composed once in a process.

Hydra takes some 0.1 s for each configuration. What it composes from files is kept, unresolved, for as long as the files
are the same; plain values are then set in a copy, as Hydra itself sets them after composing.
"""

from __future__ import annotations

import copy
import itertools
import logging
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra import compose as hydra_compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue

from cg_lab.errors import IgnoredSettingWarning


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The overrides of one configuration."""

    name: str
    """Those that vary over the multirun; empty if none does."""
    overrides: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """One configuration as plain data."""

    plain: dict[str, Any]
    missing: tuple[str, ...]
    """Keys that must be given and are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """A configuration as composed from files, before plain values are set."""

    pickled: bytes
    """Unresolved; unpickling takes a sixth of a deep copy's time."""
    mode: RunMode | None
    """What `hydra.mode` says."""
    params: dict[str, str]
    """What `hydra.sweeper.params` asks to vary."""
    ignored: tuple[str, ...]
    """Settings of Hydra's own that change nothing here."""


_USUAL = (
    "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}",
    "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}",
    "${hydra.job.num}",
    None,
    {},
    [],
)
"""What Hydra's own folders and surroundings are unless something sets them."""
_SHAPES: dict[tuple[object, ...], _Shape] = {}
"""By the files' names, times and sizes, the primary configuration and the overrides that shape it."""
_LOADED: dict[tuple[object, ...], bytes] = {}
"""What files hold, pickled; by the names, times and sizes of all, and the name that Hydra has for one."""


class _LoadedOnce:
    """Hydra's repository of files for one composition; it reads each file once for all: that is 40 % of the time."""

    def __init__(self, repository: Any, files: tuple[object, ...]) -> None:
        self._repository = repository
        self._files = files
        self.is_known = True
        """Whether all files that it finds are among those that were listed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repository, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> _LoadedOnce:
        """Hydra means to spare the repository what a composition does to it; see `initialize_sources`."""
        return self

    def initialize_sources(self, config_search_path: Any) -> None:
        """Search in further folders, as `hydra.searchpath` asks."""
        self._repository, self.is_known = copy.deepcopy(self._repository), False
        self._repository.initialize_sources(config_search_path)

    def load_config(self, config_path: str) -> Any:
        """Load a file as Hydra does; what comes back may be changed."""
        if not self.is_known:
            return self._repository.load_config(config_path=config_path)
        key = (self._files, config_path)
        if key not in _LOADED:
            _LOADED[key] = pickle.dumps(self._repository.load_config(config_path=config_path))
        return pickle.loads(_LOADED[key])  # noqa: S301 - our own, in memory


class Composer:
    """Composes configurations of one project; must be used inside Hydra's `initialize_config_dir`.

    Parameters
    ----------
    config_name
        Primary configuration.
    folder, further
        The project's own `conf/`, and a folder of the user's that is searched after it.

    """

    def __init__(self, config_name: str, folder: Path, further: Path | None) -> None:
        self._config_name = config_name
        self._loader = GlobalHydra.instance().config_loader()
        if further is not None:
            path = self._loader.get_search_path()
            path.prepend("command-line", f"file://{further.resolve()}", anchor="schema")
            self._loader.repository.initialize_sources(path)  # type: ignore[attr-defined] - as Hydra's own --config-dir
        self._repository = self._loader.repository  # type: ignore[attr-defined] - of all loaders that Hydra has
        self._files = tuple(_list_files(folder)) + (tuple(_list_files(further)) if further else ())
        self._parser = OverridesParser.create(config_loader=self._loader)
        self._parsed: dict[str, Override] = {}
        self._groups: dict[str, bool] = {}

    def expand(self, overrides: tuple[str, ...], *, multirun: bool) -> list[Batch]:
        """Expand a multirun as Hydra's own sweeper does: `a=1,2`, `choice()`, `range()`, `glob()`, and what files say.

        Without `multirun` it is one if the configuration says `hydra.mode: MULTIRUN`.
        """
        given = self._parser.parse_overrides(list(overrides))
        fixed = [
            part for part in {part.get_key_element(): part for part in given}.values() if not part.is_sweep_override()
        ]
        shape = self._find_shape(self._part(fixed)[0])
        for setting in shape.ignored:
            text = f"{setting} has no effect; studies run by `cluster` and write to `results_dir`"
            warnings.warn(text, IgnoredSettingWarning, stacklevel=2)
        if not multirun and shape.mode is not RunMode.MULTIRUN:
            return [Batch(name="", overrides=overrides)]
        tasks = [part for part in given if not part.is_hydra_override()]
        always = tuple(str(part.input_line) for part in given if part.is_hydra_override())
        wanted = [*self._parser.parse_overrides([f"{key}={value}" for key, value in shape.params.items()]), *tasks]
        last = {override.get_key_element(): override for override in wanted}
        varying = {key for key, override in last.items() if override.is_sweep_override()}
        batches = [
            Batch(
                name=",".join(text for key, text in zip(last, texts, strict=True) if key in varying),
                overrides=(*always, *texts),
            )
            for texts in itertools.product(*map(_list_settings, last.values()))
        ]
        return list(dict.fromkeys(batches))  # `a=1,1` is one setting

    def compose(self, overrides: tuple[str, ...]) -> Resolved:
        """Compose and resolve one configuration."""
        shaping, values = self._part([self._parse(override) for override in overrides])
        config = cast("DictConfig", pickle.loads(self._find_shape(shaping).pickled))  # noqa: S301 - our own, in memory
        for override in values:
            try:
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
            except (ConfigAttributeError, ConfigKeyError) as error:
                raise ConfigCompositionException(f"Could not override '{override.key_or_group}'.") from error
        try:
            plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        except MissingMandatoryValue:
            return Resolved(plain={}, missing=tuple(sorted(OmegaConf.missing_keys(config))))
        return Resolved(plain={str(key): value for key, value in cast("dict[Any, Any]", plain).items()}, missing=())

    def load(self, choices: tuple[str, ...]) -> dict[str, Any]:
        """Compose a configuration with choices of groups, and leave it unresolved."""
        config = pickle.loads(self._find_shape(choices).pickled)  # noqa: S301 - our own, in memory
        return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=False))

    def _parse(self, override: str) -> Override:
        if override not in self._parsed:
            self._parsed[override] = self._parser.parse_override(override)
        return self._parsed[override]

    def _part(self, overrides: list[Override]) -> tuple[tuple[str, ...], list[Override]]:
        """Part overrides that Hydra must compose from plain values, which can be set afterwards.

        Hydra sets values in the order of the command line, after all files; so a value waits only if nothing is added
        to, forced into or removed from the same part of the configuration (`a.b=2 ++a.b=3`, `a.b=2 ~a`).
        """
        shaping = [override for override in overrides if self._is_shaping(override)]
        roots = {override.key_or_group.split(".")[0] for override in shaping if not _is_plain(override)}
        values = [
            override
            for override in overrides
            if not self._is_shaping(override) and override.key_or_group.split(".")[0] not in roots
        ]
        return tuple(str(override.input_line) for override in overrides if override not in values), values

    def _is_shaping(self, override: Override) -> bool:
        """Tell whether an override may change which files are composed, or the shape of the result."""
        return (
            not _is_plain(override)
            or override.is_sweep_override()
            or override.is_hydra_override()
            or self._is_group(override.key_or_group)
        )

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            self._groups[key] = bool(self._repository.get_group_options(key.replace(".", "/")))
        return self._groups[key]

    def _find_shape(self, shaping: tuple[str, ...]) -> _Shape:
        key = (self._files, self._config_name, shaping)
        if key in _SHAPES:
            return _SHAPES[key]
        repository = _LoadedOnce(self._repository, self._files)
        self._loader.repository = repository  # type: ignore[attr-defined]
        shape = self._compose_shape(shaping)
        if repository.is_known:
            _SHAPES[key] = shape
        return shape

    def _compose_shape(self, shaping: tuple[str, ...]) -> _Shape:
        try:
            config = hydra_compose(self._config_name, overrides=list(shaping), return_hydra_config=True)
        except (AttributeError, AssertionError) as error:  # Hydra's own, where no file has hydra.sweeper.params yet
            raise ConfigCompositionException(
                f"Hydra can't set {' '.join(shaping)}; hydra.sweeper.params is begun in a file and changed here"
            ) from error
        ignored = _list_ignored(config.hydra)
        params = OmegaConf.select(config, "hydra.sweeper.params") or {}
        mode = config.hydra.mode
        with open_dict(config):
            del config["hydra"]
        return _Shape(
            pickled=pickle.dumps(config),
            mode=mode,
            params={str(key): str(value) for key, value in params.items()},
            ignored=ignored,
        )


def show_config(config_name: str, overrides: list[str], kind: str, package: str | None, *, is_resolved: bool) -> None:
    """Print a configuration as Hydra's own `--cfg` does; must run inside `initialize_config_dir`."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    hydra.show_cfg(config_name, overrides, kind, package, is_resolved)


def show_info(config_name: str, overrides: list[str], kind: str) -> None:
    """Print how a configuration comes about as Hydra's own `--info` does; must run inside `initialize_config_dir`."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        hydra.show_info(kind, config_name, overrides)  # by way of logging, which it sets up for the whole process
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _list_settings(override: Override) -> list[str]:
    """Give every setting that an override asks for, as overrides."""
    key = override.get_key_element()
    if override.is_delete():
        return [str(override.input_line)]
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise HydraException(f"{override.input_line}: only values that can be listed can be swept")
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _list_ignored(hydra: DictConfig) -> tuple[str, ...]:
    """Name the settings by which Hydra runs jobs itself, where they are not as Hydra has them."""
    plain = cast("dict[str, Any]", OmegaConf.to_container(hydra, resolve=False))
    chosen: dict[str, Any] = plain["runtime"]["choices"]
    ignored = [
        f"hydra/{part}={chosen[f'hydra/{part}']}"
        for part in ("launcher", "sweeper")
        if chosen[f"hydra/{part}"] != "basic"
    ]
    if plain["callbacks"]:
        ignored.append("hydra.callbacks")
    known = {"run": ["dir"], "sweep": ["dir", "subdir"], "job": ["chdir", "env_set", "env_copy"]}
    for part, names in known.items():
        ignored += [f"hydra.{part}.{name}" for name in names if plain[part].get(name) not in _USUAL]
    return tuple(ignored)


def _is_plain(override: Override) -> bool:
    return not (override.is_add() or override.is_force_add() or override.is_delete() or override.package)


def _list_files(folder: Path) -> list[tuple[str, int, int]]:
    """Give name, time and size of every file of configuration."""
    found = [(file, file.stat()) for file in sorted(folder.rglob("*.y*ml"))]
    return [(str(file), stat.st_mtime_ns, stat.st_size) for file, stat in found]
