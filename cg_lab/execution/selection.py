"""Which jobs of a study are meant: by target, arm, design, state, or the first characters of their ids."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cg_lab.errors import UserError, suggest

if TYPE_CHECKING:
    from cg_lab.planning.plan import Cell, Plan


class State(StrEnum):
    """How a job stands."""

    DONE = "done"
    FAILED = "failed"
    RUNNING = "running"
    WAITING = "waiting"
    """In a pack that waits in the queue, or that works on another job of its own."""
    OPEN = "open"
    """In no pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which jobs are meant; an empty part leaves all."""

    targets: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    designs: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    """First characters of ids."""

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return not (self.targets or self.arms or self.designs or self.states or self.jobs)


def select_cells(plan: Plan, selection: Selection) -> tuple[Cell, ...]:
    """Give the cells of some targets, arms and designs."""

    def is_meant(cell: Cell) -> bool:
        contrast = plan.contrast_by_id[cell.contrast]
        return (
            (not selection.targets or contrast.target in selection.targets)
            and (not selection.arms or cell.arm in selection.arms)
            and (not selection.designs or contrast.design in selection.designs)
        )

    return tuple(cell for cell in plan.cells if is_meant(cell))


def select_jobs(plan: Plan, states: dict[str, State], selection: Selection) -> tuple[str, ...]:
    """Give the ids of the jobs that are meant: those of the cells, in one of the states, whose id begins as given."""
    cells = select_cells(plan, selection)
    of_cells = dict.fromkeys(job_id for cell in cells for job_id in (*cell.finetunes, cell.eval_job))
    return tuple(
        job_id
        for job_id in of_cells
        if (not selection.states or states[job_id] in selection.states)
        and (not selection.jobs or job_id.startswith(selection.jobs))
    )


def count_states(states: dict[str, State], job_ids: Iterable[str]) -> dict[State, int]:
    """Count jobs by state."""
    counts = dict.fromkeys(State, 0)
    for job_id in job_ids:
        counts[states[job_id]] += 1
    return counts


def check_selection(plan: Plan, selection: Selection) -> None:
    """Make sure that every part of a selection names something of the plan.

    Raises
    ------
    UserError
        If not, with what would be right.

    """
    known = {
        "target": (selection.targets, {contrast.target for contrast in plan.contrasts}),
        "arm": (selection.arms, {str(cell.arm) for cell in plan.cells}),
        "design": (selection.designs, set(plan.designs)),
        "state": (selection.states, {str(state) for state in State}),
    }
    for option, (given, names) in known.items():
        for name in given:
            if name not in names:
                raise UserError(f"--{option}: no {option} '{name}' in study '{plan.study}'; {suggest(name, names)}")
    ids = [job.id for job in (*plan.finetunes, *plan.evals)]
    for prefix in selection.jobs:
        if not any(job_id.startswith(prefix) for job_id in ids):
            raise UserError(f"--job: no job of study '{plan.study}' has an id that begins with '{prefix}'")


def find_job(plan: Plan, name: str) -> str:
    """Give the id of the job that is meant by the first characters of its id, a cell, or a run's name in MLflow.

    Raises
    ------
    UserError
        If there is none, or more than one.

    """
    from cg_lab.tracking.run_names import find_runs_named  # which `--help` need not load

    for cell in plan.cells:
        if name in (cell.key, name_cell(plan, cell)):
            return cell.eval_job
    found = [job.id for job in (*plan.finetunes, *plan.evals) if job.id.startswith(name)]
    if not found and (runs := find_runs_named(plan, name)):
        if len(runs) == 1:
            return runs[0]
        raise UserError(f"{len(runs)} runs are called '{name}'; give one of their jobs: {', '.join(runs)}")
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"'{name}' begins the ids of {len(found)} jobs ({', '.join(found[:4])}); give more of it")
    targets = sorted({contrast.target for contrast in plan.contrasts})
    near = difflib.get_close_matches(name, [cell.key for cell in plan.cells] + targets, n=1, cutoff=0.8)
    raise UserError(
        f"no job or cell '{name}' in study '{plan.study}'; give the first characters of a job's id or a cell, as "
        "`python -m cg_lab status --cells` prints them" + (f". Did you mean '{near[0]}'?" if near else "")
    )


def name_cell(plan: Plan, cell: Cell) -> str:
    """Name a cell for people: as short as its plan allows."""
    contrast = plan.contrast_by_id[cell.contrast]
    is_only = sum(other.target == contrast.target for other in plan.contrasts) == 1
    return cell.key.replace(cell.contrast, contrast.target, 1) if is_only else cell.key
