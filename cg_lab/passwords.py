"""Passwords and tokens in text that somebody else may read: messages, logs, and files that are passed on."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote, urlsplit

HIDDEN = "***"
PASSWORD = "MLFLOW_TRACKING_PASSWORD"
"""Variable of the environment that holds the password of `tracking.uri`; MLflow's own client reads it too."""
IN_URI = re.compile(r"(\b[\w+.-]+://[^\s:/?#@'\"]*):[^\s/@'\"]+@")
IN_QUERY = re.compile(r"(?i)\b((?:[\w-]*(?:password|passwd|token|secret|api_?key|access_?key))=)[^\s&;'\"]+")
IN_SETTING = re.compile(
    r"(?i)\b([\w-]+_(?:password|passwd|token|secret|api_?key|access_?key)['\"]?\s*:\s*['\"]?)(?!(?:\d|null|true|false)\b)[^\s&;'\",}]+"
)
IN_HEADER = re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?(?:basic|bearer)\s+)[\w.~+/=-]+")
SECRET_NAMES = re.compile(r"(?i)password|passwd|token|secret|api_?key|access_?key|credential")
LEAST_CHARACTERS = 6
"""Of a value in the environment that is looked for; shorter ones stand in many words."""


def find_password(uri: str) -> str | None:
    """Give the password in a URI, as typed by a person; None if it has none.

    Examples
    --------
    >>> find_password("postgresql://me:s%40fe@host/mlflow")
    's@fe'
    >>> find_password("http://host:5000") is None
    True

    """
    given = urlsplit(uri)
    words = [word for name, word in parse_qsl(given.query) if SECRET_NAMES.search(name)]
    return unquote(given.password) if given.password else next(iter(words), None)


def fill_password(uri: str, password: str) -> str:
    """Put a password where `hide_passwords` put three stars.

    Examples
    --------
    >>> fill_password("postgresql://me:***@host/mlflow", "s@fe")
    'postgresql://me:s%40fe@host/mlflow'

    """
    return uri.replace(HIDDEN, quote(password, safe=""))


def hide_passwords(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Put three stars where a password or a token stands.

    Hidden are what follows a user's name in a URI, what is given as a password, token or key, and the values of
    variables of the environment that are called so.

    Parameters
    ----------
    text
        Anything.
    environment
        This process's own, if not given.

    Examples
    --------
    >>> hide_passwords("postgresql://me:secret@host/mlflow refused", {})
    'postgresql://me:***@host/mlflow refused'
    >>> hide_passwords("token abcdef1 is not valid", {"MLFLOW_TRACKING_TOKEN": "abcdef1"})
    'token *** is not valid'
    >>> hide_passwords("http://host/?api_key=abc&page=2", {})
    'http://host/?api_key=***&page=2'

    """
    known = os.environ if environment is None else environment
    secrets = {value for name, value in known.items() if SECRET_NAMES.search(name) and len(value) >= LEAST_CHARACTERS}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = IN_URI.sub(rf"\1:{HIDDEN}@", text)
    text = IN_QUERY.sub(rf"\1{HIDDEN}", text)
    text = IN_SETTING.sub(rf"\1{HIDDEN}", text)
    return IN_HEADER.sub(rf"\1{HIDDEN}", text)
