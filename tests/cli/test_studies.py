"""Looking at a study changes nothing; asking more of it adds; making it another is an act with a name."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from cg_lab import registration
from cg_lab.cli import main, study_list
from cg_lab.results import Layout, read_plan
from tests.cli.small_study import BRAIN, BREAST, SMALL, run
from tests.cli.test_looks import Trainer


def list_targets(root: Path) -> list[str]:
    return [contrast.target for contrast in read_plan(Layout(root).plan("s")).contrasts]


def read_targets(root: Path) -> set[str]:
    with (root / "studies/s/effects.csv").open() as file:
        return {row["target"] for row in csv.DictReader(file)}


def test_a_plan_of_other_targets_lies_beside_a_finished_study(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in (root / "studies/s").rglob("*") if path.is_file()}
    assert run("plan", root, BRAIN) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "s stays as it is with 1 questions; sweep adds 1 held-out questions, 3 cells" in said
    assert {path: path.read_bytes() for path in before} == before
    assert [part.target for part in read_plan(root / "studies/s/draft.json").contrasts] == ["ct-brain-mass"]
    run("report", root, BRAIN)
    assert read_targets(root) == {"us-breast-mass"}
    assert run("status", root) == 0


def test_a_plan_that_changed_nothing_yet_may_become_another(tmp_path: Path) -> None:
    for target in (BREAST, BRAIN):
        run("plan", tmp_path, target)
    assert list_targets(tmp_path) == ["ct-brain-mass"]
    assert not (tmp_path / "studies/s/draft.json").exists()


def test_a_sweep_of_other_targets_adds_them(root: Path, trainer: Trainer) -> None:
    run("plan", root, BRAIN)
    assert run("sweep", root, BRAIN) == 0
    assert list_targets(root) == ["us-breast-mass", "ct-brain-mass"]
    assert read_targets(root) == {"us-breast-mass", "ct-brain-mass"}
    assert len(trainer.turns[0]) == 5  # of the new target alone
    assert not (root / "studies/s/draft.json").exists()


def test_a_sweep_of_a_part_runs_nothing_and_keeps_the_whole(root: Path, trainer: Trainer) -> None:
    assert run("sweep", root, BREAST, "arms=[zero_shot,related]") == 0
    assert trainer.turns == []
    assert len(read_plan(Layout(root).plan("s")).cells) == 3


def test_a_sweep_with_another_recipe_is_refused_with_both_ways_out(
    root: Path, trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sweep", root, BREAST, "finetune.learning_rate=0.01") == 2
    said = capsys.readouterr().err
    assert "recipe.learning_rate: " in said
    assert "study=NAME" in said
    assert "--replace" in said
    assert trainer.turns == []
    assert run("plan", root, BREAST, "finetune.learning_rate=0.01") == 0
    assert "has begun with other settings and stays as it is" in " ".join(capsys.readouterr().out.split())


def test_replacing_is_told_and_keeps_the_old_plan(
    root: Path, trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    old = read_plan(Layout(root).plan("s"))
    assert run("sweep", root, BRAIN, "--replace") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "replaced: 3 of 3 cells and 1 of 1 held-out questions are no longer part of s" in said
    assert list_targets(root) == ["ct-brain-mass"]
    assert read_plan(root / f"studies/s/plan.{old.id}.json") == old
    assert len(trainer.turns) == 1


def test_a_kill_while_a_plan_is_replaced_leaves_the_study_and_its_registration(
    root: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = root / "studies/s"
    before = {name: (folder / name).read_bytes() for name in ("plan.json", "registered.json")}

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registration, "write_plan", die)
        assert run("sweep", root, BRAIN, "--replace") == 130
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert run("sweep", root, BRAIN, "--replace") == 0
    assert (folder / "registered.json").read_bytes() == before["registered.json"]
    assert list_targets(root) == ["ct-brain-mass"]


def test_a_folder_without_its_jobs_keeps_its_report(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(root / "jobs")
    before = (root / "studies/s/effects.csv").read_bytes()
    assert run("report", root) == 2
    said = capsys.readouterr().err
    assert "3 of the 3 numbers" in said
    assert "the report stays as it is" in said
    assert (root / "studies/s/effects.csv").read_bytes() == before
    (root / "studies/s/cells.csv").unlink()
    assert run("report", root) == 0


def name_of(root: Path, *overrides: str) -> str:
    """Plan, and give the name of the study that this made."""
    given = [part for part in SMALL if not part.startswith(("study=", "design."))]
    assert main(["plan", f"results_dir={root}", *given, BREAST, *overrides]) == 0
    (plan,) = root.glob("studies/*/plan.json")
    return plan.parent.name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (("experiment=phantom_two_source",), "phantom_two_source"),
        (("-m", "experiment=phantom_two_source", "finetune.epochs=1,2"), "phantom_two_source_multirun"),
        (("-m", "finetune.epochs=1,2"), "phantom_compositional_two_source_multirun"),
        (("-m", "finetune.epochs=1,2", "study=mine"), "mine"),
        (("-m", "finetune.epochs=1"), "phantom_compositional_two_source"),
        (("-m", "design=two_source,all_related"), "phantom_compositional_multirun"),
    ],
)
def test_a_multirun_over_a_field_has_a_name_of_its_own(tmp_path: Path, overrides: tuple[str, ...], name: str) -> None:
    assert name_of(tmp_path, *overrides) == name


def test_on_a_narrow_terminal_names_of_studies_are_whole_and_no_line_is_too_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a_study_whose_name_is_as_long_as_that_of_the_default_study"
    assert run("plan", tmp_path, f"study={name}") == 0
    capsys.readouterr()
    assert main(["studies", f"results_dir={tmp_path}"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setattr(study_list, "_find_room", lambda: 80)
    assert main(["studies", f"results_dir={tmp_path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == name
    assert lines[1].startswith("  planned, 0/")
    assert max(map(len, lines)) <= 80
