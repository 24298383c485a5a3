"""A tracking server for a team: MLflow in front of a PostgreSQL of its own, started from Debian's packages."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cg_lab.errors import UserError
from cg_lab.locks import find_holder, holding
from cg_lab.serialize import content_id
from cg_lab.tracking.server_login import Login, keep_secret
from cg_lab.tracking.store import ENVIRONMENT

SYSTEM_FOLDER = Path("/var/lib/cg_lab-mlflow")
"""Of databases that root starts: PostgreSQL refuses root, and its user may not look into root's own folders."""
ANSWER_S = 120.0
"""How long the server may take to answer for the first time: it makes its tables.

Its workers too, which uvicorn kills after 5 s without an answer: on a busy machine they import for longer.
"""


def find_postgres() -> Path:
    """Find PostgreSQL's programs, which Debian keeps out of PATH.

    Raises
    ------
    UserError
        If there are none, with the package that has them.

    """
    on_path = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = (
        Path(on_path).parent
        if on_path
        else next((path for path in reversed(folders) if (path / "initdb").exists()), None)
    )
    if found is None:
        raise UserError("server: no PostgreSQL on this machine; on Debian and Ubuntu: apt-get install postgresql")
    return found


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """Run a PostgreSQL on 127.0.0.1 alone, and give the URI of its database `mlflow`.

    Parameters
    ----------
    folder
        Keeps the password; the database too, unless root starts it.

    Raises
    ------
    UserError
        If PostgreSQL or its client is missing, or it does not start or refuses the password, with its log.

    """
    programs = find_postgres()
    folder = folder.resolve()  # its programs run elsewhere
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "postgres"
    if os.geteuid() == 0:
        data = SYSTEM_FOLDER / content_id("server", 1, str(folder))
        SYSTEM_FOLDER.mkdir(parents=True, exist_ok=True)
    password = keep_secret(folder / "password")
    if not (data / "PG_VERSION").exists():
        _initialize(programs, data, password)
    port = _find_port()
    if _is_running(programs, data):
        _run(programs / "pg_ctl", "-D", data, "-w", "-m", "fast", "stop")  # its starter was killed
    log = data / "server.log"
    options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories= -p {port}"
    _run(programs / "pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start", hint=f"its log is {log}")
    try:
        _make_database(port, password, folder, data)
        yield f"postgresql+psycopg://postgres:{password}@127.0.0.1:{port}/mlflow"
    finally:
        _run(programs / "pg_ctl", "-D", data, "-w", "-m", "fast", "stop")


def _is_running(programs: Path, data: Path) -> bool:
    return _try(programs / "pg_ctl", "-D", data, "status") == 0


def _initialize(programs: Path, data: Path, password: str) -> None:
    """Make a cluster beside its folder and rename it, so that one that was killed half-way is begun anew."""
    beside = data.with_name(f".{data.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    # The password goes through a file: a command line can be read by others.
    file = data.with_name(f".{data.name}.password")
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as written:
        written.write(password)
    if os.geteuid() == 0:
        shutil.chown(file, "postgres", "postgres")
        shutil.chown(beside, "postgres", "postgres")
    try:
        _run(programs / "initdb", "-D", beside, "-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256",
             f"--pwfile={file}")  # fmt: skip
    finally:
        file.unlink()
    beside.rename(data)


def _make_database(port: int, password: str, folder: Path, data: Path) -> None:
    try:
        import psycopg
    except ImportError:
        raise UserError(
            "server: the package psycopg is missing; install it with: pip install 'cg_lab[server]'"
        ) from None
    try:
        with psycopg.connect(
            host="127.0.0.1", port=port, user="postgres", password=password, dbname="postgres", autocommit=True
        ) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = 'mlflow'").fetchone() is None:
                connection.execute("CREATE DATABASE mlflow")
    except psycopg.Error as error:
        raise UserError(
            f"server: the database in {data} refuses: {str(error).splitlines()[0]}; it knows the password that stood "
            f"in {folder / 'password'} when it was made"
        ) from None


def _run(*command: str | Path, hint: str = "") -> None:
    """Run one of PostgreSQL's programs, which must succeed."""
    status = _try(*command)
    if status:
        told = " ".join(str(word) for word in command)
        raise UserError(f"server: `{told}` ended with exit status {status}" + (f"; {hint}" if hint else ""))


def _try(*command: str | Path) -> int:
    """Run one of PostgreSQL's programs, as its own user where root asks; gives the exit status."""
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        words = ["runuser", "-u", "postgres", "--", *words]
    return subprocess.run(words, check=False, stdout=subprocess.DEVNULL, cwd="/").returncode


def _find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running_server(
    folder: Path, host: str, port: int, allowed_hosts: Sequence[str] = (), login: Login | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run MLflow's server before a PostgreSQL; both end with the block.

    Parameters
    ----------
    folder
        Keeps database and artifacts.
    host, port
        Where it listens.
    allowed_hosts
        Names that it may be asked by beside this machine's own; MLflow's rule, private addresses, if there are none.
    login
        What it asks who is there with; None lets everybody in.

    Raises
    ------
    UserError
        If one of them does not start.

    """
    with _alone(folder), running_postgres(folder) as uri:
        environment = {**ENVIRONMENT, **os.environ, "MLFLOW_BACKEND_STORE_URI": uri}
        artifacts = (folder / "artifacts").resolve()
        command = [sys.executable, "-m", "mlflow", "server", "--artifacts-destination", artifacts.as_uri(),
                   "--host", host, "--port", str(port), "--workers", "2",
                   "--uvicorn-opts", f"--timeout-worker-healthcheck {ANSWER_S:.0f}"]  # fmt: skip
        if allowed_hosts:
            command += ["--allowed-hosts", ",".join(list_host_headers(allowed_hosts))]
        if login is not None:
            command += login.options
            environment |= login.environment
        with (folder / "server.log").open("ab") as log:
            server = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            _wait(server, host, port, folder / "server.log")
            yield server
        finally:
            _stop(server)


def list_host_headers(names: Sequence[str]) -> tuple[str, ...]:
    """List what the header of a request for one of some names may be: with and without a port, this machine's own too.

    >>> list_host_headers(["lab"])
    ('localhost', 'localhost:*', '127.0.0.1', '127.0.0.1:*', 'lab', 'lab:*')
    """
    hosts = dict.fromkeys(["localhost", "127.0.0.1", *names])
    return tuple(
        header for name in hosts for header in ((name,) if ":" in name or "*" in name else (name, f"{name}:*"))
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse a second server with the same database."""
    with holding(folder / "lock") as held:
        if not held:
            raise UserError(f"server: {find_holder(folder / 'lock')} runs one with {folder} already")
        yield


def _wait(server: subprocess.Popen[bytes], host: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1" if host == "0.0.0.0" else host, port)) == 0:  # noqa: S104
                return
        time.sleep(0.2)
    raise UserError(f"server: the server does not answer on {host}:{port}; its log is {log}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its workers."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if server.poll() is None:
            os.killpg(server.pid, sign)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                continue
