"""Install with uv where it can be had, else with pip: python tools/install_project.py ARGUMENTS OF PIP INSTALL.

What pip is set to, by its files or by its environment, goes on to hold for uv. Only the standard library is imported.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

UV_NAMES = {
    "index_url": ("UV_DEFAULT_INDEX", " "),
    "extra_index_url": ("UV_INDEX", " "),
    "find_links": ("UV_FIND_LINKS", ","),
    "no_index": ("UV_NO_INDEX", " "),
    "constraint": ("UV_CONSTRAINT", " "),
    "trusted_host": ("UV_INSECURE_HOST", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
    "default_timeout": ("UV_HTTP_TIMEOUT", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "client_cert": ("SSL_CLIENT_CERT", " "),
    "proxy": ("ALL_PROXY", " "),
}
"""By pip's setting, as its environment writes it: the variable that uv reads, and what parts several values there."""
SETTING = re.compile(r"^(?P<section>:env:|global|install)\.(?P<name>[\w-]+)='(?P<value>.*)'$", re.MULTILINE | re.DOTALL)
SECTIONS = ("global", "install", ":env:")
"""Later ones count more."""
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def read_settings(listed: str) -> dict[str, list[str]]:
    r"""Read what `pip config list` prints: values by setting.

    >>> read_settings("global.find-links='old'\n:env:.find-links='wheels more'\ninstall.no-index='true'")
    {'find_links': ['wheels', 'more'], 'no_index': ['true']}
    """
    settings: dict[str, list[str]] = {}
    found = [part for line in listed.splitlines() if (part := SETTING.match(line))]
    for part in sorted(found, key=lambda part: SECTIONS.index(part["section"])):
        settings[part["name"].replace("-", "_")] = part["value"].replace("\\n", " ").split()
    return settings


def translate(settings: Mapping[str, list[str]], environment: Mapping[str, str]) -> dict[str, str]:
    """Say pip's settings in uv's variables; what is set for uv itself stays.

    >>> translate({"extra_index_url": ["file:///a", "file:///b"], "find_links": ["c", "d"]}, {"UV_INDEX": "mine"})
    {'UV_INDEX_STRATEGY': 'unsafe-best-match', 'UV_FIND_LINKS': 'c,d'}
    """
    said = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # all indexes count alike, as for pip
    for name, (variable, between) in UV_NAMES.items():
        if values := settings.get(name):
            said[variable] = between.join(values)
    return {variable: value for variable, value in said.items() if variable not in environment}


def find_uv() -> str | None:
    """Find uv, or have pip put it beside itself; None where it can't be had."""
    beside = Path(sys.executable).parent / "uv"
    if found := shutil.which("uv") or (str(beside) if beside.exists() else None):
        return found
    print("fetching uv, which installs faster than pip", flush=True)
    subprocess.run([*PIP, "install", "--quiet", "uv"], capture_output=True, check=False)
    return str(beside) if beside.exists() else None


def install_with_uv(uv: str, arguments: list[str]) -> bool:
    """Install with uv; says so, and what of pip's settings it is given. Gives whether it did."""
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False).stdout
    settings = read_settings(listed)
    names = ", ".join(name for name in UV_NAMES if name in settings)
    print("installing with uv" + (f", to which goes on what pip is set to: {names}" if names else ""), flush=True)
    done = subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", sys.executable, *arguments],
        env={**os.environ, **translate(settings, os.environ)},
        check=False,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        said = (line.strip() for line in done.stderr.splitlines() if not line.startswith("warning"))
        print(f"uv can't: {next(filter(None, said), 'it says nothing')}", flush=True)
    return not done.returncode


def install(arguments: list[str]) -> int:
    """Install, and say with what and how long it took.

    Returns
    -------
    Exit status.

    """
    began = time.monotonic()
    uv = find_uv()
    if not uv or not install_with_uv(uv, arguments):
        print("installing with pip, which takes some minutes", flush=True)
        if status := subprocess.run([*PIP, "install", "--quiet", *arguments], check=False).returncode:
            return status
    print(f"installed in {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(install(sys.argv[1:]))
