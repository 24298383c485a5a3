"""The verbs that serve pages until Ctrl-C: `view`, `ui` and `server`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cg_lab.cli.studies import read_place
from cg_lab.cli.study_results import check_planned, find_results, find_root, read_runs
from cg_lab.errors import UserError

if TYPE_CHECKING:
    from cg_lab.cli.arguments import Arguments


def view(arguments: Arguments) -> int:
    """Serve a study's report and its answers on this machine, until Ctrl-C."""
    from cg_lab.reporting.page_server import PAGE, run_view

    if len(arguments.names) > 1:
        raise UserError(f"view: one study, or none for the configuration's: not {', '.join(arguments.names)}")
    if arguments.names:
        layout, name = read_place(arguments).layout, arguments.names[0]
    else:
        study = read_runs(arguments, with_catalog=False)[0].study
        layout, name = find_results(study), study.study
    check_planned(name, layout)
    if not (layout.study(name) / PAGE).exists():
        where = "" if layout.root == Path("results") else f" results_dir={layout.root}"
        raise UserError(f"view: '{name}' has no report yet; write it: python -m cg_lab report study={name}{where}")
    return run_view(
        layout.study(name), port=arguments.port, opens=arguments.opens, tell=lambda line: print(line, flush=True)
    )


def ui(arguments: Arguments) -> int:
    """Open the MLflow UI on this machine."""
    runs = read_runs(arguments, with_catalog=False)
    study = runs[0].study
    from cg_lab.tracking import run_ui

    return run_ui(
        find_results(study),
        host=arguments.host,
        port=arguments.port,
        allow_remote=arguments.allow_remote,
        uri=study.tracking.uri,
        tell=lambda line: print(line, flush=True),
    )


def server(arguments: Arguments) -> int:
    """Run an MLflow server with a PostgreSQL of its own, until Ctrl-C."""
    runs = read_runs(arguments, with_catalog=False)
    from cg_lab.tracking import prepare_login, running_server

    folder = find_root(runs[0].study) / "mlflow-server"
    here = {"127.0.0.1", "localhost"}
    if arguments.host not in here and not arguments.allow_remote:
        raise UserError(
            f"--host {arguments.host}: whoever reaches the server can change and delete runs; add --allow-remote if "
            "all who reach this address may"
        )
    for sign in (signal.SIGTERM, signal.SIGINT):  # which a shell's background jobs ignore
        signal.signal(sign, signal.default_int_handler)
    login = prepare_login(folder, os.environ) if arguments.auth else None
    with running_server(folder, arguments.host, arguments.port, arguments.allowed_hosts, login) as process:
        url = f"http://{arguments.host}:{arguments.port}"
        print(f"MLflow on {url}, PostgreSQL behind it; Ctrl-C stops both")
        if login:
            where = f"stands in {login.password_file}" if login.password_file else "is the one that was given"
            print(f"log in as {login.admin}, whose first password {where}")
        print(f"mirror studies to it with tracking.uri={url}", flush=True)
        process.wait()
    print(f"the server ended by itself; its log is {folder / 'server.log'}", file=sys.stderr)
    return 1
