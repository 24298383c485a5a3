"""A sweep goes from look to look by itself, and spends seeds only where nothing is decided."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Collection
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from cg_lab.arms import Arm
from cg_lab.cli import main, sweep as sweeping
from cg_lab.due_seeds import find_due, list_jobs
from cg_lab.execution.drive import Outcome
from cg_lab.planning.plan import Cell, Plan
from cg_lab.planning.work import FinetuneJob
from cg_lab.questions import AnyQuestion, Question
from cg_lab.results import FinetuneResult, Layout, read_plan, write_result
from tests.reporting.answering import STARTED, Row, choose, write_answers

SHARES = {Arm.CEILING: 0.95, Arm.RELATED: 0.9, Arm.ALONE: 0.3}
TARGETS = "[us-breast-mass,mri-kidney-bleed]"


def answer_by_chance(cell: Cell, number: int, question: AnyQuestion) -> Row:
    """Answer with the arm's accuracy; one target's related models are hardly better than its sources alone."""
    assert isinstance(question, Question)
    is_hard = cell.arm is Arm.RELATED and cell.contrast.startswith("us-breast-mass")
    share = 0.4 if is_hard else SHARES.get(cell.arm, 0.25)
    is_wrong = np.random.default_rng([number, *cell.eval_job.encode()]).random() >= share
    return choose(question, (question.answer + is_wrong) % len(question.options))


def make_result(job: FinetuneJob) -> FinetuneResult:
    """Make the result of a fine-tune that nobody ran."""
    return FinetuneResult(job=job, steps=1, samples=1, loss_first=1, loss_last=0.5, seconds=1, host="", started=STARTED)


class Trainer:
    """Answers in the place of a model; notes which jobs were asked for, turn by turn."""

    def __init__(self) -> None:
        self.turns: list[frozenset[str]] = []

    def run(self, plan: Plan, order: object, layout: Layout, watch: object, *, wanted: Collection[str]) -> Outcome:
        done = layout.list_done()
        self.turns.append(frozenset(wanted) - done)
        part = find_due(layout, plan)
        assert frozenset(wanted) == list_jobs(part)
        write_answers(layout, part, answer_by_chance)
        for job in part.finetunes:
            layout.weights(job.id).mkdir(parents=True, exist_ok=True)
            write_result(layout, make_result(job))
        return Outcome(num_done=len(wanted), num_failed=0)


def sweep(root: Path) -> int:
    return main(
        [
            "sweep", f"results_dir={root}", "study=looked", f"targets={TARGETS}", "design.prefer=hash", "looks=[3,5]",
            "rule.matters=1", "rule.resamples=100", "data.test_per_subset=60", "tracking=none",
            "arms=[zero_shot,unrelated,related,ceiling,blind,alone]",
        ]
    )  # fmt: skip


@dataclass(frozen=True)
class Swept:
    """A finished sweep with looks."""

    layout: Layout
    turns: list[frozenset[str]]
    said: str

    def list_seeds(self, target: str) -> set[int | None]:
        """List the seeds of a question's related arm that have answers."""
        done = self.layout.list_done()
        cells = read_plan(self.layout.plan("looked")).cells
        return {
            cell.seed
            for cell in cells
            if cell.contrast.startswith(target) and cell.arm is Arm.RELATED and cell.eval_job in done
        }


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    root, trainer, said = tmp_path_factory.mktemp("looked"), Trainer(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.setattr(sweeping, "run_plan", trainer.run)
        assert sweep(root) == 0
    return Swept(Layout(root), trainer.turns, said.getvalue())


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    found = Trainer()
    monkeypatch.setattr(sweeping, "run_plan", found.run)
    return found


def copy(swept: Swept, root: Path) -> Layout:
    shutil.copytree(swept.layout.root, root, dirs_exist_ok=True)
    return Layout(root)


def test_a_sweep_runs_further_seeds_of_undecided_questions_only_and_then_reports(swept: Swept) -> None:
    assert len(swept.turns) == 2
    assert not swept.turns[0] & swept.turns[1]
    assert swept.list_seeds("us-breast-mass") == {0, 1, 2, 3, 4}
    assert swept.list_seeds("mri-kidney-bleed") == {0, 1, 2}
    assert "look with 3 seeds: 1 of 2 held-out questions need no more; 6 further fine-tunes" in swept.said
    with (swept.layout.study("looked") / "cells.csv").open() as file:
        states = {row["arm"]: row["state"] for row in csv.DictReader(file) if row["target"] == "mri-kidney-bleed"}
    assert states == dict.fromkeys(("zero_shot", "unrelated", "ceiling"), "done") | dict.fromkeys(
        ("related", "blind", "alone"), "not due"
    )


def test_a_finished_sweep_with_looks_returns_at_once(swept: Swept, trainer: Trainer, tmp_path: Path) -> None:
    copy(swept, tmp_path)
    assert sweep(tmp_path) == 0
    assert trainer.turns == []


def test_a_sweep_that_was_killed_after_a_look_goes_on_from_there(
    swept: Swept, trainer: Trainer, tmp_path: Path
) -> None:
    layout = copy(swept, tmp_path)
    (layout.study("looked") / "due.json").unlink()
    whole = (layout.study("looked") / "effects.csv").read_text()
    for job in swept.turns[1]:
        shutil.rmtree(layout.job(job))
    assert sweep(tmp_path) == 0
    assert trainer.turns == swept.turns[1:]
    assert (layout.study("looked") / "effects.csv").read_text() == whole


def test_status_speaks_of_what_is_due(swept: Swept, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", f"results_dir={swept.layout.root}", "study=looked"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[2:] for row in rows if row.startswith(("fine-tunes", "evaluations"))] == [["-"] * 4] * 2
