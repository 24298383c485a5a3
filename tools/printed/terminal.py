"""Blocks and paragraphs that say what a command prints."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from cg_lab.cli import main
from cg_lab.cli.show import show_end
from cg_lab.results import Layout, read_plan
from tests.evaluation.chat_server import ChatServer, serving
from tools.printed.marks import fence

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "cg_lab" / "models" / "tiny_llava" / "weights"
MACHINE = ("cluster.slots=2", "cluster.gpus=[]")
"""What plans are told for, wherever they are made: two cores and no GPU."""
EXPLAINED = "us-breast-mass:"
"""From which held-out question on the README has the reasons; above them stand dots."""
WRONG_INPUT = 2
FIRST_PLAN = re.compile(r"^python -m cg_lab (plan .*)$", re.MULTILINE)
COMMAND = re.compile(r"^(?:\$ )?python -m cg_lab (doctor .*)$", re.MULTILINE)


def run(*arguments: str) -> str:
    """Run a verb in this process, and give what it prints without spaces at ends of lines."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        status = main(list(arguments))
    assert status != WRONG_INPUT, printed.getvalue()
    return strip_ends(printed.getvalue())


def strip_ends(text: str) -> str:
    """Take away the spaces at the ends of lines."""
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


@contextmanager
def in_new_folder() -> Iterator[Path]:
    """Be in an empty folder for a while."""
    with TemporaryDirectory() as folder, chdir(folder):
        yield Path(folder)


def show_sweep(_: Path, part: str) -> str:
    """Show the default study: its plan, and how its sweep ends by the committed study of the same plan."""
    with in_new_folder():
        planned = run("plan", *MACHINE)
        layout = Layout(Path("results"))
        (study,) = _find(r"^Study (\w+):", planned)
        shutil.copy(ROOT / "experiments" / "phantom_two_source" / "effects.csv", layout.study(study))
        ended = io.StringIO()
        with redirect_stdout(ended):
            show_end(layout, read_plan(layout.plan(study)), is_mirrored=True)
    table, reasons, files = strip_ends(ended.getvalue()).split("\n\n")
    told = planned.partition("\nmemory")[0], table, f"...\n{reasons[reasons.index(EXPLAINED) :]}", files
    return fence(part, "$ make sweep\n{}\n...\n\n{}\n\n{}\n\n{}".format(*told))


def show_fault(_: Path, part: str) -> str:
    """Show what `doctor` says of a checkpoint that has no chat template."""
    command = COMMAND.findall(part)[0]
    with in_new_folder():
        shutil.copytree(WEIGHTS, "checkpoints/mine", ignore=shutil.ignore_patterns("chat_template*"))
        printed = run(*shlex.split(command))
    return fence(part, f"$ python -m cg_lab {command}\n...\n{_find_check(printed, 'template')}...")


def show_server(path: Path, part: str) -> str:
    """Show what `doctor` says of a server, asked by the command above on the page."""
    command = COMMAND.findall(path.read_text(encoding="utf-8"))[0]
    model = ChatServer(served="NAME", answers_as="NAME", root="org/model")
    with in_new_folder(), serving(model) as server:
        printed = run(*shlex.split(command.replace("http://localhost:8000/v1", server.url)), "tracking=none")
    return fence(part, _find_check(printed.replace(server.url, "http://localhost:8000/v1"), "server"))


def _find_check(printed: str, name: str) -> str:
    """Find the lines of one check."""
    found = re.search(rf"^\w+ +{name} .*\n(?: +.*\n)*", printed, re.MULTILINE)
    assert found, printed
    return found[0]


def count_plan(path: Path, _: str) -> str:
    """Count what the first plan on a page would do."""
    command = FIRST_PLAN.findall(path.read_text(encoding="utf-8"))[0]
    with in_new_folder():
        printed = run(*shlex.split(command))
        (plan,) = Path("results/studies").glob("*/plan.json")
        content = json.loads(plan.read_text(encoding="utf-8"))
    distinct, declared = _find(r"fine-tunes +(\d+) distinct for (\d+) declared", printed)
    samples, time = _find(r"to do +(\S+) training samples, about (.*?) on ", printed)
    (size,) = _find(r"keep=full leaves (.*?) on disk", printed)
    told = (
        f"{len(content['contrasts'])} questions", f"{len(content['cells']):,} cells",
        f"{int(distinct):,} fine-tunes for {int(declared):,} declared", f"{len(content['evals']):,} evaluations",
        f"{samples} training samples over all epochs", f"{size} of checkpoints",
    )  # fmt: skip
    return f"**Plan.** {', '.join(told)}; about {time}.\n"


def _find(pattern: str, printed: str) -> tuple[str, ...]:
    found = re.search(pattern, printed)
    assert found, printed
    return found.groups()
