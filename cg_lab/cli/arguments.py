"""The command line's grammar: verbs are ours, overrides are Hydra's."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cg_lab.cli.foreign_options import check_spacing, check_verb, explain_options, explain_word
from cg_lab.cli.parser import REST, OneLineParser
from cg_lab.cli.verb_options import add_hydra_options, add_own_options
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
  python -m cg_lab export STUDY --to inspect --out FOLDER its questions, mixtures and proofs for other tools
  python -m cg_lab import logs/*.eval --study STUDY       what other tools found, into analysis and report
  python -m cg_lab ui                                     compare runs in MLflow
  eval "$(python -m cg_lab completion bash)"              let Tab complete verbs, options, groups, keys and studies
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportArguments:
    """What `export` writes."""

    to: str
    out: Path
    images: str
    answer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportArguments:
    """Whose answers `import` reads, as far as files do not say it."""

    study: str
    arm: str | None
    variant: str | None
    seed: int | None
    held_out: str | None


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
    features: bool
    """Whether `recommend` lets the untouched model look at training images."""
    validation: int
    """Training images of the target that `recommend` may look at."""
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
    """Studies or paths that `view`, `studies`, `bundle`, `open`, `merge`, `export` and `import` are about."""
    export: ExportArguments
    imported: ImportArguments
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
    if parsed.overrides:
        raise UserError(explain_word(parsed.verb, parsed.overrides[0]))
    overrides = tuple(part for part in argv if _is_override(part))
    check_spacing(overrides)
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
        features=getattr(parsed, "features", False),
        validation=getattr(parsed, "validation", 0),
        detach=getattr(parsed, "detach", False),
        replaces=getattr(parsed, "replace", False),
        job=getattr(parsed, "job", None),
        wanted=None,
        action=getattr(parsed, "action", ""),
        form=getattr(parsed, "format", None),
        published=getattr(parsed, "published", None),
        no_images=getattr(parsed, "no_images", False),
        names=tuple(getattr(parsed, "names", None) or ()),
        export=ExportArguments(
            to=getattr(parsed, "to", ""),
            out=getattr(parsed, "out", Path()),
            images=getattr(parsed, "images", "reference"),
            answer=getattr(parsed, "answer", None),
        ),
        imported=ImportArguments(
            study=getattr(parsed, "into", ""),
            arm=_get_one(parsed, "arm"),
            variant=getattr(parsed, "variant", None),
            seed=getattr(parsed, "seed", None),
            held_out=getattr(parsed, "held_out", None),
        ),
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

    parser = OneLineParser(
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
        add_own_options(name, command)
        if name in READING:
            command.add_argument("--json", action="store_true", help="print JSON; docs/json.md says what stands in it")
        command.add_argument("overrides", nargs="*", metavar=REST, help="Hydra overrides, see conf/")
        command.add_argument(
            "-m", "--multirun", action="store_true", help="plan all of KEY=A,B, choice(), range(), glob() together"
        )
        command.add_argument("--config-dir", type=Path, help="a further folder of configuration")
        command.add_argument("--config-name", default=CONFIG_NAME, help="primary configuration (default: %(default)s)")
        add_hydra_options(command)
        command.set_defaults(run=run, verb=name)
    return parser, commands


def list_actions(command: argparse.ArgumentParser) -> list[argparse.Action]:
    """List the options and arguments of a verb."""
    return command._actions


def _get_one(parsed: argparse.Namespace, name: str) -> str | None:
    value = getattr(parsed, name, None)
    return value if isinstance(value, str) else None


def _split(parsed: argparse.Namespace, name: str) -> tuple[str, ...]:
    given: list[str] | str = getattr(parsed, name, None) or []
    values = [given] if isinstance(given, str) else given
    return tuple(part for value in values for part in value.split(",") if part)


def _is_override(part: str) -> bool:
    return not part.startswith("-") and ("=" in part or part.startswith("~"))


def _describe_choices() -> str:
    lines = [f"  {group:<12} {', '.join(choices)}" for group, choices in list_choices().items() if choices]
    return "groups of configuration, chosen with GROUP=CHOICE:\n" + "\n".join(lines)
