"""The pages on writing a design and an arm are followed to the letter; tables of arms are those of the code."""

from __future__ import annotations

import csv
import os
import re
import shlex
import socket
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cg_lab.arms import Arm, Traits
from cg_lab.cli import main, sweep as sweeping
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from cg_lab.results import Layout, read_finetune_result, read_plan
from tests.cli.test_looks import Trainer

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
FOLLOW = """
import json, shlex, sys
from pathlib import Path
from cg_lab.arms import Arm
from cg_lab.cli import main
from cg_lab.results import Layout, read_plan
from cg_lab.tracking.records import build_records
from tests.reporting.answering import choose, write_answers

plan, report = map(shlex.split, sys.argv[1:])
assert main(plan) == 0
layout = Layout(Path("results"))
made = read_plan(layout.plan("nearest"))

def answer(cell, number, question):
    return choose(question, number * (2 + list(Arm).index(cell.arm)) % 5 % 2)

write_answers(layout, made, answer)
assert main(report) == 0
records = build_records(made, layout)
Path("metrics.json").write_text(json.dumps({record.name: sorted(record.metrics) for record in records}))
"""
"""What a reader of the page on arms types, with answers made up in place of the sweep."""


def write_files(page: str, folder: Path) -> list[str]:
    """Write a page's files and give their names."""
    files = re.findall(r"```(?:python|yaml) (\S+)\n(.*?)```", page, re.DOTALL)
    for name, text in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return [name for name, _ in files]


def list_plain_commands(page: str) -> list[list[str]]:
    """List what a page has typed for cg_lab without a folder of one's own."""
    return [shlex.split(line) for line in re.findall(r"^\$ python -m cg_lab (.*)$", page, re.MULTILINE)]


def list_commands(page: str) -> list[str]:
    return re.findall(r"^\$ PYTHONPATH=\. python -m cg_lab (.*)$", page, re.MULTILINE)


def write_project(page: str, folder: Path) -> Path:
    """Write the files of the page on arms, and the project around them as it is but for its table; gives the table."""
    names = write_files(page, folder)
    assert names == ["cg_lab/arms.py", "my_designs/against_nearest.py", "my_conf/design/against_nearest.yaml"]
    table, where = folder / "cg_lab" / "arms.py", "    WITHOUT = ("
    assert f"in front of `{where.strip()}`" in page
    text = (ROOT / "cg_lab" / "arms.py").read_text(encoding="utf-8")
    table.write_text(text.replace(where, f"{table.read_text(encoding='utf-8')}{where}", 1), encoding="utf-8")
    for path in (ROOT / "cg_lab").iterdir():
        if path.name not in {table.name, "__pycache__"}:
            (table.parent / path.name).symlink_to(path)
    (folder / "conf").symlink_to(ROOT / "conf")
    return table


def run(folder: Path, *arguments: str, status: int = 0) -> str:
    """Run Python in a folder as a reader does who has the project installed; what lies there goes first."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f".:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_rows(text: str, head: str) -> list[str]:
    """Read the rows of the table that begins with a head."""
    return text.split(f"\n{head}\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]


def test_the_page_on_writing_a_source_works_as_written(tmp_path: Path) -> None:
    page = (DOCS / "own_source.md").read_text(encoding="utf-8")
    assert write_files(page, tmp_path) == ["my_sources/sidecar.py", "my_conf/data/sidecar.yaml"]
    (tmp_path / "films").mkdir()
    for number in range(24):
        noise = np.random.default_rng(number).integers(0, 256, (12, 12), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"films/{number}.png")
        (tmp_path / f"films/{number}.txt").write_text(
            f"{('no', 'yes')[number % 2]}\nP{number // 4}\n", encoding="utf-8"
        )
    (command,) = list_commands(page)
    printed = run(tmp_path, "-m", "cg_lab", *command.split())
    assert re.search(r"```text\n(.*)\n```", page)[1] in printed  # type: ignore[index]


def test_the_page_on_writing_a_design_works_as_written(tmp_path: Path) -> None:
    page = (DOCS / "own_design.md").read_text(encoding="utf-8")
    assert write_files(page, tmp_path) == ["my_designs/nearest.py", "my_conf/design/nearest.yaml"]
    (command,) = list_commands(page)
    printed = run(tmp_path, "-m", "cg_lab", *command.split())
    assert "design my_designs.nearest, 64 subsets" in printed
    assert "cells" in printed


def test_the_page_on_a_server_of_ones_own_works_as_written(tmp_path: Path) -> None:
    page = (DOCS / "own_server.md").read_text(encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        page = page.replace("8731", f"{probe.getsockname()[1]:04}"[:5])
    assert write_files(page, tmp_path) == ["first_option.py", "my_formats/plain.py"]
    server = subprocess.Popen([sys.executable, "first_option.py"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        (command,) = list_commands(page)
        printed = run(tmp_path, "-m", "cg_lab", *command.split())
    finally:
        server.kill()
        server.wait()
    said = re.search(r"```text\n(.*)\n```", page, re.DOTALL)[1]  # type: ignore[index]
    assert " ".join(said.split()) in " ".join(printed.split())


@pytest.mark.slow
def test_the_page_on_writing_an_arm_works_as_written(tmp_path: Path) -> None:
    page = (DOCS / "own_arm.md").read_text(encoding="utf-8")
    write_project(page, tmp_path)
    printed = run(tmp_path, "-c", FOLLOW, *list_commands(page))
    said, _ = re.findall(r"```text\n(.*?)\n```", page, re.DOTALL)
    assert said in printed
    assert re.search(
        r"^target .* related  nearest  ceiling  blind  gain over unrelated  verdict", printed, re.MULTILINE
    )
    study = tmp_path / "results" / "studies" / "nearest"
    effects, summary, report = (
        (study / name).read_text(encoding="utf-8") for name in ("effects.csv", "summary.csv", "report.html")
    )
    columns = effects.splitlines()[0].split(",")
    (told,) = (row for row in read_rows(page, "| where | what |") if row.startswith("| effects.csv |"))
    for name in re.findall(r"`(\w+nearest\w*)`", told):
        assert name in columns
    assert effects.count(",nearest,") == 1
    assert ",nearest," in summary
    assert ",over nearest," in summary
    for said in (">over nearest</text>", "<dt>nearest</dt><dd>trained on as many samples of the one subset"):
        assert said in report
    metrics = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    assert (
        metrics.count('"gain_over_nearest"') == 14
    )  # five seeds of related and blind, two of unrelated, one each of ceiling and shuffled
    assert "ct-brain-mass nearest s0" in metrics


@pytest.mark.slow
def test_the_page_on_a_month_works_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "month.md").read_text(encoding="utf-8")
    commands = [shlex.split(line) for line in re.findall(r"^\$ (.*)$", page, re.MULTILINE)]
    assert len(commands) > 20
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweeping, "run_plan", Trainer().run)
    for words in commands:
        if words[:3] == ["python", "-m", "cg_lab"]:
            assert main(words[3:]) == 0, words
        else:
            subprocess.run(words, check=True)
    layout = Layout(tmp_path / "results_2026")
    assert layout.list_studies() == ("brain", "breast")
    told = (layout.study("breast") / "effects.csv").read_text(encoding="utf-8")
    assert (tmp_path / "colleague/studies/breast/effects.csv").read_text(encoding="utf-8") == told


def test_what_an_arm_says_that_it_shows_is_held_against_its_mixture(tmp_path: Path) -> None:
    page = (DOCS / "own_arm.md").read_text(encoding="utf-8")
    table = write_project(page, tmp_path)
    text = table.read_text(encoding="utf-8").replace('colour="#882255",', 'colour="#882255", shows="nothing",')
    table.write_text(text, encoding="utf-8")
    _, said = re.findall(r"```text\n(.*?)\n```", page, re.DOTALL)
    assert said in run(tmp_path, "-m", "cg_lab", *list_commands(page)[0].split(), status=2)


def test_the_page_names_every_trait() -> None:
    rows = read_rows((DOCS / "own_arm.md").read_text(encoding="utf-8"), "| trait | what it decides |")
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    assert named == [trait.name for trait in fields(Traits)]


def test_the_table_of_arms_on_the_page_of_designs_is_that_of_the_code() -> None:
    page = (DOCS / "designs.md").read_text(encoding="utf-8")
    rows = read_rows(page, "| arm | in reports | what its model was trained on, or is shown | equal budget |")
    assert rows == [
        f"| `{arm}` | {arm.traits.words} | {arm.traits.meaning} | {'yes |' if arm.traits.is_budgeted else '|'}"
        for arm in Arm
    ]


def test_the_readme_names_the_arms_of_the_default_study() -> None:
    study = read_study([])
    run = Run(name="", study=study, catalog=read_catalog(study.data), backbone=identify_backbone(study.model))
    planned = {cell.arm for cell in build_plan([run]).cells}
    rows = read_rows((ROOT / "README.md").read_text(encoding="utf-8"), "| arm | what the model was trained on |")
    assert [row.split(" | ")[0] for row in rows] == [f"| {arm.traits.words}" for arm in Arm if arm in planned]


def test_the_page_on_ones_own_trainer_plans_what_it_says(tmp_path: Path) -> None:
    page = (DOCS / "own_trainer.md").read_text(encoding="utf-8")
    assert write_files(page, tmp_path) == ["my_trainers/lines.py", "my_trainers/loop.py", "my_conf/trainer/loop.yaml"]
    (command,) = list_commands(page)
    run(tmp_path, "-m", "cg_lab", "plan", *shlex.split(command)[1:])
    plan = (tmp_path / "results/studies/by_loop/plan.json").read_text(encoding="utf-8")
    assert "my_trainers.lines 1@" in plan
    assert "my_trainers/loop.py@" in plan


def test_the_page_on_ones_own_trainer_lists_the_choices_as_they_are() -> None:
    rows = read_rows(
        (DOCS / "own_trainer.md").read_text(encoding="utf-8"), "| `trainer=` | `finetune.command` | writes | shown |"
    )
    for row in rows:
        name, command = (cell.strip("` ") for cell in row.split("|")[1:3])
        recipe = read_study([f"trainer={name.partition('`')[0]}"]).finetune
        assert (recipe.command or "") == command
        assert recipe.exporter in {None, name}


@pytest.mark.slow
def test_the_page_on_ones_own_trainer_works_as_written(tmp_path: Path) -> None:
    page = (DOCS / "own_trainer.md").read_text(encoding="utf-8")
    write_files(page, tmp_path)
    (command,) = list_commands(page)
    printed = run(tmp_path, "-m", "cg_lab", *shlex.split(command))
    assert "3 jobs done, 0 failed" in printed
    rows = read_csv(tmp_path / "results/studies/by_loop/effects.csv")
    (related,) = (row for row in rows if row["arm"] == "related")
    assert float(related["accuracy"]) > 0.6


@pytest.mark.slow
def test_a_study_is_trained_by_trl_as_the_page_says(tmp_path: Path) -> None:
    """All commands of its first section, with fewer samples: a process of TRL's takes most of a minute to start."""
    pytest.importorskip("trl", reason="TRL is not installed: pip install 'cg_lab[peers]'")
    page = (DOCS / "own_trainer.md").read_text(encoding="utf-8")
    *sweeps, compare = list_plain_commands(page)
    assert len(sweeps) == 2
    for words in sweeps:
        assert "16 jobs done, 0 failed" in run(tmp_path, "-m", "cg_lab", *words, "design.max_samples=192")
    assert "by_cg_lab: gain" in run(tmp_path, "-m", "cg_lab", *compare)
    trl, ours = (
        {row["arm"]: row for row in read_csv(tmp_path / f"results/studies/{name}/effects.csv")}
        for name in ("by_trl", "by_cg_lab")
    )
    assert trl.keys() == ours.keys() == {"zero_shot", "unrelated", "related", "blind", "ceiling"}
    assert trl["zero_shot"]["accuracy"] == ours["zero_shot"]["accuracy"]
    plan = read_plan(Layout(tmp_path / "results").plan("by_trl"))
    assert {job.recipe.version for job in plan.finetunes} == {f"trl {version('trl')}"}
    for job in plan.finetunes:
        result = read_finetune_result(Layout(tmp_path / "results"), job.id)
        assert result is not None
        assert (result.samples, result.steps) == (192, 6)
        assert result.loss_last < result.loss_first
