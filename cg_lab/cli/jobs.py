"""What is told about all jobs of a study, and done to them: `status`, `cancel`, and which ones `retry` means."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cg_lab.cli.show import open_table
from cg_lab.errors import UserError
from cg_lab.execution.local import stop_workers
from cg_lab.execution.packs import find_order, read_submissions
from cg_lab.execution.selection import (
    Selection,
    State,
    check_selection,
    count_states,
    name_cell,
    select_cells,
    select_jobs,
)
from cg_lab.execution.slurm import SlurmCluster
from cg_lab.execution.states import Silence, Standing, read_standing
from cg_lab.journal import now
from cg_lab.locks import find_holder
from cg_lab.passwords import hide_passwords
from cg_lab.planning.plan import Cell, Plan
from cg_lab.results import Failure, Layout, read_failure, write_failure
from cg_lab.study import Backbone, SlurmSettings

SCHEMA = 1
"""Of what `--json` prints; raised when a field goes or changes its meaning."""
LOOK_EVERY_S = 3.0
MOST_LINES = 40
"""Failures, or cells, that are listed."""


def show_status(plan: Plan, layout: Layout, selection: Selection, *, cells: bool, watch: bool) -> int:
    """Print how jobs stand by stage, what failed, and on request each cell; gives the exit status."""
    check_selection(plan, selection)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 140
    order = find_order(layout, plan.study)
    standing = read_standing(plan, order, layout)
    if watch:
        with Live(_draw(plan, layout, standing, selection, cells=cells), console=console, auto_refresh=False) as live:
            while any(state in (State.RUNNING, State.WAITING) for state in standing.states.values()) or find_holder(
                layout.driver_lock(plan.study)
            ):
                time.sleep(LOOK_EVERY_S)
                standing = read_standing(plan, order, layout)
                live.update(_draw(plan, layout, standing, selection, cells=cells), refresh=True)
    else:
        console.print(_draw(plan, layout, standing, selection, cells=cells))
    return 1 if State.FAILED in standing.states.values() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CellStatus:
    """How one cell stands."""

    cell: str
    """Its key."""
    eval_job: str
    eval_state: State
    finetune_job: str | None
    finetune_state: State | None
    merged_jobs: tuple[str, ...]
    """Fine-tunes whose adapters are asked as one."""
    task: str | None
    """What the cluster calls the process that has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStatus:
    """How the jobs of a study stand."""

    schema: int = SCHEMA
    study: str
    plan: str
    """Id of its plan."""
    finetunes: dict[State, int]
    """How many stand in each way."""
    evaluations: dict[State, int]
    driver: str | None
    """The process that drives it; None if nobody does."""
    is_certain: bool
    """False if the queue did not answer."""
    is_followed_up: bool
    """Whether a last task in the queue takes up what tasks leave."""
    reasons: tuple[str, ...]
    """Why packs wait in the queue."""
    silent: tuple[Silence, ...]
    failures: tuple[Failure, ...]
    cells: tuple[CellStatus, ...] | None
    """Only with `--cells`."""


def read_status(plan: Plan, layout: Layout, selection: Selection, *, cells: bool) -> StudyStatus:
    """Read how the jobs that are meant stand."""
    check_selection(plan, selection)
    standing = read_standing(plan, find_order(layout, plan.study), layout)
    states = standing.states
    meant = frozenset(select_jobs(plan, states, selection))
    holder = find_holder(layout.driver_lock(plan.study))
    failures = [read_failure(layout, job_id) for job_id in sorted(meant) if states[job_id] is State.FAILED]
    rows = [cell for cell in select_cells(plan, selection) if {cell.eval_job, *cell.finetunes} & meant]
    return StudyStatus(
        study=plan.study,
        plan=plan.id,
        finetunes=count_states(states, (job.id for job in plan.finetunes if job.id in meant)),
        evaluations=count_states(states, (job.id for job in plan.evals if job.id in meant)),
        driver=str(holder) if holder else None,
        is_certain=standing.is_certain,
        is_followed_up=standing.is_followed_up,
        reasons=standing.reasons,
        silent=standing.silent,
        failures=tuple(replace(part, message=hide_passwords(part.message)) for part in failures if part),
        cells=tuple(_read_cell(cell, standing) for cell in rows) if cells else None,
    )


def _read_cell(cell: Cell, standing: Standing) -> CellStatus:
    tuned = cell.finetune_job
    return CellStatus(
        cell=cell.key,
        eval_job=cell.eval_job,
        eval_state=standing.states[cell.eval_job],
        finetune_job=tuned,
        finetune_state=standing.states[tuned] if tuned else None,
        merged_jobs=cell.merged_jobs,
        task=_find_task(cell, standing),
    )


def _find_task(cell: Cell, standing: Standing) -> str | None:
    """Give what the cluster calls the process that has the cell's evaluation, or else a fine-tune of it."""
    jobs = (cell.eval_job, *cell.finetunes)
    return next((task for job_id in jobs if (task := standing.tasks.get(job_id))), None)


def _draw(plan: Plan, layout: Layout, standing: Standing, selection: Selection, *, cells: bool) -> RenderableType:
    meant = select_jobs(plan, standing.states, selection)
    parts: list[RenderableType] = [_draw_stages(plan, standing, meant)]
    if holder := find_holder(layout.driver_lock(plan.study)):
        parts.append(Text(f"driven by {holder}", style="dim"))
    elif said := _tell_undriven(plan, standing):
        parts.append(Text(said, style="yellow"))
    parts += [Text(_tell_silence(part), style="yellow") for part in standing.silent]
    if not standing.is_certain:
        said = "the queue does not answer; what runs was last known so, by accounting or locks"
        parts.append(Text(said, style="yellow"))
    if standing.reasons:
        parts.append(Text(f"waiting in the queue: {', '.join(standing.reasons)}", style="yellow"))
    failed = [job_id for job_id in meant if standing.states[job_id] is State.FAILED]
    if failed:
        hint = f"all of it: python -m cg_lab explain {failed[0]}    again: python -m cg_lab retry"
        parts += [Text(), _draw_failures(failed, layout), Text(hint, style="dim")]
    if cells:
        parts.append(Text())
        parts.append(_draw_cells(plan, standing, selection, frozenset(meant)))
    return Group(*parts)


def _tell_undriven(plan: Plan, standing: Standing) -> str:
    """Say what becomes of a study that nobody drives; nothing of one that is done, or was not begun."""
    left = [state for state in standing.states.values() if state not in (State.DONE, State.FAILED)]
    again = f"python -m cg_lab sweep study={plan.study}"
    if not left or standing.is_followed_up:
        return ""
    if State.RUNNING in left or State.WAITING in left:
        return f"nobody drives it: what runs or waits goes on, and what that leaves waits for: {again}"
    if all(isinstance(model, Backbone) and model.is_elsewhere for model in plan.backbones):
        return (
            f"other tools train and ask its model; answers come by: python -m cg_lab import FILE --study {plan.study}"
        )
    return f"nobody drives it; {len(left)} jobs wait for: {again}"


def _tell_silence(part: Silence) -> str:
    job = f" at job {part.job}" if part.job else ""
    return (
        f"silent: {part.task}{job} gave its last sign at {part.last_sign[:19]}, {part.silent_s / 60:.0f} minutes ago; "
        f"a driver takes it away after {part.patience_s / 60:.0f} and deals its jobs again"
    )


def _draw_stages(plan: Plan, standing: Standing, meant: Iterable[str]) -> Table:
    chosen = frozenset(meant)
    table = open_table(plan.study, *State, right=tuple(State))
    for stage, jobs in (("fine-tunes", plan.finetunes), ("evaluations", plan.evals)):
        counts = count_states(standing.states, (job.id for job in jobs if job.id in chosen))
        table.add_row(stage, *(str(counts[state]) if counts[state] else "-" for state in State))
    return table


def _draw_failures(failed: list[str], layout: Layout) -> Table:
    table = open_table("failed", "why", "attempts", "what it said", whole={"failed"})
    for job_id in failed[:MOST_LINES]:
        failure = read_failure(layout, job_id)
        if failure:
            first = escape(hide_passwords(failure.message.strip()).splitlines()[0][:160])
            table.add_row(job_id, failure.kind, str(failure.attempts), first)
    if len(failed) > MOST_LINES:
        table.add_row(f"... {len(failed) - MOST_LINES} more", "", "", "")
    return table


def _draw_cells(plan: Plan, standing: Standing, selection: Selection, meant: frozenset[str]) -> Table:
    table = open_table("cell", "evaluation", "state", "fine-tune", "state", "where", whole={"evaluation", "fine-tune"})
    rows = [cell for cell in select_cells(plan, selection) if {cell.eval_job, *cell.finetunes} & meant]
    for cell in rows:
        states = dict.fromkeys(standing.states[tuned] for tuned in cell.finetunes)
        table.add_row(
            escape(name_cell(plan, cell)),
            cell.eval_job,
            standing.states[cell.eval_job],
            "\n".join(cell.finetunes) or "-",
            ", ".join(states),
            escape(_find_task(cell, standing) or ""),
        )
    return table


def cancel_jobs(plan: Plan, layout: Layout, selection: Selection) -> int:
    """Give up the jobs that are meant and not done; running fine-tunes save and stop; gives the exit status."""
    check_selection(plan, selection)
    order = find_order(layout, plan.study)
    standing = read_standing(plan, order, layout)
    meant = [
        job_id
        for job_id in select_jobs(plan, standing.states, selection)
        if standing.states[job_id] not in (State.DONE, State.FAILED)
    ]
    cancelled = frozenset(meant)
    cancelled |= {job.id for job in plan.evals if not cancelled.isdisjoint(job.needs)} - layout.list_done()
    for job_id in sorted(cancelled):
        write_failure(
            layout,
            Failure(job_id=job_id, kind="cancelled", message="somebody cancelled it", attempts=0, host="", when=now()),
        )
    submissions = [sent for sent in read_submissions(layout, plan.study) if not sent.is_over]
    idle = [
        sent
        for sent in submissions
        if all(standing.states.get(job_id) in (State.DONE, State.FAILED) or job_id in cancelled
               for pack in sent.packs for job_id in pack)
    ]  # fmt: skip
    if order and isinstance(order.cluster, SlurmSettings):
        cluster = SlurmCluster(order.cluster, layout, plan.study)
        cluster.stop(idle)
        if selection.is_all:
            cluster.drop(cluster.find_own())
    elif selection.is_all:
        stop_workers(layout.packs(plan.study))
    print(
        f"{plan.study}: {len(cancelled)} jobs cancelled; what is done is kept. Again with: python -m cg_lab "
        "retry --failed, or sweep"
    )
    return 0


def select_retries(plan: Plan, layout: Layout, selection: Selection) -> tuple[str, ...]:
    """Give the ids of the jobs to run again: those that are meant and not done, with the fine-tunes that they need.

    Raises
    ------
    UserError
        If there is none.

    """
    check_selection(plan, selection)
    states = read_standing(plan, None, layout).states
    chosen = selection if not selection.is_all else Selection(states=(State.FAILED,))
    meant = [job_id for job_id in select_jobs(plan, states, chosen) if states[job_id] is not State.DONE]
    if not meant:
        raise UserError(f"study '{plan.study}': no job without a result is meant; `status --cells` lists all")
    needs = {job.id: job.needs for job in plan.evals}
    needed = [tuned for job_id in meant for tuned in needs.get(job_id, ()) if states[tuned] is not State.DONE]
    followers = [
        job.id for job in plan.evals if not set(meant).isdisjoint(job.needs) and states[job.id] is not State.DONE
    ]
    return tuple(dict.fromkeys([*needed, *meant, *followers]))
