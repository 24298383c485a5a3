"""Hydra and OmegaConf in, a typed `Study` out; the only module that sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cg_lab.config.folder import CONFIG_NAME, find_config_dir
from cg_lab.config.home_folders import expand_home, quote_home
from cg_lab.config.shorthands import expand_shorthands
from cg_lab.data_settings import DataSettings
from cg_lab.errors import UserError
from cg_lab.mat import Kind
from cg_lab.serialize import parse
from cg_lab.study import DesignSettings, Study

if TYPE_CHECKING:
    from cg_lab.config.composition import Composer


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
        for batch in composer.expand(quote_home(expand_shorthands(request.overrides)), multirun=request.multirun):
            resolved = composer.compose(batch.overrides)
            if resolved.missing:
                raise UserError("\n".join(f"{key}: must be given: {key}=VALUE" for key in resolved.missing))
            found.append(Composed(name=batch.name, plain=expand_home(resolved.plain)))
    return tuple(found)


def print_as_hydra(
    request: Request, *, cfg: str | None, package: str | None, is_resolved: bool, info: str | None
) -> None:
    """Print a configuration, or how it comes about, as Hydra's own `--cfg` and `--info` do."""
    from cg_lab.config.composition import show_config, show_info

    overrides = list(quote_home(expand_shorthands(request.overrides)))
    with _composer(request):
        if info is not None:
            show_info(request.config_name, overrides, info)
        else:
            assert cfg is not None
            show_config(request.config_name, overrides, cfg, package, is_resolved=is_resolved)


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
        from cg_lab.config.refusals import explain_refusal

        raise UserError(explain_refusal(error, request.overrides, config_name=request.config_name)) from None


def to_yaml(plain: dict[str, Any]) -> str:
    """Write resolved configuration as YAML."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(plain))
