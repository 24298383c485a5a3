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
from cg_lab.results import Layout, ServedFacts

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
            few = replace(server, retries=min(server.retries, FEW_TRIES), max_requests=None, max_cost=None)
            _, facts = run_served_eval(replace(posed, exam=first), few, Path(folder), predictions, lambda: False)
        except UserError as error:
            return CheckResult(
                name="server", status=Status.FAULT, found=str(error), way_out="start it, or set what the message names"
            )
        row = pq.read_table(predictions).to_pylist()[0]
    scored = (
        "the log-probabilities of the options' tokens" if posed.scores_texts else "the log-probabilities of letters"
    )
    num_questions = sum(
        part.num_test
        for asked in plan.evals
        if asked.backbone == server.model
        for part in plan.catalog_of(asked.data).subsets
        if part.name == asked.target
    )
    way = scored if facts.num_scored else "what it writes: no letter had a log-probability"
    said = ", ".join(f"{name} {value}" for name, value in sorted(facts.reported.items())) or "nothing of itself"
    return CheckResult(
        name="server",
        found=f"{server.url} answers as '{server.model.served}' and reports {said}; an answer counts by {way}",
        details=(
            f"| {row['instruction']}",
            *(f"| {option}" for option in row["options"]),
            *(f"wrote      {text!r}" for text in (row["written"] or ())[:1]),
            f"counts as  {'no option' if row['choice'] is None else row['options'][row['choice']]!r}",
            f"tokens     {_foretell_tokens(server, facts, num_questions)}",
        ),
    )


def _foretell_tokens(server: Server, facts: ServedFacts, num_questions: int) -> str:
    """Say what one question took, and what all of a plan's take at that rate."""
    if not facts.num_read:
        return "not counted by the server"
    read, written = facts.num_read * num_questions, facts.num_written * num_questions
    cost = f", {server.price(read, written):,.2f} at its prices" if server.input_price or server.output_price else ""
    return (
        f"{facts.num_read:,} read and {facts.num_written:,} written; some {read:,} and {written:,} for the plan's "
        f"{num_questions:,} questions{cost}"
    )
