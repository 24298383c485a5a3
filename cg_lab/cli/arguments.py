"""The command line's grammar: verbs are ours, overrides are Hydra's."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cg_lab.cli.foreign_options import check_verb, explain_options
from cg_lab.config import Request
from cg_lab.config.folder import CONFIG_NAME, list_choices
from cg_lab.errors import UserError
from cg_lab.execution.selection import Selection
from cg_lab.version import __version__

READING = frozenset({"plan", "status", "explain", "studies", "gc", "recommend"})
"""Verbs that can say what they say as JSON."""
Run = Callable[["Arguments"], int]

EXAMPLES = """\
examples:
  python -m cg_lab plan                                   what the default study would do, and how long it would take
  python -m cg_lab doctor                                 whether model, machine and folders are fit for it
  python -m cg_lab sweep                                  do it; the same command goes on where it stopped
  python -m cg_lab sweep seeds=[0,1,2,3] targets=[ct-brain-mass]
  python -m cg_lab sweep data=manifest data.path=images.csv design=all_related study=mine
  python -m cg_lab plan -m design=two_source,folds finetune.learning_rate=1e-3,3e-4    one merged plan
  python -m cg_lab data check data=med_mat data.release=Med-MAT        what the images are like
  python -m cg_lab explain ct-brain-mass                  why these sources
  python -m cg_lab recommend ct-brain-mass                which subsets to train on for it
  python -m cg_lab sweep cluster=slurm --detach           submit and leave; a last task reports
  python -m cg_lab status --watch                         how far it is
  python -m cg_lab retry --failed                         run again what failed
  python -m cg_lab view                                   look at the report, and at every answer
  python -m cg_lab studies                                what is there
  python -m cg_lab gc --dry-run                           what could go
  python -m cg_lab bundle STUDY study.zip                 pass a study on; `open study.zip` adds it elsewhere
  python -m cg_lab ui                                     compare runs in MLflow
  eval "$(python -m cg_lab completion bash)"              let Tab complete verbs, options, groups, keys and studies
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """A parsed command line."""

    run: Run
    request: Request
    """Configuration, not composed yet."""
    cfg: str | None
    """Print this of the configuration instead of running the verb: job, hydra or all."""
    package: str | None
    """Only this part of it."""
    resolves: bool
    info: str | None
    """Print how the configuration comes about instead of running the verb."""
    json: bool
    diff: tuple[str, ...]
    """Another plan to compare with, or two jobs to compare; empty for neither."""
    name: str
    """What `explain` explains, or whose log is shown."""
    selection: Selection
    confirms: bool
    """Whether `recommend` says how to try what it recommends."""
    detach: bool
    replaces: bool
    """Whether a sweep makes a study that has begun another one."""
    job: str | None
    """The only job that `sweep` runs."""
    wanted: tuple[str, ...] | None
    """Ids of the only jobs that are run; None for all."""
    action: str
    """What `data` and `studies` do, and whose completion is printed."""
    form: str | None
    """Format of the tables that `report` writes beside the report."""
    published: Path | None
    """Folder of a paper's tables that `report` writes instead."""
    no_images: bool
    """Whether `report` leaves test images out."""
    names: tuple[str, ...]
    """Studies or paths that `view`, `studies`, `bundle`, `open` and `merge` are about."""
    opens: bool
    """Whether `view` opens a browser."""
    dry_run: bool
    """Whether `gc` only says what it would remove."""
    weights: bool
    """Whether `gc` removes spare weights, and `bundle` has weights in it."""
    studies: tuple[str, ...]
    """Two studies that `report` compares; empty for the report of one."""
    each: int
    """Samples of each side of each subset that `data preview` shows."""
    quick: bool
    """Whether `doctor` loads no model."""
    cells: bool
    watch: bool
    follow: bool
    host: str
    port: int
    allow_remote: bool
    allowed_hosts: tuple[str, ...]
    """Names that `server` may be asked by."""
    auth: bool
    """Whether `server` asks who is there."""


def parse_arguments(argv: list[str]) -> Arguments:
    """Parse a command line; ends the process for `--help` and `--version`.

    Raises
    ------
    UserError
        For a verb or an option that there is not, with what it is called here.

    """
    from cg_lab.cli import verbs

    check_verb(argv, verbs.VERBS)
    parser, commands = build_parser()
    # Overrides stand anywhere, as a Hydra user expects: `sweep a=1 -m b=2`, `~key`.
    parsed, unknown = parser.parse_known_args([part for part in argv if not _is_override(part)])
    if unknown:
        known = [option for action in list_actions(commands[parsed.verb]) for option in action.option_strings]
        raise UserError(explain_options(parsed.verb, unknown, known))
    overrides = (*parsed.overrides, *(part for part in argv if _is_override(part)))
    return Arguments(
        run=parsed.run,
        request=Request(
            overrides=overrides,
            config_dir=parsed.config_dir,
            config_name=parsed.config_name,
            multirun=parsed.multirun,
        ),
        cfg=parsed.cfg,
        package=parsed.package,
        resolves=parsed.resolve,
        info=parsed.info,
        json=getattr(parsed, "json", False),
        diff=tuple(getattr(parsed, "diff", None) or ()),
        name=getattr(parsed, "name", ""),
        selection=Selection(
            targets=_split(parsed, "target"),
            arms=_split(parsed, "arm"),
            designs=_split(parsed, "design"),
            states=(*_split(parsed, "state"), *(("failed",) if getattr(parsed, "failed", False) else ())),
            jobs=_split(parsed, "only"),
        ),
        confirms=getattr(parsed, "confirm", False),
        detach=getattr(parsed, "detach", False),
        replaces=getattr(parsed, "replace", False),
        job=getattr(parsed, "job", None),
        wanted=None,
        action=getattr(parsed, "action", ""),
        form=getattr(parsed, "format", None),
        published=getattr(parsed, "published", None),
        no_images=getattr(parsed, "no_images", False),
        names=tuple(getattr(parsed, "names", None) or ()),
        opens=getattr(parsed, "open", False),
        dry_run=getattr(parsed, "dry_run", False),
        weights=getattr(parsed, "weights", False),
        studies=tuple(getattr(parsed, "studies", None) or ()),
        each=getattr(parsed, "each", 8),
        quick=getattr(parsed, "quick", False),
        cells=getattr(parsed, "cells", False),
        watch=getattr(parsed, "watch", False),
        follow=getattr(parsed, "follow", False),
        host=getattr(parsed, "host", "127.0.0.1"),
        port=getattr(parsed, "port", 5000),
        allow_remote=getattr(parsed, "allow_remote", False),
        allowed_hosts=_split(parsed, "allowed_hosts"),
        auth=getattr(parsed, "auth", False),
    )


def build_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Build the parser of all command lines, and give that of each verb by its name."""
    from cg_lab.cli import verbs

    parser = argparse.ArgumentParser(
        prog="python -m cg_lab",
        description="Does a vision-language model recombine what it learned? Plan, run, report.",
        epilog=EXAMPLES + "\n" + _describe_choices(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cg_lab {__version__}")
    adder = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    commands: dict[str, argparse.ArgumentParser] = {}
    for name, (run, text) in verbs.VERBS.items():
        command = commands[name] = adder.add_parser(name, help=text, description=text)
        _add_own_options(name, command)
        if name in READING:
            command.add_argument("--json", action="store_true", help="print JSON; docs/json.md says what stands in it")
        command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides, see conf/")
        command.add_argument(
            "-m", "--multirun", action="store_true", help="plan all of KEY=A,B, choice(), range(), glob() together"
        )
        command.add_argument("--config-dir", type=Path, help="a further folder of configuration")
        command.add_argument("--config-name", default=CONFIG_NAME, help="primary configuration (default: %(default)s)")
        _add_hydra_options(command)
        command.set_defaults(run=run, verb=name)
    return parser, commands


def list_actions(command: argparse.ArgumentParser) -> list[argparse.Action]:
    """List the options and arguments of a verb."""
    return command._actions


def _add_hydra_options(command: argparse.ArgumentParser) -> None:
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


def _add_own_options(name: str, command: argparse.ArgumentParser) -> None:
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
            "--each", type=int, default=8, metavar="N", help="samples of a side that preview shows (default: 8)"
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


def _split(parsed: argparse.Namespace, name: str) -> tuple[str, ...]:
    values: list[str] = getattr(parsed, name, None) or []
    return tuple(part for value in values for part in value.split(",") if part)


def _is_override(part: str) -> bool:
    return not part.startswith("-") and ("=" in part or part.startswith("~"))


def _describe_choices() -> str:
    lines = [f"  {group:<12} {', '.join(choices)}" for group, choices in list_choices().items() if choices]
    return "groups of configuration, chosen with GROUP=CHOICE:\n" + "\n".join(lines)
