"""Log-in to a tracking server: MLflow's basic-auth, whose secrets stand in no log and on no command line."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cg_lab.errors import UserError
from cg_lab.passwords import PASSWORD
from cg_lab.serialize import replacing
from cg_lab.tracking.store import UNFIT

USER = "MLFLOW_TRACKING_USERNAME"
"""Variable of the environment that MLflow's client takes the user's name from."""
SECRET_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"
LEAST_CHARACTERS = 12
"""Of a password, as MLflow has it."""
CONFIGURATION = """[mlflow]
default_permission = READ
database_uri = sqlite:///{users}
admin_username = {admin}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What MLflow's server is started with, so that it asks who is there."""

    options: tuple[str, ...]
    """For its command line."""
    environment: dict[str, str]
    """For its process alone: it holds the passwords."""
    admin: str
    password_file: Path | None
    """Where the administrator's password stands; None if whoever started the server knows it."""


def prepare_login(folder: Path, environment: Mapping[str, str]) -> Login:
    """Make what a server with log-in needs, once; a later start finds it again.

    Parameters
    ----------
    folder
        Of the server; keeps the users, with hashes of their passwords, and what is generated, for its owner alone.
    environment
        May hold the administrator's name and first password, as MLflow's clients take them, and the key that the
        server signs its forms with.

    Raises
    ------
    UserError
        If a package is missing, the password is too short, or the folder's name is none for a database.

    """
    if find_spec("flask_wtf") is None:
        raise UserError(
            "server --auth: the package Flask-WTF is missing; install it with: pip install 'cg_lab[server]'"
        )
    folder = folder.resolve()
    if set(str(folder)) & set(UNFIT):
        raise UserError(f"server --auth: MLflow can't keep users in {folder}: the path has one of {UNFIT}")
    folder.mkdir(parents=True, exist_ok=True)
    users, configuration, password_file = folder / "users.db", folder / "auth.ini", folder / "admin-password"
    admin, password = environment.get(USER) or "admin", environment.get(PASSWORD)
    if password and len(password) < LEAST_CHARACTERS:
        raise UserError(f"server --auth: {PASSWORD} has fewer than {LEAST_CHARACTERS} characters, which MLflow refuses")
    is_made = users.exists() and users.stat().st_size > 0
    own = {SECRET_KEY: environment.get(SECRET_KEY) or keep_secret(folder / "secret-key")}
    if password is None and (not is_made or password_file.exists()):
        password = keep_secret(password_file)
    if password is not None:
        own["MLFLOW_AUTH_ADMIN_PASSWORD"] = password  # MLflow takes it for a user that is not there yet, and no other
    write_privately(configuration, CONFIGURATION.format(users=users, admin=admin))
    if not users.exists():
        write_privately(users, "")
    return Login(
        options=("--app-name", "basic-auth"),
        environment={**own, "MLFLOW_AUTH_CONFIG_PATH": str(configuration)},
        admin=admin,
        password_file=password_file if password_file.exists() else None,
    )


def keep_secret(path: Path) -> str:
    """Read what a file keeps for its owner alone; it is generated once."""
    if not path.exists():
        write_privately(path, secrets.token_urlsafe(24))
    return path.read_text(encoding="utf-8").strip()


def write_privately(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, whole or not at all."""
    with replacing(path) as beside:
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
