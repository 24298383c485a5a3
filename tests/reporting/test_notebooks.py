"""The page on notebooks is run as written, and shows what comes out."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import cg_lab
from cg_lab.arms import Arm
from cg_lab.planning.plan import Cell, Plan
from cg_lab.questions import AnyQuestion, Question
from cg_lab.results import Layout
from tests.reporting.answering import Answer, Row, choose, plan_study, write_answers

PAGE = Path(__file__).resolve().parents[2] / "docs" / "notebooks.md"
EXAMPLE = re.compile(r"```python\n(.*?)```\n(?:```text\n(.*?)```)?", re.DOTALL)
SMALL = (
    "targets=[ct-brain-mass,us-breast-mass]", "seeds=[0,1,2]", "data.test_per_subset=60", "rule.resamples=500",
    "arms=[zero_shot,unrelated,related,alone,ceiling,blind,sources]",
)  # fmt: skip
RATES = {Arm.ZERO_SHOT: 0.3, Arm.UNRELATED: 0.35, Arm.ALONE: 0.4, Arm.CEILING: 0.95, Arm.BLIND: 0.33, Arm.SOURCES: 0.95}


def answer_at(related: float) -> Answer:
    """Be right as often as each arm is, related training at a rate of one of the two targets."""

    def answer(cell: Cell, number: int, question: AnyQuestion) -> Row:
        assert isinstance(question, Question)
        generator = np.random.default_rng([number, cell.seed or 0, *map(ord, cell.arm + cell.subset)])
        is_wrong = generator.random() > RATES.get(cell.arm, related if cell.subset == "us-breast-mass" else 0.4)
        return choose(question, (question.answer + is_wrong) % len(question.options), generator.uniform(0.5, 0.95))

    return answer


def make_study(layout: Layout, name: str, *overrides: str, related: float = 0.7) -> Plan:
    plan = plan_study(layout, f"study={name}", *SMALL, *overrides)
    write_answers(layout, plan, answer_at(related))
    return plan


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finish two studies, and let one run."""
    root = tmp_path_factory.mktemp("notebooks")
    layout = Layout(root / "results")
    make_study(layout, "phantom_compositional_two_source")
    make_study(layout, "phantom_entangled", "data.world=entangled", related=0.5)
    running = make_study(layout, "running", "data.seed=1", "targets=[us-breast-mass]")
    for cell in running.cells:
        if cell.arm is Arm.UNRELATED and cell.seed:
            layout.result(cell.eval_job).unlink()
    return root


@pytest.fixture
def folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be where a notebook is, beside the results."""
    monkeypatch.chdir(root)
    return root


def run_cell(code: str, names: dict[str, Any]) -> str:
    """Run code as a notebook does, and give what it shows."""
    body = ast.parse(code).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(ast.Module(body, []), str(PAGE), "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), str(PAGE), "eval"), names)
            if value is not None:
                shown.write(f"{value}\n")
    return shown.getvalue()


def test_the_examples_run_in_order_and_show_what_the_page_says(folder: Path) -> None:
    examples = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(examples) == 10
    names: dict[str, Any] = {}
    with plt.rc_context({"backend": "agg"}), pd.option_context("display.width", 120, "display.max_columns", 20):
        for code, expected in examples:
            shown = run_cell(code, names)
            assert not expected or shown.split() == expected.split(), f"{code}\n{shown}"
    plt.close("all")
    assert "ct-brain-mass &" in names["latex"]
    assert all((folder / name).read_bytes().startswith(b"%PDF") for name in ("accuracy.pdf", "forest.pdf"))


def test_a_figure_is_shown_by_notebooks_and_is_the_same_in_any_style(folder: Path) -> None:
    def draw(file: str) -> bytes:
        study = cg_lab.open_study("results/studies/running")
        study.figures["forest"].savefig(file, metadata={"Date": None})
        assert study.figures["forest"]._repr_png_().startswith(b"\x89PNG")
        return Path(file).read_bytes()

    with plt.style.context("dark_background"):
        first = draw("dark.svg")
    assert first == draw("light.svg")


def test_a_notebook_shows_a_study_by_its_answer_and_gains(folder: Path) -> None:
    shown = cg_lab.open_study("results/studies/phantom_compositional_two_source")._repr_html_()
    assert "study phantom_compositional_two_source: 2 held-out questions" in shown
    assert "the model recombined what it learned" in shown
    assert shown.count("<tr") == 3
    assert "us-breast-mass" in shown


def test_what_no_cell_has_yet_is_an_empty_number(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plan = plan_study(layout, *SMALL)
    study = cg_lab.open_study(layout.study(plan.study))
    assert study.cells.groupby("arm").accuracy.mean().isna().all()
    assert study.effects.gain_over_unrelated.isna().all()
    assert study.predictions.empty
    assert "0 of " in repr(study)
