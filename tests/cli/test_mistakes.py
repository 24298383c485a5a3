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
    "export": r"`export` needs --to FORMAT \(hf, inspect, .*\) and --out FOLDER \(new folder to write\)$",
    "export mine --to hf --out o --images copied": r"--images: no 'copied'; known: .*Did you mean 'copy'\?$",
    "import answers.csv study=mine": r"`import` needs --study STUDY \(the study that asked\)$",
    "import answers.csv --study mine --seed first": r"--seed: should be a whole number, not 'first'$",
    "recommend": r"`recommend` needs TARGET \(a subset by name or as Modality:Area:Task\)$",
    "recommend target=ct-brain-mass": r"`recommend` needs TARGET",
    "recommend ct-brain-mass us-brain-mass": r"does not take 'us-brain-mass'; one is .* at a time",
    "recommend ct-brain-mass --size -3": r"'--size': `recommend` has no such option; [^;]*$",
    "recommend ct-brain-mas": r"no subset 'ct-brain-mas' in the catalogue; .*Did you mean 'ct-brain-mass'\?$",
    "data chek": r"`data`: no 'chek'; known: check, prepare, preview\. Did you mean 'check'\?$",
    "data": r"`data` needs check\|preview\|prepare",
    "data preview --each -1": r"--each: should be a whole number from 1 on, not '-1'$",
    "studies remove mine": r"`studies`: no 'remove'; known: list, rename, rm, show",
    "completion tcsh": r"no 'tcsh'; known: bash, fish, query, zsh",
    "report --format html": r"--format: no 'html'; known: csv, latex, md, parquet",
    "view --port abc": r"--port: should be a whole number, not 'abc'$",
    "sweep --job": r"--job: a value is missing: --job ID",
    "plan --cfg yaml": r"--cfg: no 'yaml'; known: all, hydra, job",
    "retry mine": r"`retry` does not take 'mine'; a study is named with study=mine,",
    "sweep phantom_folds": r"an experiment is chosen with experiment=phantom_folds$",
    "sweep conf/experiment/phantom_folds.yaml": r"an experiment is chosen with experiment=phantom_folds$",
    "plan finetune.learning_rate = 1e-3": r"settings are written KEY=VALUE, as finetune\.learning_rate=VALUE$",
    "plan finetune.learning_rate:1e-3": r"as finetune\.learning_rate=1e-3$",
    "plan finetune.learning_rate =1e-3 ": r"settings are written KEY=VALUE",
    "plan =3": r"'=3': settings are written KEY=VALUE, without spaces around '='$",
    "plan +experiment=phantom_folds": r"experiment is chosen already, .*without '\+': experiment=phantom_folds$",
    "plan -m model=tiny_llava,tiny_lava": r"no model 'tiny_lava'; .*Did you mean 'tiny_llava'\?$",
    "plan finetune=lora finetune.lora.rnk=8": r"no key 'finetune\.lora\.rnk'\. Did you mean 'finetune\.lora\.rank'\?$",
    "plan data=manifest data.columns.imag=x": r"Did you mean 'data\.columns\.image'\?$",
    "plan design.sources=3": r"no key 'design\.sources'; there are design\.",
    "plan data=manifest data.columns={imag:image}": r"columns\.imag'\. Did you mean 'data\.columns\.image'\?$",
    "plan arms=[zero_shoot]": r"arms\.0: no 'zero_shoot'; .*Did you mean 'zero_shot'\?$",
    "plan seeds=(0,1)": r"a list is written in brackets: seeds=\[0,1\]$",
    "plan seeds=0-3": r"seeds: should be a list, such as \[0,1,2,3\], not '0-3'$",
    "plan seeds=[-1]": r"seeds\.0: should be greater than or equal to 0, not -1$",
    "plan seeds=[a]": r"seeds\.0: should be a whole number, not 'a'$",
    "plan looks=[3,2]": r"looks: each look has more seeds .*, not \[3, 2\]$",
    "plan budget=10": r"budget: should be a group of settings, not 10$",
    "plan study=null": r"study: should be a text, not null$",
    "plan report_images=maybe": r"report_images: should be true or false, not 'maybe'$",
    "plan cluster=slurm cluster.timeout_min=01:00:00": r"timeout_min: should be a whole number, not '01:00:00'$",
    "plan study=.hidden": r"study: should be letters, digits, .* not '\.hidden'$",
    "plan checkpoints=nosuch.csv": r"checkpoints: no file 'nosuch\.csv'; give a CSV or Parquet file",
    "plan tracking=wandb": r"no tracking 'wandb'; known: mlflow, none\.$",
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
    assert not re.search(
        r"tuple|dictionary|instance|parse|pydantic|antlr|Lexer|hydra\.cc|NoViable|object at|Traceback", last
    )
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a planned study, and files and a folder that are none of what is asked for."""
    folder = tmp_path_factory.mktemp("planned")
    assert main(["plan", "study=mine", "targets=[ct-brain-mass]", f"results_dir={folder / 'results'}"]) == 0
    (folder / "note.txt").write_text("hello\n")
    (folder / "log.json").write_text('{"a": 1}\n')
    (folder / "broken.json").write_text("hello\n")
    (folder / "answers.csv").write_text("question,answer\n1,2\n")
    (folder / "folder").mkdir()
    return folder


OF_STUDIES = {
    "report study=mime": r"no study 'mime' in results; .*Did you mean 'mine'\?$",
    "report mine": r"not 1 \(mine\); the report of one is written by: report study=mine$",
    "report mine mime": r"no study 'mime' in results; .*Did you mean 'mine'\?$",
    "view mime": r"no study 'mime' in results; .*Did you mean 'mine'\?$",
    "plan --diff mime": r"no study 'mime' in results; .*Did you mean 'mine'\?$",
    "export mine --to inspct --out new": r"no format 'inspct'.*Did you mean 'inspect'\?$",
    "export mine --to hf --out note.txt": r"'note\.txt' is there already; give another folder",
    "export mine --to hf --out note.txt/new": r"a part of this path is a file, not a folder",
    "import folder --study mine": r"import: 'folder' is a folder; give its files: folder/\*\.eval",
    "import note.txt --study mine": r"'note\.txt' is none of: a log of inspect_ai \(\.eval, \.json\)",
    "import log.json --study mine": r"log\.json: no log of inspect_ai that can be read \(it has no 'eval'\)$",
    "import broken.json --study mine": r"no log of inspect_ai that can be read \(no JSON: ",
    "import answers.csv --study mine": r"answers\.csv, line 2: no question '1' in study 'mine'$",
    "explain ct-brain-mas study=mine": r"no job or cell 'ct-brain-mas' .*Did you mean 'ct-brain-mass'\?$",
    "status --state fail study=mine": r"--state: no state 'fail' .*Did you mean 'failed'\?$",
    "studies rename mine": r"studies rename STUDY NEW: names wanted: 2, given: 1$",
    "plan data=manifest data.path=note.txt": r"no column 'task'; known: hello\. Of another name: data\.columns\.task=",
    "plan targets=[]": r"targets: an empty list asks about nothing, .*targets=null",
}


@pytest.mark.parametrize(("line", "answer"), OF_STUDIES.items(), ids=list(OF_STUDIES))
def test_a_mistake_about_a_study_or_a_file_is_answered(
    line: str, answer: str, planned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(planned)
    assert main(line.split()) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(answer, last), last
    assert not re.search(r"Errno|object at|Traceback|KeyError", last)


@pytest.mark.slow
def test_a_server_that_is_not_there_is_told_without_its_clients_objects(
    planned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(planned)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main(["sync", "study=mine", "tracking.uri=http://127.0.0.1:9"]) == 1
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert "no server answers there; `server` or `ui` start one, tracking.uri=URI" in said
    assert "HTTPConnection" not in said


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
