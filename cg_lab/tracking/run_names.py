"""What runs are called in MLflow, as its table shows them; users take these names to the command line."""

from __future__ import annotations

from collections import Counter

from cg_lab.planning.plan import Cell, Plan
from cg_lab.planning.work import FinetuneJob
from cg_lab.tracking.record import name_sources, shorten


def name_finetune_run(job: FinetuneJob) -> str:
    """Name a fine-tune's run by its seed and sources."""
    shuffled = " shuffled" if job.mixture.labels == "shuffled" else ""
    return shorten(f"tune s{job.seed} {name_sources(job.mixture)}{shuffled}")


def count_questions(plan: Plan) -> Counter[str]:
    """Count the held-out questions of each target."""
    return Counter(contrast.target for contrast in plan.contrasts)


def name_cell_run(plan: Plan, cell: Cell, num_questions: Counter[str]) -> str:
    """Name a cell's run so that the first characters, which the UI's narrow column shows, tell it from others."""
    return _name_cell(plan, cell, num_questions, "" if cell.seed is None else f" s{cell.seed}")


def name_cell_group(plan: Plan, cell: Cell, num_questions: Counter[str]) -> str:
    """Name what the runs of a cell's seeds have in common."""
    return _name_cell(plan, cell, num_questions, "")


def _name_cell(plan: Plan, cell: Cell, num_questions: Counter[str], seed: str) -> str:
    contrast = plan.contrast_by_id[cell.contrast]
    variant = f" {cell.variant}" if cell.variant else ""
    subset = "" if cell.arm.traits.asks_target else f" on {cell.subset}"
    sources = f" ({contrast.id.removeprefix(f'{contrast.target}/')})" if num_questions[contrast.target] > 1 else ""
    return shorten(f"{contrast.target} {cell.arm}{variant}{seed}{subset}{sources}")


def find_runs_named(plan: Plan, name: str) -> tuple[str, ...]:
    """Find the jobs whose runs go by a name: fine-tunes, or the evaluations of cells."""
    num_questions = count_questions(plan)
    found = [job.id for job in plan.finetunes if name_finetune_run(job) == name]
    found += [cell.eval_job for cell in plan.cells if name_cell_run(plan, cell, num_questions) == name]
    return tuple(dict.fromkeys(found))
