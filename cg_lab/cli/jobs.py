"""What is told about jobs, and done to them: `status`, `logs`, `explain`, `cancel`, and which ones `retry` means."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cg_lab.errors import UserError
from cg_lab.execution.attempts import MEANING, Attempt, decide, read_attempts
from cg_lab.execution.local import stop_workers
from cg_lab.execution.packs import Order, read_order, read_submissions
from cg_lab.execution.selection import (
    Selection,
    State,
    check_selection,
    count_states,
    find_job,
    name_cell,
    select_cells,
    select_jobs,
)
from cg_lab.execution.slurm import SlurmCluster
from cg_lab.execution.states import Standing, read_standing
from cg_lab.journal import Follower, now, read_events
from cg_lab.locks import find_holder
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob, FinetuneJob
from cg_lab.results import Failure, Layout, read_failure, write_failure
from cg_lab.study import SlurmSettings

LOOK_EVERY_S = 3.0
MOST_LINES = 40
"""Failures, or cells, that are listed."""
MOST_QUESTIONS = 1_000_000
"""More than any evaluation takes at once."""
TAIL = 60
"""Lines of a log that are shown."""


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


def find_order(layout: Layout, study: str) -> Order | None:
    """Read how a study is run; None if it was never swept."""
    return read_order(layout, study) if (layout.packs(study) / "order.json").exists() else None


def _draw(plan: Plan, layout: Layout, standing: Standing, selection: Selection, *, cells: bool) -> RenderableType:
    meant = select_jobs(plan, standing.states, selection)
    parts: list[RenderableType] = [_draw_stages(plan, standing, meant)]
    if holder := find_holder(layout.driver_lock(plan.study)):
        parts.append(Text(f"driven by {holder}", style="dim"))
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


def _draw_stages(plan: Plan, standing: Standing, meant: Iterable[str]) -> Table:
    chosen = frozenset(meant)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(plan.study)
    for state in State:
        table.add_column(state, justify="right")
    for stage, jobs in (("fine-tunes", plan.finetunes), ("evaluations", plan.evals)):
        counts = count_states(standing.states, (job.id for job in jobs if job.id in chosen))
        table.add_row(stage, *(str(counts[state]) if counts[state] else "-" for state in State))
    return table


def _draw_failures(failed: list[str], layout: Layout) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("failed", "why", "attempts", "what it said"):
        table.add_column(column, no_wrap=column == "failed")
    for job_id in failed[:MOST_LINES]:
        failure = read_failure(layout, job_id)
        if failure:
            first = escape(failure.message.strip().splitlines()[0][:160])
            table.add_row(job_id, failure.kind, str(failure.attempts), first)
    if len(failed) > MOST_LINES:
        table.add_row(f"... {len(failed) - MOST_LINES} more", "", "", "")
    return table


def _draw_cells(plan: Plan, standing: Standing, selection: Selection, meant: frozenset[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("cell", "evaluation", "state", "fine-tune", "state", "where"):
        table.add_column(column)
    rows = [cell for cell in select_cells(plan, selection) if {cell.eval_job, cell.finetune_job} & meant]
    for cell in rows:
        tuned = cell.finetune_job
        where = standing.tasks.get(cell.eval_job) or standing.tasks.get(tuned or "") or ""
        table.add_row(
            escape(name_cell(plan, cell)),
            cell.eval_job,
            standing.states[cell.eval_job],
            tuned or "-",
            standing.states[tuned] if tuned else "",
            escape(where),
        )
    return table


def explain_job(plan: Plan, layout: Layout, name: str) -> int:
    """Print what became of a cell or a job: every attempt, where it was, and what comes next."""
    job_id = find_job(plan, name)
    standing = read_standing(plan, find_order(layout, plan.study), layout)
    job = next(job for job in (*plan.finetunes, *plan.evals) if job.id == job_id)
    cells = [cell for cell in plan.cells if job_id in (cell.eval_job, cell.finetune_job)]
    for line in _describe_job(job):
        print(line)
    print(f"for cells   {', '.join(name_cell(plan, cell) for cell in cells[:6])}" + (" ..." if len(cells) > 6 else ""))
    if isinstance(job, EvalJob) and job.checkpoint_of:
        print(f"fine-tune   {job.checkpoint_of}: {standing.states[job.checkpoint_of]}")
        if standing.states[job.checkpoint_of] is not State.DONE:
            print()
            tuned = plan.finetune_by_id[job.checkpoint_of]
            print("\n".join(_describe_course(tuned, layout, standing)))
            print()
    print("\n".join(_describe_course(job, layout, standing)))
    return 0


def _describe_job(job: FinetuneJob | EvalJob) -> list[str]:
    if isinstance(job, FinetuneJob):
        parts = " + ".join(f"{part.count} {part.subset}" for part in job.mixture.parts)
        return [f"fine-tune   {job.id}: {job.backbone.name} on {parts}, seed {job.seed}"]
    weights = f"the weights of {job.checkpoint_of}" if job.checkpoint_of else "the untouched model"
    return [f"evaluation  {job.id}: {weights} on {job.target} ({job.protocol.image} images)"]


def _describe_course(job: FinetuneJob | EvalJob, layout: Layout, standing: Standing) -> list[str]:
    events = read_events(layout.journal(job.id))
    attempts = read_attempts(events)
    state = standing.states[job.id]
    where = f" in {standing.tasks[job.id]}" if job.id in standing.tasks else ""
    verb = "has" if state is State.FAILED else "is"
    lines = [f"{job.id} {verb} {state}{where}"]
    lines += [f"  {_describe_attempt(number, attempt)}" for number, attempt in enumerate(attempts, 1)]
    lines += [f"  {event['time'][:19]} {event['message']}" for event in events if event.get("event") == "released"]
    match state:
        case State.DONE:
            lines.append("next: nothing, its result is there")
        case State.FAILED:
            failure = read_failure(layout, job.id)
            said = f"{failure.kind}: {failure.message}" if failure else "given up"
            lines += [
                f"given up: {said}",
                f"next: nothing by itself; again with: python -m cg_lab retry --job {job.id}",
            ]
        case State.RUNNING:
            lines.append("next: it is being worked on")
        case State.WAITING:
            lines.append("next: its task comes to it")
        case State.OPEN:
            batch_size = job.recipe.batch_size if isinstance(job, FinetuneJob) else MOST_QUESTIONS
            then = decide(attempts, batch_size).reason if attempts and attempts[-1].how else "not begun yet"
            lines.append(f"next: a sweep runs it ({then})")
    return lines


def _describe_attempt(number: int, attempt: Attempt) -> str:
    how = attempt.how or "running, or its end was not noticed yet"
    kind = f" ({attempt.kind}: {MEANING[attempt.kind]})" if attempt.kind else ""
    step = f", checkpoint of step {attempt.step}" if attempt.step else ""
    said = f": {attempt.message.splitlines()[0][:200]}" if attempt.message else ""
    log = f"; log {attempt.log}" if attempt.log else ""
    return f"attempt {number}, {attempt.started[:19]} on {attempt.host} ({attempt.task}{log}){step}: {how}{kind}{said}"


def show_log(plan: Plan, layout: Layout, name: str, *, follow: bool) -> int:
    """Print a job's journal and what its process printed about it; with `follow`, go on as both are written."""
    job_id = find_job(plan, name)
    journal = Follower(layout.journal(job_id))
    events = journal.read()
    if not events and not follow:
        raise UserError(f"job {job_id} was not begun yet; `python -m cg_lab explain {job_id}` tells what comes next")
    _print_events(events)
    attempts = read_attempts(events)
    printed = _read_printed(layout, job_id, attempts[-1]) if attempts else []
    if printed:
        print(f"\n-- printed, last {TAIL} lines: {attempts[-1].log}")
        print("\n".join(printed[-TAIL:]))
    while follow and not layout.result(job_id).exists() and not layout.failure(job_id).exists():
        time.sleep(1)
        _print_events(journal.read())
    return 0


def _print_events(events: Iterable[dict[str, object]]) -> None:
    for event in events:
        facts = {key: value for key, value in event.items() if key not in ("time", "event", "traceback")}
        told = "  ".join(f"{key}={value}" for key, value in facts.items() if value is not None)
        print(f"{str(event.get('time', ''))[:19]}  {event.get('event')}  {told}".rstrip(), flush=True)
        if trace := event.get("traceback"):
            print(trace)


def _read_printed(layout: Layout, job_id: str, attempt: Attempt) -> list[str]:
    """Give what the process printed while it was at the job: between the lines that name it, and its errors."""
    if not attempt.log:
        return []
    output = layout.root / attempt.log
    lines = _read_lines(output)
    start = max((number for number, line in enumerate(lines) if line.endswith(f"job {job_id} started")), default=None)
    own = lines[start:] if start is not None else []
    end = next((number for number, line in enumerate(own) if line.endswith(f"job {job_id} done")), len(own))
    errors = _read_lines(output.with_suffix(".err")) if attempt.how not in (None, "done") else []
    return [*own[: end + 1], *errors[-TAIL:]]


def _read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []


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
    cancelled |= {job.id for job in plan.evals if job.checkpoint_of in cancelled} - layout.list_done()
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
    needs = {job.id: job.checkpoint_of for job in plan.evals}
    needed = [tuned for job_id in meant if (tuned := needs.get(job_id)) and states[tuned] is not State.DONE]
    followers = [job.id for job in plan.evals if job.checkpoint_of in meant and states[job.id] is not State.DONE]
    return tuple(dict.fromkeys([*needed, *meant, *followers]))
