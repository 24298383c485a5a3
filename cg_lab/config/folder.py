"""The folder `conf/`: where it is, and what can be chosen there."""

from __future__ import annotations

from pathlib import Path

from cg_lab.errors import UserError

CONFIG_NAME = "config"
"""The primary configuration."""


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


def list_choices() -> dict[str, tuple[str, ...]]:
    """Give the groups of configuration and the choices of each, for `--help`."""
    folder = find_config_dir()
    groups = sorted(path for path in folder.iterdir() if path.is_dir())
    return {group.name: tuple(sorted(file.stem for file in group.glob("*.yaml"))) for group in groups}
