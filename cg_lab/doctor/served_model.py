"""Whether a server answers, as which model, and how its answers are read: one question is asked."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from cg_lab.data.asking import Exam
from cg_lab.data.sources import open_source
from cg_lab.doctor.check_result import CheckResult, Status
from cg_lab.endpoint_settings import Server
from cg_lab.errors import UserError
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout

FEW_TRIES = 2
"""Further tries: a page is not worth a minute of waiting."""


def check_server(server: Server, plan: Plan, layout: Layout) -> CheckResult:
    """Ask the first question of a plan's first evaluation; the answer is paid, and not kept."""
    import pyarrow.parquet as pq

    from cg_lab.evaluation.served_evaluation import run_served_eval
    from cg_lab.evaluation.served_exam import pose_exam

    job = next(job for job in plan.evals if job.backbone == server.model)
    catalog = plan.catalog_of(job.data)
    with tempfile.TemporaryDirectory() as folder:
        predictions = Path(folder) / "predictions.parquet"
        try:
            posed = pose_exam(job, open_source(catalog, layout.data), {part.name: part for part in catalog.subsets})
            first = Exam(samples=posed.exam.samples[:1], questions=posed.exam.questions[:1])
            few = replace(server, retries=min(server.retries, FEW_TRIES), max_requests=None)
            _, facts = run_served_eval(replace(posed, exam=first), few, Path(folder), predictions, lambda: False)
        except UserError as error:
            return CheckResult(
                name="server", status=Status.FAULT, found=str(error), way_out="start it, or set what the message names"
            )
        row = pq.read_table(predictions).to_pylist()[0]
    way = "the log-probabilities of letters" if facts.num_scored else "what it writes: no letter had a log-probability"
    said = ", ".join(f"{name} {value}" for name, value in sorted(facts.reported.items())) or "nothing of itself"
    return CheckResult(
        name="server",
        found=f"{server.url} answers as '{server.model.served}' and reports {said}; an answer counts by {way}",
        details=(
            f"| {row['instruction']}",
            *(f"| {option}" for option in row["options"]),
            f"wrote      {row['written'][0]!r}",
            f"counts as  {'no option' if row['choice'] is None else row['options'][row['choice']]!r}",
        ),
    )
