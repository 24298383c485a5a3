"""MLflow: writing many runs and reading them back.

    python benchmarks/tracking.py [--runs 10000]

A study of so many cells whose results are written by hand, nothing trained: seconds to mirror all of it to a new SQLite
file, cost of a run for the writer, and reading all runs into a table against paging through MLflow's `search_runs`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from mlflow.tracking import MlflowClient

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.models.identity import identify_model
from cg_lab.planning.build import Run, build_plan
from cg_lab.results import EvalResult, FinetuneResult, Layout, write_plan, write_result
from cg_lab.tracking import sync_study
from cg_lab.tracking.table import read_runs

STARTED = "2026-01-01T00:00:00+00:00"


def main() -> None:
    """Mirror, and read back in both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    given = parser.parse_args()
    seeds = max(1, round(given.runs / 70))
    study = read_study(
        ["data=med_mat", "design=two_source", f"seeds=[{','.join(map(str, range(seeds)))}]", "study=many"]
    )
    backbone = identify_model(study.model)
    plan = build_plan([Run(name="", study=study, catalog=read_catalog(study.data), backbone=backbone)])
    with tempfile.TemporaryDirectory() as place:
        layout = Layout(Path(place))
        write_plan(layout, plan)
        for job in plan.finetunes:
            write_result(
                layout,
                FinetuneResult(
                    job=job, steps=100, samples=1000, loss_first=1.0, loss_last=0.5, seconds=1.0, host="here",
                    started=STARTED,
                ),
            )  # fmt: skip
        for job in plan.evals:
            write_result(
                layout,
                EvalResult(job=job, num_questions=100, accuracy=0.5, seconds=1.0, host="here", started=STARTED),
            )
        begun = time.perf_counter()
        report = sync_study(layout, "many")
        seconds = time.perf_counter() - begun
        uri = f"sqlite:///{layout.database.resolve()}"
        begun = time.perf_counter()
        frame = read_runs(uri, "many")
        reading = time.perf_counter() - begun
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name("many")
        assert experiment is not None
        begun = time.perf_counter()
        token: str | None = None
        paged = 0
        while True:
            page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
            paged += len(page)
            token = page.token
            if not token:
                break
        paging = time.perf_counter() - begun
        assert paged == len(frame) == report.total
        fields = frame.notna().sum(axis=1).mean()
        print(
            f"{report.total:,} runs with {fields:.0f} fields each mirrored in {seconds:.0f} s, "
            f"{seconds / report.total * 1000:.1f} ms a run; read back in {reading:.2f} s, paging through search_runs "
            f"{paging:.1f} s: {paging / reading:.0f} x"
        )


if __name__ == "__main__":
    main()
