"""What users of Hydra, Slurm and Hugging Face type first is answered in one line that says the way here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cg_lab.cli import main
from cg_lab.cli.foreign_options import OTHER_OPTIONS, OTHER_VERBS
from cg_lab.cli.verbs import VERBS
from cg_lab.config import read_study
from cg_lab.config.folder import find_config_dir
from cg_lab.config.refusals import OTHER_NAMES

MISTAKES = {
    "plan targets=ct-brain-mass": r"targets: should be a list, such as \[ct-brain-mass\], not 'ct-brain-mass'$",
    "plan seeds=3": r"seeds: should be a list, such as \[3\], not 3$",
    "plan -m seeds=0,1": r"seeds: should be a list, such as \[0\]",
    "sweep cluster.gpus=8": r"cluster\.gpus: should be a list, such as \[8\]",
    "plan seeds=0,1,2": r"'seeds=0,1,2': a list is written in brackets: seeds=\[0,1,2\]$",
    "plan seeds=range(3)": r"a list is written in brackets: seeds=\[0,1,2\]$",
    "plan finetune.epochs=1,2": r"`-m` plans each of them",
    "plan finetune.epochs=range(1,3)": r"planned together with `-m`",
    "plan targets=[ct-brain-mass": r"'targets=\[ct-brain-mass': '\[' without '\]'",
    "plan targets=ct-brain-mass]": r"'\]' without '\['",
    "plan study=it's": r"a quote is not closed",
    "plan study=a:b{c": r"'\{' without '\}'",
    "plan study=a%b^c": r"quote it twice: \"study='a%b\^c'\"",
    "plan finetune.lr=1e-4": r"no key 'finetune.lr'\. Did you mean 'finetune.learning_rate'\?$",
    "plan learning_rate=1e-4": r"Did you mean 'finetune.learning_rate'\?$",
    "plan per_device_train_batch_size=4": r"Did you mean 'finetune.batch_size'\?$",
    "plan num_train_epochs=3": r"Did you mean 'finetune.epochs'\?$",
    "plan output_dir=runs": r"Did you mean 'results_dir'\?$",
    "plan seed=1": r"Did you mean 'seeds'\?$",
    "plan finetune.qwertz=1": r"no key 'finetune.qwertz'; there are finetune.trainable, .*`--cfg job` prints all$",
    "plan data.path=x.csv": r"the chosen data has no 'path'; it is a setting of .*data=manifest",
    "plan cluster.partition=gpu": r"the chosen cluster has no 'partition'; it is a setting of cluster=slurm$",
    "plan model=Qwen/Qwen2.5-VL-7B-Instruct": r"model=hub model.name=NAME model.path=Qwen/Qwen2.5-VL-7B-Instruct$",
    "plan data=/images/train": r"data=manifest data.path=/images/train$",
    "plan design=two_sources": r"Did you mean 'two_source'\?$",
    "plan hydra/launcher=submitit_slurm": r"studies run by cluster=slurm",
    "plan --config-name train": r"no file 'train.yaml' in conf/ or --config-dir",
    "sweeep": r"no verb 'sweeep'.*Did you mean 'sweep'\?$",
    "train": r"no verb 'train'; here that is `sweep`$",
    "squeue": r"here that is `status`$",
    "targets=[ct-brain-mass]": r"say what to do first: `plan`",
    "": r"say what to do first: `plan`",
    "sweep --dry-run": r"'--dry-run': `plan` says what `sweep` would do",
    "sweep --resume": r"the same command goes on where it stopped$",
    "sweep --resume_from_checkpoint last": r"the same command goes on where it stopped$",
    "sweep --partition gpu --qos=high": r"cluster.partition=NAME; '--qos=high': .*cluster.qos=NAME$",
    "sweep --epochs 3": r"'--epochs': settings are written KEY=VALUE, as finetune.epochs=\.\.\.$",
    "plan --finetune.learning_rate=1e-3": r"as finetune.learning_rate=\.\.\.$",
    "status --wacth": r"`status` has no such option; .*Did you mean '--watch'\?$",
}


@pytest.mark.parametrize(("line", "answer"), MISTAKES.items(), ids=list(MISTAKES))
def test_a_mistake_is_answered_in_one_line(
    line: str, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    *before, last = capsys.readouterr().err.strip().splitlines()
    assert len(before) <= 1, before
    assert re.search(answer, last), last
    assert not re.search(r"tuple|antlr|Lexer|hydra\.cc|NoViable|object at|Traceback", last)
    assert not list(tmp_path.iterdir())


def test_what_other_tools_names_stand_for_is_there() -> None:
    assert set(OTHER_VERBS.values()) <= set(VERBS)
    assert not set(OTHER_VERBS) & set(VERBS)
    written = "".join(file.read_text() for file in find_config_dir().rglob("*.yaml"))
    named = set(OTHER_NAMES.values()) | set(
        re.findall(r"\b((?:cluster|tracking)\.\w+)", " ".join(OTHER_OPTIONS.values()))
    )
    for key in named:
        leaf = key.rpartition(".")[2]
        assert re.search(rf"^\s*(?:- )?{leaf}:", written, re.MULTILINE), key


def test_a_home_folder_is_found_wherever_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    overlay = tmp_path / "conf" / "experiment"
    overlay.mkdir(parents=True)
    (overlay / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /data: manifest\ndata:\n  path: ~/table.csv\n"
    )
    for arguments in (
        ["data=manifest", "data.path=~/table.csv"],
        ["data=manifest", "data.path='~/table.csv'"],
        ["experiment=mine", f"--config-dir={tmp_path / 'conf'}"],
    ):
        assert main(["plan", f"results_dir={tmp_path / 'results'}", *arguments]) == 2
        assert f"no file '{tmp_path}/table.csv'" in capsys.readouterr().err


def test_a_models_path_is_part_of_its_jobs_ids_as_it_was_given() -> None:
    study = read_study(["model=hub", "model.name=mine", "model.path=~/models/mine"])
    assert study.model.path == "~/models/mine"


def test_settings_by_which_hydra_runs_jobs_are_named_where_they_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay = tmp_path / "conf" / "experiment"
    overlay.mkdir(parents=True)
    (overlay / "mine.yaml").write_text(
        "# @package _global_\nhydra:\n  run:\n    dir: elsewhere\n  job:\n    chdir: true\n"
    )
    results = f"results_dir={tmp_path / 'results'}"
    assert main(["plan", results, "experiment=mine", f"--config-dir={tmp_path / 'conf'}"]) == 0
    error = capsys.readouterr().err
    assert re.search(r"^note: hydra\.run\.dir has no effect; .*`results_dir`$", error, re.MULTILINE)
    assert "note: hydra.job.chdir has no effect" in error
    assert main(["plan", results, "hydra.sweep.dir=there"]) == 0
    assert "note: hydra.sweep.dir has no effect" in capsys.readouterr().err
    assert main(["plan", results]) == 0
    assert "note:" not in capsys.readouterr().err
