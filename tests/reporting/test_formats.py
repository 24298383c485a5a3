"""Tables in other formats, studies side by side, and notebooks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

import cg_lab
from cg_lab.cli import main
from cg_lab.errors import UserError
from cg_lab.planning.plan import Plan
from cg_lab.reporting import formats
from cg_lab.reporting.formats import compare_studies, write_tables
from cg_lab.reporting.write import ReportFiles
from cg_lab.results import Layout
from tests.reporting.test_write import made  # noqa: F401  (a fixture)

Made = tuple[Layout, Plan, ReportFiles]


def test_all_formats_hold_the_same_numbers(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    layout, plan, files = made
    effects = pd.read_csv(files.effects_csv)
    with monkeypatch.context() as patch:
        patch.setattr(formats, "to_pdf", lambda _: b"%PDF: drawn below, once")
        _compare_numbers(layout, plan, effects)
    written = write_tables(layout, plan.study, "latex")
    text = next(path for path in written if path.name == "results.tex").read_text(encoding="utf-8")
    assert text.count(" \\\\") == len(plan.contrasts) + 1
    figures = [path for path in written if path.suffix == ".pdf"]
    assert {path.stem for path in figures} >= {"arms", "forest"}
    assert all(path.read_bytes().startswith(b"%PDF-") for path in figures)


def _compare_numbers(layout: Layout, plan: Plan, effects: pd.DataFrame) -> None:
    for form in ("csv", "parquet"):
        written = write_tables(layout, plan.study, form)  # type: ignore[arg-type]
        path = next(path for path in written if path.stem == "effects")
        frame = pd.read_csv(path) if form == "csv" else pd.read_parquet(path)
        assert frame["accuracy"].tolist() == pytest.approx(effects["accuracy"].tolist(), nan_ok=True)
        assert frame["verdict"].dropna().tolist() == effects["verdict"].dropna().tolist()
    written = write_tables(layout, plan.study, "md")
    text = next(path for path in written if path.name == "results.md").read_text(encoding="utf-8")
    assert text.count("\n| ") == len(plan.contrasts) + 1


def test_the_same_study_side_by_side_differs_by_nothing(made: Made) -> None:  # noqa: F811
    layout, plan, _ = made
    table = compare_studies(layout, plan.study, plan.study)
    assert len(table) == len(plan.contrasts)
    assert all(text == "-" or text.startswith("+0 points") for text in table["difference"])


def test_two_studies_or_none_are_compared(made: Made, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    layout, plan, _ = made
    assert main(["report", plan.study, plan.study, f"results_dir={layout.root}"]) == 0
    assert "difference" in capsys.readouterr().out
    assert main(["report", plan.study, f"results_dir={layout.root}"]) == 2
    assert "two studies to compare" in capsys.readouterr().err


def test_a_notebook_has_all_as_frames_and_figures(made: Made) -> None:  # noqa: F811
    layout, plan, files = made
    study = cg_lab.open_study(str(layout.study(plan.study)))
    assert study.plan.id == plan.id
    assert len(study.cells) == len(plan.cells)
    assert study.effects["accuracy"].dtype == float
    related = study.effects[study.effects["arm"] == "related"]
    written = pd.read_csv(files.effects_csv)
    expected = written[written["arm"] == "related"]["accuracy"]
    assert related["accuracy"].tolist() == pytest.approx(expected.tolist(), nan_ok=True)
    done = study.cells[study.cells["state"] == "done"]
    means = study.predictions.groupby("eval_job")["score"].mean()
    assert means.loc[done["eval_job"]].tolist() == pytest.approx(done["accuracy"].tolist(), abs=1e-6)
    assert all(isinstance(figure, Figure) for figure in study.figures.values())


def test_a_study_that_is_not_there_is_told(made: Made) -> None:  # noqa: F811
    layout, plan, _ = made
    with pytest.raises(UserError, match=f"Did you mean '{plan.study}'|known: {plan.study}"):
        cg_lab.open_study(Path(layout.root / "studies" / "nothing"))
