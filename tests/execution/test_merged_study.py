"""A small study of merged adapters from its plan to its report, with real trainings."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cg_lab.cli import main
from cg_lab.results import Layout, read_plan

ARMS = "arms=[zero_shot,unrelated,related,alone,composed,composed_alone,composed_unrelated]"


@pytest.mark.slow
def test_merges_run_from_plan_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["study=merged", f"results_dir={tmp_path}"]
    asked = [
        "finetune=lora", "targets=[ct-brain-mass]", "seeds=[0]", ARMS, "data.train_per_subset=32", "keep=nothing",
        "data.test_per_subset=12", "rule.resamples=100", "cluster.slots=2", "design.max_samples=32",
        "finetune.epochs=1", "report_images=false", "tracking=none",
    ]  # fmt: skip
    assert main(["sweep", *asked, *common]) == 0
    layout = Layout(tmp_path)
    plan = read_plan(layout.plan("merged"))
    assert not any(layout.weights(job.id).exists() for job in plan.finetunes)
    with (layout.study("merged") / "cells.csv").open(encoding="utf-8") as file:
        rows = {row["arm"]: row for row in csv.DictReader(file)}
    assert {arm: row["state"] for arm, row in rows.items() if arm.startswith("composed")} == {
        "composed": "done", "composed_alone": "done", "composed_unrelated": "done",
    }  # fmt: skip
    assert rows["composed"]["trained_on"] == rows["related"]["trained_on"]
    assert "What merging adapters keeps" in (layout.study("merged") / "report.md").read_text(encoding="utf-8")
    capsys.readouterr()
    composed = next(cell for cell in plan.cells if cell.arm == "composed")
    assert main(["explain", composed.eval_job, *common]) == 0
    told = capsys.readouterr().out
    assert "merged by cat" in told
    assert all(tune in told for tune in composed.merged_jobs)
