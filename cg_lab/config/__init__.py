"""Hydra and OmegaConf in, a typed `Study` out; the only module that sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cg_lab.data_settings import DataSettings
from cg_lab.errors import UserError, suggest
from cg_lab.mat import Kind
from cg_lab.serialize import parse
from cg_lab.study import DesignSettings, Study

if TYPE_CHECKING:
    from cg_lab.config.composition import Composer

CONFIG_NAME = "config"
_HYDRA_READ = ("hydra.mode", "hydra.sweeper.params", "hydra.searchpath")
"""What of Hydra's own settings is read; the rest says how Hydra runs jobs, which cg_lab does itself."""


def find_config_dir() -> Path:
    """Find `conf/`: inside the installed package, or beside it in a checkout.

    Raises
    ------
    UserError
        If neither is there.

    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / f"{CONFIG_NAME}.yaml").is_file():
            return folder
    raise UserError(f"no conf/ in {package} or {package.parent}; the installation is incomplete: install cg_lab again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a user asked for, before Hydra has looked at it."""

    overrides: tuple[str, ...] = ()
    """In Hydra's grammar: `seeds=[0,1]`, `data.world=entangled`, `model=tiny_llava`; with `multirun` also `a=1,2`."""
    config_dir: Path | None = None
    """A further folder of configuration, which comes after the project's own."""
    config_name: str = CONFIG_NAME
    """The primary configuration."""
    multirun: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """One resolved configuration."""

    name: str
    """What a multirun varies, as overrides; empty for the only configuration."""
    plain: dict[str, Any]
    """Plain data; `read_studies` checks its types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedStudy:
    """One checked configuration, of a multirun or the only one."""

    name: str
    study: Study


def read_study(overrides: list[str], *, config_dir: Path | None = None) -> Study:
    """Compose one configuration with Hydra and check it as a whole; see `read_studies`."""
    (found,) = read_studies(Request(overrides=tuple(overrides), config_dir=config_dir))
    return found.study


def read_studies(request: Request) -> tuple[NamedStudy, ...]:
    """Compose and check every configuration of a multirun, or the only one.

    Raises
    ------
    UserError
        For an override that Hydra refuses, and for values of a wrong kind, all of them at once.

    """
    return tuple(NamedStudy(name=part.name, study=_check(part)) for part in compose(request))


def _check(composed: Composed) -> Study:
    from cg_lab.data.sources import parse_data  # `--help` need load neither these nor the planner
    from cg_lab.planning.designs import parse_design

    where = f"the configuration {composed.name}".strip()
    faults: list[str] = []
    design = DesignSettings(name="unknown", kinds=(Kind.CLASSIFICATION,), max_samples=1)
    try:
        design = parse_design(composed.plain.get("design"), where=f"{where}, group design,")
    except UserError as error:
        faults.append(str(error))
    data = DataSettings(source="unknown", name="unknown", targets=None)
    try:
        data = parse_data(composed.plain.get("data"), where=f"{where}, group data,")
    except UserError as error:
        faults.append(str(error))
    try:
        study = parse(Study, {**composed.plain, "data": data, "design": design}, where=where)
    except UserError as error:
        raise UserError("\n".join([*faults, str(error)])) from None
    if faults:
        raise UserError("\n".join(faults))
    return study


def compose(request: Request) -> tuple[Composed, ...]:
    """Compose and resolve every configuration of a multirun, or the only one, to plain data."""
    found: list[Composed] = []
    with _composer(request) as composer:
        for batch in composer.expand(request.overrides, multirun=request.multirun):
            resolved = composer.compose(batch.overrides)
            if resolved.missing:
                raise UserError("\n".join(f"{key}: must be given: {key}=VALUE" for key in resolved.missing))
            found.append(Composed(name=batch.name, plain=resolved.plain))
    return tuple(found)


def print_as_hydra(
    request: Request, *, cfg: str | None, package: str | None, is_resolved: bool, info: str | None
) -> None:
    """Print a configuration, or how it comes about, as Hydra's own `--cfg` and `--info` do."""
    from cg_lab.config.composition import show_config, show_info

    overrides = list(request.overrides)
    with _composer(request):
        if info is not None:
            show_info(request.config_name, overrides, info)
        else:
            assert cfg is not None
            show_config(request.config_name, overrides, cfg, package, is_resolved=is_resolved)


def list_ignored(request: Request) -> tuple[str, ...]:
    """Say of every override of Hydra's own settings that changes nothing here what it is about."""
    return tuple(
        f"override '{override}': has no effect; here studies run by `cluster` and write to `results_dir`"
        for override in request.overrides
        if (key := override.lstrip("+~").partition("=")[0]).partition("/")[0].partition(".")[0] == "hydra"
        and not key.startswith(_HYDRA_READ)
    )


@contextmanager
def _composer(request: Request) -> Iterator[Composer]:
    """Start Hydra, and turn what it refuses into a user's error."""
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from cg_lab.config.composition import Composer

    if request.config_dir is not None and not request.config_dir.is_dir():
        raise UserError(f"--config-dir: no folder '{request.config_dir}'")
    try:
        with initialize_config_dir(str(find_config_dir()), version_base="1.3"):
            yield Composer(request.config_name, find_config_dir(), request.config_dir)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(error, list(request.overrides))) from None


def list_choices() -> dict[str, tuple[str, ...]]:
    """Give the groups of configuration and the choices of each, for `--help`."""
    folder = find_config_dir()
    groups = sorted(path for path in folder.iterdir() if path.is_dir())
    return {group.name: tuple(sorted(file.stem for file in group.glob("*.yaml"))) for group in groups}


def to_yaml(plain: dict[str, Any]) -> str:
    """Write resolved configuration as YAML."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(plain))


def _explain(error: Exception, overrides: list[str]) -> str:
    """Say which override Hydra refused and what would be right."""
    text = str(error)
    for override in overrides:
        key = override.split("=", 1)[0].lstrip("+~").split("@", 1)[0]
        group, choices = key.split("/")[0], list_choices()
        if "=" in override and group in choices and "Could not find" in text and f"'{group}/" in text:
            value = override.split("=", 1)[1]
            if value not in choices[group]:
                return f"override '{override}': no {group} '{value}'; {suggest(value, choices[group])}"
        if key and (f"'{key}'" in text or f"Key '{key.split('.')[-1]}'" in text):
            known = _list_keys()
            if key in known:
                return (
                    f"override '{override}': the chosen {key.split('.', 1)[0]} has no '{key.split('.', 1)[-1]}'; "
                    "`--cfg job` prints what it has"
                )
            return f"override '{override}': no key '{key}'; {suggest(key, known)}"
    return "override: " + " ".join(line.strip() for line in text.splitlines() if line.strip())


def _list_keys() -> list[str]:
    """Give every key of the default configuration, written with dots."""
    from hydra import compose as hydra_compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(find_config_dir()), version_base="1.3"):
        plain = OmegaConf.to_container(hydra_compose(CONFIG_NAME), resolve=False)
    return [*list_choices(), *_flatten(plain, "")]


def _flatten(value: Any, prefix: str) -> list[str]:
    if not isinstance(value, dict):
        return [prefix]
    return [key for name, item in value.items() for key in _flatten(item, f"{prefix}.{name}" if prefix else str(name))]
