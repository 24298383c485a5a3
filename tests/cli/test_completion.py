"""Completion of command lines, asked of real shells where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cg_lab.cli import main
from cg_lab.cli.completion import complete
from cg_lab.cli.verbs import VERBS

ROOT = Path(__file__).resolve().parents[2]
SHELLS = ("bash", "zsh", "fish")
ZSH = """\
compdef() { : }
compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -l -- $@ }
_files() { print files }
"""
"""What zsh has of its own only where somebody types."""
ASK = {
    "bash": 'COMP_LINE="$LINE" COMP_POINT=${#LINE}; _cg_lab; printf "%s\\n" "${COMPREPLY[@]}"',
    "zsh": "words=(${(z)LINE}); [[ $LINE == *' ' ]] && words+=(''); CURRENT=$#words; _cg_lab",
    "fish": 'complete -C "$LINE"',
}
"""What makes a shell complete a line as Tab does."""
LINES = {
    "plan exp": ["experiment="],
    "plan design=two": ["design=two_source"],
    "plan -m design=two_source,fol": ["design=two_source,folds"],
    "plan data=manifest data.pa": ["data.path="],
    "data pre": ["prepare", "preview"],
    "studies show ": None,
    "view m": ["merge.", "mine", "mine_too", "model.", "model="],
    "plan study=m": ["study=mine", "study=mine_too"],
    "status --sta": ["--state"],
    "status --state f": ["failed"],
    "swe": ["sweep"],
}
"""What a line may go on with."""


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work beside a results folder with studies."""
    for study in ("mine", "mine_too"):
        (tmp_path / "results" / "studies" / study).mkdir(parents=True)
        (tmp_path / "results" / "studies" / study / "plan.json").touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("line", "expected"), [(line, found) for line, found in LINES.items() if found])
def test_a_word_goes_on_with_what_fits(line: str, expected: list[str]) -> None:
    *before, word = line.split(" ")
    assert [found.rstrip() for found in complete(before, word)] == expected


def test_what_is_whole_ends_with_a_space_and_a_key_does_not() -> None:
    assert complete([], "swe") == ["sweep "]
    assert complete(["plan"], "finetune.ep") == ["finetune.epochs="]
    assert complete(["plan"], "design=fo") == ["design=folds "]
    assert complete(["plan"], "report_images=") == ["report_images=false ", "report_images=true "]
    assert complete(["plan"], "+exp") == ["+experiment="]


def test_every_verb_goes_on_and_what_is_no_verb_does_not() -> None:
    assert {found.rstrip() for found in complete([], "")} == {*VERBS, "--help", "--version"}
    for verb in VERBS:
        assert "--config-dir " in complete([verb], "--")
    assert complete(["sweeep"], "") == []
    assert complete(["plan", "data=no_such", "design"], "data.wor") == ["data.world="]
    assert complete(["completion"], "") == ["bash ", "fish ", "zsh "]


def test_studies_of_another_results_folder_are_found_there(tmp_path: Path) -> None:
    (tmp_path / "other" / "studies" / "theirs").mkdir(parents=True)
    (tmp_path / "other" / "studies" / "theirs" / "plan.json").touch()
    assert "theirs " in complete(["studies", "rm", "results_dir=other"], "")
    assert complete(["view", "results_dir=other"], "mine") == []
    assert complete(["view", "results_dir=none"], "th") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_our_lines_and_leaves_others_alone(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text((ZSH if shell == "zsh" else "") + capsys.readouterr().out, encoding="utf-8")
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    for line, expected in {
        f"{python} -m cg_lab plan design=two": ["two_source"],
        f"{python} -m cg_lab swe": ["sweep"],
        f"{python} -m cg_lab view mine": ["mine", "mine_too"],
        f"{python} -m cg_lab plan exp": ["experiment="],
        f"{python} -m cg_lab status --json --sta": ["--state"],
        f"{python} -m cg_lab ": [*VERBS, "--help", "--version"],
        f"{python} -m pytest swe": [],
    }.items():
        command = f"source {script}; {ASK[shell]}"
        done = subprocess.run(
            [shell, *flags, "-c", command],
            env={**os.environ, "LINE": line, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        told = [part.split("\t")[0].rstrip().removeprefix("design=") for part in done.stdout.splitlines()]
        assert sorted(part for part in told if part and part != "files") == sorted(expected), (line, done.stderr)
        assert done.stderr == ""


def test_hydra_s_own_way_of_asking_leads_here(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("-sc", "--shell-completion"):
        assert main(["plan", option, "install=bash"]) == 2
        assert 'eval "$(python -m cg_lab completion bash)"' in capsys.readouterr().err
