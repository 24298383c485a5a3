"""Reports: numbers that can be worked out by hand, nothing averaged away, nothing loaded from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cg_lab.arms import Arm
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.evaluation.predictions import PREDICTIONS
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.reporting.tables import write_csv
from cg_lab.reporting.write import ReportFiles, write_report
from cg_lab.results import EvalResult, Failure, Layout, write_failure, write_plan, write_result

RATES = {
    Arm.ZERO_SHOT: 0.3,
    Arm.UNRELATED: 0.35,
    Arm.RELATED: 0.8,
    Arm.ALONE: 0.5,
    Arm.MISMATCHED: 0.4,
    Arm.CEILING: 0.9,
    Arm.BLIND: 0.33,
    Arm.SOURCES: 0.95,
    Arm.SHUFFLED: 0.33,
}
NUM = 90
ROOT = Path(__file__).resolve().parents[2]
MOST_CPU_S = 40.0
"""Of a report of a thousand cells and a thousand comparisons beside it; a third of it on a calm core."""
MOST_MB = 0.6


def write_predictions(layout: Layout, plan: Plan, lost: set[str]) -> None:
    arms = {cell.eval_job: (cell.arm, cell.seed or 0) for cell in plan.cells}
    for job in plan.evals:
        if job.id in lost:
            continue
        arm, seed = arms[job.id]
        correct = np.random.default_rng([seed, *map(ord, arm)]).random(NUM) < RATES[arm]
        rows = [
            {
                "question": f"{job.target}/test/{number}",
                "subset": job.target,
                "group": None,
                "instruction": "<script>alert(1)</script>",
                "options": ["a", "b", "c"],
                "log_probs": [-1.0, -2.0, -3.0],
                "answer": 0 if right else 1,
                "choice": 0,
                "correct": bool(right),
                "score": float(right),
            }
            for number, right in enumerate(correct)
        ]
        layout.job(job.id).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=PREDICTIONS), layout.predictions(job.id))
        write_result(
            layout,
            EvalResult(
                job=job,
                num_questions=NUM,
                accuracy=float(correct.mean()),
                seconds=1,
                host="h",
                started="t",
                metrics={"parse_failures": 0.25, "agreement": 0.5} if arm is Arm.ZERO_SHOT else {},
            ),
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, Plan, ReportFiles]:
    study = read_study(["targets=[ct-brain-mass,us-kidney-bleed]", "seeds=[0,1,2]", "rule.resamples=500", "study=s"])
    layout, plan = (
        Layout(tmp_path_factory.mktemp("results")),
        build_plan(
            [Run(name="", study=study, catalog=read_catalog(study.data), backbone=identify_backbone(study.model))]
        ),
    )
    write_plan(layout, plan)
    related = [cell for cell in plan.cells if cell.arm is Arm.RELATED and cell.contrast.startswith("us-")]
    failed, waiting = related[0], next(cell for cell in plan.cells if cell.arm is Arm.CEILING)
    assert failed.finetune_job
    write_failure(
        layout,
        Failure(job_id=failed.finetune_job, kind="out_of_memory", message="too large", attempts=2, host="h", when="t"),
    )
    write_predictions(layout, plan, {failed.eval_job, waiting.eval_job})
    return layout, plan, write_report(layout, "s")


def test_effects_can_be_recomputed_from_predictions_with_pandas_alone(made: tuple[Layout, Plan, ReportFiles]) -> None:
    layout, plan, files = made
    effects = pd.read_csv(files.effects_csv).set_index(["target", "arm"])
    related = [cell for cell in plan.cells if cell.arm is Arm.RELATED and cell.contrast.startswith("ct-")]
    unrelated = [cell for cell in plan.cells if cell.arm is Arm.UNRELATED and cell.contrast.startswith("ct-")]
    assert (len(related), len(unrelated)) == (3, 2)

    def read(job_id: str) -> pd.Series:
        return pd.read_parquet(layout.predictions(job_id)).set_index("question")["correct"].astype(float)

    accuracy = np.mean([read(cell.eval_job).mean() for cell in related])
    gain = accuracy - np.mean([read(cell.eval_job).mean() for cell in unrelated])
    row = effects.loc["ct-brain-mass", "related"]
    assert row["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert row["gain_over_unrelated"] == pytest.approx(gain, abs=1e-6)
    assert row["gain_over_unrelated_low"] < gain < row["gain_over_unrelated_high"]
    assert row["gain_over_unrelated_bootstrap_low"] < gain < row["gain_over_unrelated_bootstrap_high"]
    assert row["detectable_gain_over_unrelated"] > gain - row["gain_over_unrelated_low"]


def test_missing_cells_are_listed_with_their_reason_and_leave_the_verdict_open(
    made: tuple[Layout, Plan, ReportFiles],
) -> None:
    _, _, files = made
    cells = pd.read_csv(files.cells_csv)
    missing = cells[cells["state"] == "missing"]
    assert set(missing["reason"]) == {"its fine-tune failed (out_of_memory): too large", "not run yet"}
    effects = pd.read_csv(files.effects_csv)
    related = effects[effects["arm"] == "related"].set_index("target")
    assert related.loc["us-kidney-bleed", "verdict"] == "cannot say"
    assert related.loc["us-kidney-bleed", "seeds"] == "1;2"
    for text in (files.markdown.read_text(), files.html.read_text()):
        assert "its fine-tune failed (out_of_memory): too large" in text
        assert "not run yet" in text


def test_the_transfer_matrix_is_the_mean_gain_of_the_models_that_saw_a_source(
    made: tuple[Layout, Plan, ReportFiles],
) -> None:
    layout, plan, files = made
    table = pd.read_csv(files.html.parent / "transfer.csv").set_index(["source", "target"])
    contrast = next(part for part in plan.contrasts if part.target == "ct-brain-mass")
    untouched = next(c for c in plan.cells if c.arm is Arm.ZERO_SHOT and c.contrast == contrast.id)

    def accuracy(job_id: str) -> float:
        return float(pd.read_parquet(layout.predictions(job_id))["score"].mean())

    for source in contrast.related:
        saw = [
            accuracy(cell.eval_job)
            for cell in plan.cells
            if cell.contrast == contrast.id and cell.arm in {Arm.RELATED, Arm.ALONE, Arm.MISMATCHED}
            and (mixture := plan.find_mixture(cell)) and mixture.count(source)
        ]  # fmt: skip
        row = table.loc[(source, "ct-brain-mass")]
        assert row["num_models"] == len(saw) > 3
        assert row["gain_over_zero_shot"] == pytest.approx(np.mean(saw) - accuracy(untouched.eval_job), abs=1e-6)


def test_reliability_is_the_share_of_the_likelihood_against_the_share_that_is_right(
    made: tuple[Layout, Plan, ReportFiles],
) -> None:
    layout, plan, files = made
    table = pd.read_csv(files.html.parent / "reliability.csv").set_index("arm")
    jobs = {c.eval_job for c in plan.cells if c.arm is Arm.RELATED and layout.predictions(c.eval_job).exists()}
    right = pd.concat([pd.read_parquet(layout.predictions(job)) for job in sorted(jobs)])["score"].mean()
    sure = 1 / (1 + np.exp(-1) + np.exp(-2))
    assert table.loc["related", "confidence"] == pytest.approx(sure, abs=1e-6)
    assert table.loc["related", "accuracy"] == pytest.approx(right, abs=1e-6)
    assert table.loc["related", "calibration_error"] == pytest.approx(abs(right - sure), abs=1e-6)


def test_the_same_results_give_the_same_bytes(made: tuple[Layout, Plan, ReportFiles]) -> None:
    layout, _, files = made
    paths = (files.effects_csv, files.cells_csv, files.markdown, files.html)
    before = [path.read_bytes() for path in paths]
    write_report(layout, "s")
    assert [path.read_bytes() for path in paths] == before


def test_the_page_loads_nothing_from_elsewhere(made: tuple[Layout, Plan, ReportFiles]) -> None:
    text = made[2].html.read_text()
    named = re.findall(r"(?:src|href)=[\"'](?!#|data:image/)[^\"']+", text.replace("xlink:href", "href"))
    tables = ("effects", "cells", "summary", "transfer", "reliability")
    links = ["answers/index.html", *(f"{name}.csv" for name in tables)]
    assert named == [f'href="{link}' for link in links]  # which load nothing
    assert all((made[2].html.parent / link).exists() for link in links)
    assert "@import" not in text
    assert text.count("<script") == text.count("<script>") == 1  # the page's own
    assert "fetch(" not in text
    assert text.count("<svg") == 9  # the first two figures are one for each held-out question


def test_the_figures_are_written_beside_and_shown_in_markdown(made: tuple[Layout, Plan, ReportFiles]) -> None:
    files = made[2]
    for name in re.findall(r"\((figures/\w+\.svg)\)", files.markdown.read_text()):
        assert (files.markdown.parent / name).read_text().startswith("<?xml")


def test_how_answers_were_read_stands_beside_the_arm_that_it_is_about(made: tuple[Layout, Plan, ReportFiles]) -> None:
    _, plan, files = made
    text = files.markdown.read_text(encoding="utf-8")
    assert "| CT Brain Mass | zero-shot | 50 % | 25 % |" in text
    assert "| CT Brain Mass | related |  |  |" in text
    assert "untouched model it was also recorded what it writes" in text
    cells = pd.read_csv(files.cells_csv)
    is_first = cells["arm"] == "zero_shot"
    assert (cells.loc[is_first, "parse_failures"] == 0.25).all()
    assert cells.loc[~is_first, "parse_failures"].isna().all()
    assert {job.protocol.by for job in plan.evals} == {"likelihood", "both"}


def test_cells_that_a_spreadsheet_would_run_begin_with_an_apostrophe(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{"target": "=cmd|' /C calc'!A0", "gain": "-0.250000", "name": "@sum"}])
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == "'=cmd|' /C calc'!A0,-0.250000,'@sum"


def test_tables_of_a_page_have_some_of_very_many_questions_and_say_so(
    made: tuple[Layout, Plan, ReportFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, plan, files = made
    whole, written = files.markdown.read_text(encoding="utf-8"), files.effects_csv.read_bytes()
    monkeypatch.setattr("cg_lab.reporting.write.MOST_SHOWN", 1)
    cut = write_report(layout, "s").markdown.read_text(encoding="utf-8")
    monkeypatch.undo()
    told = "1 of 2 held-out questions, at even steps along their list; the .csv files have all."
    assert told in cut
    assert told not in whole
    assert ["| US Kidney Bleed | mri-kidney-bleed" in text for text in (whole, cut)] == [True, False]
    assert files.effects_csv.read_bytes() == written
    assert write_report(layout, "s").markdown.read_text(encoding="utf-8") == whole
    assert len(plan.contrasts) == 2


@pytest.mark.slow
def test_a_report_of_a_thousand_cells_stays_within_its_figures() -> None:
    """As docs/performance.md has them, by the command that it names."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, "benchmarks/report.py", "--cells", "1000"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    after = os.times()
    told = re.search(r"report of 1,0\d\d cells, .*, ([\d.]+) MB of HTML", done.stdout)
    assert told, done.stdout
    assert float(told[1]) <= MOST_MB
    assert after.children_user - before.children_user < MOST_CPU_S
