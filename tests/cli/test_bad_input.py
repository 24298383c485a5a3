"""Bad input stops before any work, with one message and exit status 2."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from cg_lab.cli import main, plan_summary, verbs


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["finetune.learning_rat=1"], "no key 'finetune.learning_rat'.*Did you mean 'finetune.learning_rate'"),
        (["model=tiny_lava"], "no model 'tiny_lava'; known: .*tiny_llava. Did you mean 'tiny_llava'"),
        (["finetune.learning_rate=fast"], "finetune.learning_rate: .*not 'fast'"),
        (["seeds=[]"], "seeds: "),
        (["data.world=mixed"], "world: no 'mixed'; known: compositional, entangled, factored, redundant"),
        (["data.modalities=[CT,Xray]"], "modality 'Xray'; known: .*Did you mean 'X-ray'"),
        (["targets=[ct-brain-mas]"], "no subset 'ct-brain-mas'.*Did you mean 'ct-brain-mass'"),
        (["data.areas=[Lung]", "targets=[ct-lung-mass]"], "no valid sources in the catalogue under design=two_source"),
        (["data=manifest"], "data.path: must be given"),
        (["data=manifest", "data.path=/nowhere/x.csv"], "no file '/nowhere/x.csv'"),
        (["study=a/b"], "study: "),
        (["seeds=[0"], "override"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "sweep"])
def test_bad_overrides(
    verb: str, overrides: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, f"results_dir={tmp_path / 'results'}", *overrides]) == 2
    error = capsys.readouterr().err
    import re

    assert re.search(message, error, re.DOTALL), error
    assert "Traceback" not in error
    assert not list((tmp_path / "results").glob("jobs/*"))


def test_a_results_folder_that_can_not_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["sweep", f"results_dir={blocked / 'results'}"]) == 2
    assert "can't be written" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_results_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o500)
    assert main(["sweep", f"results_dir={tmp_path}"]) == 2
    assert "can't be written" in capsys.readouterr().err


def test_a_results_folder_of_a_newer_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "schema.json").write_text(json.dumps({"schema": 99}))
    assert main(["sweep", f"results_dir={tmp_path}"]) == 2
    assert "written by a newer cg_lab (schema 99" in capsys.readouterr().err


def test_a_key_of_another_choice_is_not_suggested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", f"results_dir={tmp_path}", "design=all_related", "design.prefer=hash"]) == 2
    said = capsys.readouterr().err
    assert "the chosen design has no 'prefer'; `--cfg job` prints what it has" in said
    assert "Did you mean" not in said


def test_reports_and_states_of_a_study_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", f"results_dir={tmp_path}", "study=mine"]) == 0
    for verb in ("report", "status", "sync"):
        assert main([verb, f"results_dir={tmp_path}", "study=mime"]) == 2
        assert "Did you mean 'mine'" in capsys.readouterr().err


def test_the_ui_stays_on_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", f"results_dir={tmp_path}", "--host", "0.0.0.0"]) == 2
    assert "--allow-remote" in capsys.readouterr().err
    assert main(["ui", f"results_dir={tmp_path}"]) == 2
    assert "no MLflow database" in capsys.readouterr().err


def test_cfg_prints_the_resolved_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--cfg", "job", "seeds=[7]"]) == 0
    printed = capsys.readouterr().out
    assert "seeds:\n- 7" in printed
    assert "study: phantom_compositional_two_source" in printed


def test_a_plan_is_printed_for_people_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", f"results_dir={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    for text in (
        "ct-brain-mass",
        "fine-tunes   48 distinct for 84 declared (sharing saves 36, 43 %), 0 done",
        "plan.json",
    ):
        assert text in printed
    assert main(["plan", f"results_dir={tmp_path}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["study"] == "phantom_compositional_two_source"


def test_what_a_plan_takes_is_told_in_lines_of_eighty_columns_and_saves_nothing_below_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plan_summary, "open_console", lambda: Console(width=80, highlight=False))
    assert main(["plan", f"results_dir={tmp_path}"]) == 0
    lines = capsys.readouterr().out.split("\ncells ")[1].splitlines()
    assert all(len(line) <= 80 for line in lines if str(tmp_path) not in line)
    assert lines[1].startswith(" " * 13)
    assert main(["plan", f"results_dir={tmp_path}", "arms=[blind]"]) == 0
    assert "fine-tunes   10 distinct for 20 declared (sharing saves 10, 50 %)" in capsys.readouterr().out


def test_help_names_the_groups_and_their_choices() -> None:
    done = subprocess.run([sys.executable, "-m", "cg_lab", "--help"], capture_output=True, text=True, check=True)
    assert "attribute_split, backbones, checkpoints, coverage" in done.stdout


def test_a_full_disk_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "results/jobs")

    monkeypatch.setitem(verbs.VERBS, "plan", (fill, ""))
    assert main(["plan"]) == 1
    assert "No space left on device: 'results/jobs'; what is finished is kept" in capsys.readouterr().err


def test_ctrl_c_while_the_command_line_is_read_ends_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(argv: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cg_lab.cli.parse_arguments", interrupt)
    assert main(["status"]) == 130
    assert capsys.readouterr().err == "\nstopped\n"
