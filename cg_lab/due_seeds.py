"""Which cells of a study are due: all, or those of the looks that were taken so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cg_lab.planning.plan import Cell, Plan
from cg_lab.results import Layout
from cg_lab.serialize import parse, read_json, write_json

EVERY_SEED = 1_000_000
"""More than any arm has."""


def place_cells(plan: Plan) -> dict[str, int]:
    """Give for each cell, by key, how many seeds of a look it takes to need it; 0 if the first look does anyhow.

    Arms that carry the claim have more seeds at later looks, in the order of their numbers; other arms have theirs from
    the first look on.
    """
    seeds: defaultdict[str, set[int]] = defaultdict(set)
    for cell in plan.cells:
        if cell.arm.traits.carries_claim and cell.seed is not None:
            seeds[cell.contrast].add(cell.seed)
    places = {name: {seed: place for place, seed in enumerate(sorted(own), 1)} for name, own in seeds.items()}
    return {
        cell.key: places[cell.contrast][cell.seed] if cell.arm.traits.carries_claim and cell.seed is not None else 0
        for cell in plan.cells
    }


def take_due(plan: Plan, due: Mapping[str, int]) -> Plan:
    """Give the part of a plan that is due, under the whole plan's id.

    Parameters
    ----------
    plan
        A plan without looks is due as a whole.
    due
        Seeds by id of the held-out question; those of the first look for a question that is not named.

    """
    looks = plan.rule.looks
    if not looks:
        return plan
    places = place_cells(plan)
    cells = tuple(cell for cell in plan.cells if places[cell.key] <= due.get(cell.contrast, looks[0]))
    return _keep_cells(plan, cells)


def _keep_cells(plan: Plan, cells: tuple[Cell, ...]) -> Plan:
    needed = {job for cell in cells for job in (*cell.finetunes, cell.eval_job)}
    part = replace(
        plan,
        cells=cells,
        finetunes=tuple(job for job in plan.finetunes if job.id in needed),
        evals=tuple(job for job in plan.evals if job.id in needed),
    )
    part.__dict__["id"] = plan.id
    return part


def list_jobs(plan: Plan) -> frozenset[str]:
    """List the ids of a plan's jobs."""
    return frozenset(job.id for job in (*plan.finetunes, *plan.evals))


def find_due(layout: Layout, plan: Plan) -> Plan:
    """Give the part of a study's plan that is due by its last look."""
    path = _find_path(layout, plan)
    if not plan.rule.looks or not path.exists():
        return take_due(plan, {})
    return take_due(plan, parse(dict[str, int], read_json(path), where=str(path)))


def write_due(layout: Layout, plan: Plan, due: Mapping[str, int]) -> None:
    """Write how many seeds of each held-out question are due after a look."""
    write_json(_find_path(layout, plan), dict(due))


def _find_path(layout: Layout, plan: Plan) -> Path:
    return layout.study(plan.study) / "due.json"
