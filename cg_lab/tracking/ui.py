"""Open the MLflow UI on this machine alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cg_lab.errors import UserError
from cg_lab.results import Layout
from cg_lab.tracking.store import find_database, find_uri, list_studies

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
NUM_PORTS = 50
"""Ports that are tried, from the one that was asked for."""
NUM_LINKS = 5
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UiCommand:
    """How to serve the UI, and where it will be."""

    command: tuple[str, ...]
    host: str
    port: int
    """The one that was asked for, or the next free one."""

    @property
    def url(self) -> str:
        """Address to open."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


def build_ui_command(
    layout: Layout, *, host: str = "127.0.0.1", port: int = 5000, allow_remote: bool = False, uri: str | None = None
) -> UiCommand:
    """Build the server's command line, after checks.

    Raises
    ------
    UserError
        If `host` is not this machine and `allow_remote` is not set, if there is no database yet, if the store is a
        server of its own, or if no port is free.

    """
    if host not in LOCAL_HOSTS and not allow_remote:
        raise UserError(
            f"--host: '{host}' would let other machines read and delete runs; "
            "leave it at 127.0.0.1, or add --allow-remote if that is meant"
        )
    store = find_uri(layout, uri)
    database = find_database(store)
    if store.startswith("http"):
        raise UserError(f"tracking.uri: '{store}' is a server with a UI of its own; open it in a browser")
    if database is not None and not database.exists():
        raise UserError(f"results_dir: no MLflow database {database} yet; run a sweep first: python -m cg_lab sweep")
    free = next((number for number in range(port, min(port + NUM_PORTS, 65536)) if _is_free(host, number)), None)
    if free is None:
        raise UserError(f"--port: none of {port} to {port + NUM_PORTS - 1} is free on {host}; give another")
    command = (sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--workers", "1")
    artifacts = (layout.root / "mlartifacts").resolve().as_uri()
    place = ("--default-artifact-root", artifacts, "--host", host, "--port", str(free))
    return UiCommand(command=(*command, *place), host=host, port=free)


def run_ui(
    layout: Layout,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    allow_remote: bool = False,
    uri: str | None = None,
    tell: Callable[[str], None],
) -> int:
    """Serve the UI until Ctrl-C or SIGTERM.

    Parameters
    ----------
    layout
        Whose database is shown.
    host, port
        Where to listen; the next free port is taken if this one is not.
    allow_remote
        Allow other hosts than this machine: whoever reaches them can read and delete runs.
    uri
        Another MLflow store than the results folder's.
    tell
        Takes lines for the user: where the UI is, once it answers.

    Returns
    -------
    Exit status: 0 if it was ended, otherwise the server's.

    Raises
    ------
    UserError
        As `build_ui_command`, or if the server does not start.

    """
    built = build_ui_command(layout, host=host, port=port, allow_remote=allow_remote, uri=uri)
    if built.port != port:
        tell(f"port {port} is taken; using {built.port}")
    tell("starting the MLflow UI ...")
    with tempfile.TemporaryDirectory() as folder, _serving(built, Path(folder) / "log") as server:
        try:
            _wait_for(built, server, Path(folder) / "log")
            tell(f"MLflow UI: {built.url} (Ctrl-C ends it)")
            for line in list_links(layout, built, uri):
                tell(line)
            return server.wait()
        except KeyboardInterrupt:
            return 0


def list_links(layout: Layout, built: UiCommand, uri: str | None = None) -> tuple[str, ...]:
    """List the addresses of the newest studies' cells and losses; the UI's front page is about other things."""
    database = find_database(find_uri(layout, uri))
    studies = list_studies(database) if database else {}
    views = {"": "viewStateShareKey=cells", ", loss by arm": "viewStateShareKey=losses&compareRunsMode=CHART"}
    return tuple(
        f"  {study}{what}: {built.url}/#/experiments/{number}/runs?{view}&workflowType=machine_learning"
        for study, number in list(studies.items())[:NUM_LINKS]
        for what, view in views.items()
    )


@contextmanager
def _serving(built: UiCommand, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server in a process group of its own, which ends with the context.

    SIGTERM and the closing of the terminal count as Ctrl-C: otherwise the server would outlive this process.
    """
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    before = {sign: signal.signal(sign, signal.default_int_handler) for sign in (signal.SIGTERM, signal.SIGHUP)}
    with log.open("wb") as file:
        server = subprocess.Popen(
            built.command, stdout=file, stderr=file, start_new_session=True, env={**quiet, **os.environ}
        )
    try:
        yield server
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, sign)
        except ProcessLookupError:
            return
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue


def _wait_for(built: UiCommand, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            socket.create_connection((built.host, built.port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
    raise UserError("the MLflow UI did not start; it said last:\n" + "\n".join(f"  {line}" for line in last))


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
