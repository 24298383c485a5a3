"""Options and arguments of each verb."""

from __future__ import annotations

import argparse
from pathlib import Path

from cg_lab.cli.parser import read_positive

EXPORT_FORMATS = ("hf", "inspect", "lmms-eval", "vlmevalkit", "croissant")
"""As `cg_lab.exchange.formats` has them, which loads more than `--help` may take."""


def add_hydra_options(command: argparse.ArgumentParser) -> None:
    """Add what Hydra's own command line has for looking at a configuration."""
    command.add_argument(
        "--cfg",
        choices=["job", "hydra", "all"],
        help="print the configuration and end: job, resolved; hydra's own; or all",
    )
    command.add_argument("-p", "--package", help="only this part of what --cfg prints")
    command.add_argument("--resolve", action="store_true", help="resolve interpolations; --cfg job always does")
    command.add_argument(
        "--info",
        nargs="?",
        const="all",
        choices=["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"],
        help="print how the configuration comes about and end",
    )


def add_own_options(name: str, command: argparse.ArgumentParser) -> None:
    """Add what only some verbs have."""
    match name:
        case "explain" | "recommend" | "logs":
            _add_name(name, command)
        case "sweep":
            command.add_argument(
                "--detach", action="store_true", help="submit and return; a last task mirrors and reports"
            )
            command.add_argument("--job", metavar="ID", help="run one job, now and on this machine")
            command.add_argument(
                "--replace",
                action="store_true",
                help="make a begun study smaller, or another; its old plan is kept",
            )
        case "completion":
            command.add_argument("action", choices=["bash", "zsh", "fish", "query"], metavar="{bash,zsh,fish}")
        case "status" | "cancel" | "retry":
            _add_selection(name, command)
        case "studies" | "gc" | "bundle" | "open" | "merge":
            _add_folder_options(name, command)
        case "export" | "import":
            _add_exchange(name, command)
        case "plan":
            command.add_argument(
                "--diff",
                metavar="OTHER",
                nargs="+",
                help="say how this plan differs from another (a plan.json, or the name of a study), or two jobs by id",
            )
        case "doctor":
            command.add_argument("--json", action="store_true", help="print what was found as JSON")
            command.add_argument("--quick", action="store_true", help="only what takes no loading of the model")
        case "report" | "view" | "data" | "ui" | "server":
            _add_showing(name, command)
        case _:
            pass


def _add_name(name: str, command: argparse.ArgumentParser) -> None:
    """Add what verbs about one target, cell or job have."""
    subset = "a subset by name or as Modality:Area:Task"
    if name == "explain":
        command.add_argument("name", metavar="NAME", help=f"{subset}; a cell; or a job by its id")
    elif name == "recommend":
        command.add_argument("name", metavar="TARGET", help=subset)
        command.add_argument(
            "--confirm", action="store_true", help="say how to hold the first one against simple rules"
        )
        command.add_argument(
            "--features", action="store_true", help="let the untouched model look at training images, once"
        )
        command.add_argument(
            "--validation",
            type=int,
            default=0,
            metavar="N",
            help="look at N training images of the target too, and ask fine-tunes whose weights are kept about them",
        )
    else:
        what = "a job by the first characters of its id, a cell, or a run by its name in MLflow"
        command.add_argument("name", metavar="JOB", help=what)
        command.add_argument("-f", "--follow", action="store_true", help="go on as it is written")


def _add_folder_options(name: str, command: argparse.ArgumentParser) -> None:
    """Add what verbs about a whole results folder have."""
    if name == "studies":
        command.add_argument("action", nargs="?", default="list", choices=["list", "show", "rm", "rename"],
                             help="list: a line for each (default); show, rm and rename: one, by name")  # fmt: skip
    metavar = {"studies": "STUDY", "bundle": "STUDY [PATH]", "open": "PATH", "merge": "PATH"}.get(name)
    if metavar:
        command.add_argument("names", nargs="*", metavar=metavar)
    if name == "gc":
        command.add_argument("--dry-run", action="store_true", help="only say what would go")
        command.add_argument("--weights", action="store_true", help="also weights that no open evaluation needs")
    if name == "bundle":
        command.add_argument("--weights", action="store_true", help="fine-tuned weights too")


def _add_exchange(name: str, command: argparse.ArgumentParser) -> None:
    """Add what says what goes to other tools, and what comes from them."""
    if name == "export":
        command.add_argument("names", nargs="*", metavar="STUDY", help="a study by name")
        command.add_argument(
            "--to", metavar="FORMAT", required=True, help=f"{', '.join(EXPORT_FORMATS)}, or a dotted module of your own"
        )
        command.add_argument("--out", type=Path, metavar="FOLDER", required=True, help="new folder to write")
        command.add_argument(
            "--images",
            choices=["copy", "reference"],
            default="reference",
            help="copy: test images travel; reference: their SHA-256 alone, as is right for patients' (default)",
        )
        command.add_argument(
            "--answer", choices=["letter", "text"], help="what models are asked for (default: as the study's model is)"
        )
        return
    command.add_argument("names", nargs="*", metavar="FILE", help="logs of inspect_ai, samples of lmms-eval, or CSV")
    command.add_argument("--study", dest="into", metavar="STUDY", required=True, help="the study that asked")
    command.add_argument("--arm", metavar="ARM", help="arm whose model answered, where the files do not say it")
    command.add_argument(
        "--variant", metavar="NAME", help="tells arms of one kind apart, such as the source of `alone`"
    )
    command.add_argument("--seed", type=int, metavar="N", help="seed of that model; none for the untouched one")
    command.add_argument("--held-out", metavar="ID", help="held-out question, where a target has several")


def _add_showing(name: str, command: argparse.ArgumentParser) -> None:
    """Add what says how something is shown."""
    if name == "report":
        command.add_argument("studies", nargs="*", metavar="STUDY", help="two studies to compare, by name")
        command.add_argument(
            "--format", choices=["md", "latex", "csv", "parquet"], help="also write tables so, and figures as PDF"
        )
        command.add_argument(
            "--no-images",
            action="store_true",
            help="show no test images in report.html, which may be of patients; for sweeps too: report_images=false",
        )
        command.add_argument(
            "--published", type=Path, metavar="FOLDER", help="write a paper's tables instead, from its CSV files"
        )
    elif name == "view":
        command.add_argument("names", nargs="*", metavar="STUDY", help="a study by name (default: the configuration's)")
        command.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
        command.add_argument("--open", action="store_true", help="open a browser too")
    elif name == "data":
        command.add_argument(
            "action",
            choices=["check", "preview", "prepare"],
            help="check: say what the images are like; preview: write a page that shows them with their questions; "
            "prepare: read them for the model ahead of all jobs",
        )
        command.add_argument(
            "--each",
            type=read_positive,
            default=8,
            metavar="N",
            help="samples of a side that preview shows (default: 8)",
        )
    else:
        command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        command.add_argument(
            "--port", type=int, default=5000 if name == "ui" else 5001, help="port to listen on (default: %(default)s)"
        )
        command.add_argument(
            "--allow-remote", action="store_true", help="listen on other addresses than this machine's own"
        )
        if name == "server":
            command.add_argument(
                "--auth", action="store_true", help="ask for a name and a password (MLflow's basic-auth)"
            )
            command.add_argument(
                "--allowed-hosts",
                action="append",
                metavar="NAME",
                help="names that colleagues reach it by, joined by commas; without any, private addresses alone",
            )


def _add_selection(name: str, command: argparse.ArgumentParser) -> None:
    """Add what says which jobs are meant; each takes several values, joined by commas."""
    if name == "status":
        command.add_argument("--cells", action="store_true", help="a line for each cell")
        command.add_argument("--watch", action="store_true", help="look again every few seconds")
    if name == "retry":
        command.add_argument("--failed", action="store_true", help="the same as --state failed")
    command.add_argument("--target", action="append", metavar="NAME", help="only jobs of these targets")
    command.add_argument("--arm", action="append", metavar="ARM", help="only jobs of these arms")
    command.add_argument("--design", action="append", metavar="NAME", help="only jobs of these designs")
    command.add_argument(
        "--state", action="append", metavar="STATE", help="only jobs that are done, failed, running, waiting or open"
    )
    command.add_argument("--job", action="append", dest="only", metavar="ID", help="only jobs whose id begins so")
