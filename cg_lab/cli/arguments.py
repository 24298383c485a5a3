"""The command line's grammar: verbs are ours, overrides are Hydra's."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cg_lab import __version__
from cg_lab.config import CONFIG_NAME, Request, list_choices

Run = Callable[["Arguments"], int]

EXAMPLES = """\
examples:
  python -m cg_lab plan                                   what the default study would do, and how long it would take
  python -m cg_lab sweep                                  do it; the same command goes on where it stopped
  python -m cg_lab sweep seeds=[0,1,2,3] targets=[ct-brain-mass]
  python -m cg_lab sweep data=manifest data.path=images.csv design=all_related study=mine
  python -m cg_lab plan -m design=two_source,folds finetune.learning_rate=1e-3,3e-4    one merged plan
  python -m cg_lab explain ct-brain-mass                  why these sources
  python -m cg_lab ui                                     compare runs in MLflow
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """A parsed command line."""

    run: Run
    request: Request
    """Configuration, not composed yet."""
    cfg: bool
    """Print the resolved configuration instead of running the verb."""
    json: bool
    diff: tuple[str, ...]
    """Another plan to compare with, or two jobs to compare; empty for neither."""
    target: str
    """What `explain` explains."""
    host: str
    port: int
    allow_remote: bool


def parse_arguments(argv: list[str]) -> Arguments:
    """Parse a command line; ends the process for `--help`, `--version` and unknown options."""
    from cg_lab.cli import verbs

    parser = argparse.ArgumentParser(
        prog="python -m cg_lab",
        description="Does a vision-language model recombine what it learned? Plan, run, report.",
        epilog=EXAMPLES + "\n" + _describe_choices(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cg_lab {__version__}")
    commands = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, (run, text) in verbs.VERBS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == "explain":
            command.add_argument("target", metavar="TARGET", help="a subset, by name or as Modality:Area:Task")
        command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides, see conf/")
        command.add_argument(
            "-m", "--multirun", action="store_true", help="plan all of KEY=A,B, choice(), range(), glob() together"
        )
        command.add_argument("--config-dir", type=Path, help="a further folder of configuration")
        command.add_argument("--config-name", default=CONFIG_NAME, help="primary configuration (default: %(default)s)")
        command.add_argument("--cfg", choices=["job"], help="print the resolved configuration and end")
        if name == "plan":
            command.add_argument("--json", action="store_true", help="print the plan as JSON")
            command.add_argument(
                "--diff",
                metavar="OTHER",
                nargs="+",
                help="say how this plan differs from another (a plan.json, or the name of a study), or two jobs by id",
            )
        if name == "ui":
            command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
            command.add_argument("--port", type=int, default=5000, help="port to listen on (default: %(default)s)")
            command.add_argument(
                "--allow-remote", action="store_true", help="listen on other addresses than this machine's own"
            )
        command.set_defaults(run=run)
    parsed = parser.parse_args(_gather_overrides(argv))
    return Arguments(
        run=parsed.run,
        request=Request(
            overrides=tuple(parsed.overrides),
            config_dir=parsed.config_dir,
            config_name=parsed.config_name,
            multirun=parsed.multirun,
        ),
        cfg=parsed.cfg is not None,
        json=getattr(parsed, "json", False),
        diff=tuple(getattr(parsed, "diff", None) or ()),
        target=getattr(parsed, "target", ""),
        host=getattr(parsed, "host", "127.0.0.1"),
        port=getattr(parsed, "port", 5000),
        allow_remote=getattr(parsed, "allow_remote", False),
    )


def _gather_overrides(argv: list[str]) -> list[str]:
    """Put overrides behind options, so that `sweep a=1 -m b=2` and `~key` are read as a Hydra user expects."""
    options = [part for part in argv if not _is_override(part)]
    return [*options, *(["--"] if len(options) < len(argv) else []), *(part for part in argv if _is_override(part))]


def _is_override(part: str) -> bool:
    return not part.startswith("-") and ("=" in part or part.startswith("~"))


def _describe_choices() -> str:
    lines = [f"  {group:<12} {', '.join(choices)}" for group, choices in list_choices().items() if choices]
    return "groups of configuration, chosen with GROUP=CHOICE:\n" + "\n".join(lines)
