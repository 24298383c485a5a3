"""Open the MLflow UI on this machine alone."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable

from cg_lab.errors import UserError
from cg_lab.results import Layout
from cg_lab.tracking.store import store_uri

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def run_ui(layout: Layout, *, host: str, port: int, allow_remote: bool, tell: Callable[[str], None]) -> int:
    """Serve the UI until it is stopped.

    Parameters
    ----------
    layout
        Whose database is shown.
    host, port
        Where to listen; the next free port is taken if this one is not.
    allow_remote
        Listen on other addresses than this machine's own too: whoever reaches them can read and delete runs.
    tell
        Takes the line that says where the UI is.

    Returns
    -------
    The server's exit status.

    Raises
    ------
    UserError
        If there is no database yet, or if `host` is not this machine and `allow_remote` is not set.

    """
    command, url = build_ui_command(layout, host=host, port=port, allow_remote=allow_remote)
    tell(f"MLflow UI: {url} (Ctrl-C ends it)")
    try:
        return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except KeyboardInterrupt:
        return 0


def build_ui_command(layout: Layout, *, host: str, port: int, allow_remote: bool) -> tuple[list[str], str]:
    """Give the server's command line and the address to open."""
    if host not in LOCAL_HOSTS and not allow_remote:
        raise UserError(
            f"--host: '{host}' lets other machines read and delete runs; add --allow-remote if that is meant"
        )
    if not layout.database.exists():
        raise UserError(f"results_dir: no MLflow database in '{layout.root}' yet; run a sweep or sync first")
    free = next((number for number in range(port, port + 50) if _is_free(host, number)), None)
    if free is None:
        raise UserError(f"--port: none of {port} to {port + 49} is free on {host}")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store_uri(layout, None)]
    command += ["--host", host, "--port", str(free), "--workers", "1"]
    return command, f"http://{host}:{free}"


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
