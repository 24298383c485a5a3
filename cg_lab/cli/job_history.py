"""`explain JOB`: what became of a cell or a job."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cg_lab.execution.attempts import MEANING, Attempt, decide, read_attempts
from cg_lab.execution.packs import Stage, find_order
from cg_lab.execution.selection import State, find_job, name_cell
from cg_lab.execution.states import Standing, read_standing
from cg_lab.journal import read_events
from cg_lab.passwords import hide_passwords
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob, FinetuneJob
from cg_lab.results import Failure, Layout, read_failure

SCHEMA = 1
"""Of what `--json` prints; raised when a field goes or changes its meaning."""
MOST_QUESTIONS = 1_000_000
"""More than any evaluation takes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHistory:
    """What became of a job."""

    schema: int = SCHEMA
    job: str
    stage: Stage
    state: State
    task: str | None
    """What the cluster calls the process that has it."""
    cells: tuple[str, ...]
    """Keys of the cells that it is for."""
    finetune: str | None
    """For an evaluation, the fine-tune whose weights it asks."""
    merged: tuple[str, ...]
    """For an evaluation of merged adapters, their fine-tunes."""
    attempts: tuple[Attempt, ...]
    """Since it was last asked for anew."""
    failure: Failure | None


def read_history(plan: Plan, layout: Layout, name: str) -> JobHistory:
    """Read what became of a cell or a job."""
    job_id = find_job(plan, name)
    standing = read_standing(plan, find_order(layout, plan.study), layout)
    job = next(job for job in (*plan.finetunes, *plan.evals) if job.id == job_id)
    failure = read_failure(layout, job_id)
    attempts = read_attempts(read_events(layout.journal(job_id)))
    return JobHistory(
        job=job_id,
        stage="evaluation" if isinstance(job, EvalJob) else "finetune",
        state=standing.states[job_id],
        task=standing.tasks.get(job_id),
        cells=tuple(cell.key for cell in plan.cells if job_id in (cell.eval_job, *cell.finetunes)),
        finetune=job.checkpoint_of if isinstance(job, EvalJob) else None,
        merged=job.merge.of if isinstance(job, EvalJob) and job.merge else (),
        attempts=tuple(replace(attempt, message=hide_passwords(attempt.message)) for attempt in attempts),
        failure=failure and replace(failure, message=hide_passwords(failure.message)),
    )


def explain_job(plan: Plan, layout: Layout, name: str) -> int:
    """Print what became of a cell or a job: every attempt, where it was, and what comes next."""
    job_id = find_job(plan, name)
    standing = read_standing(plan, find_order(layout, plan.study), layout)
    job = next(job for job in (*plan.finetunes, *plan.evals) if job.id == job_id)
    cells = [cell for cell in plan.cells if job_id in (cell.eval_job, *cell.finetunes)]
    for line in _describe_job(job):
        print(line)
    print(f"for cells   {', '.join(name_cell(plan, cell) for cell in cells[:6])}" + (" ..." if len(cells) > 6 else ""))
    for needed in job.needs if isinstance(job, EvalJob) else ():
        print(f"fine-tune   {needed}: {standing.states[needed]}")
        if standing.states[needed] is not State.DONE:
            print()
            tuned = plan.finetune_by_id[needed]
            print(hide_passwords("\n".join(_describe_course(tuned, layout, standing))))
            print()
    print(hide_passwords("\n".join(_describe_course(job, layout, standing))))
    return 0


def _describe_job(job: FinetuneJob | EvalJob) -> list[str]:
    if isinstance(job, FinetuneJob):
        parts = " + ".join(f"{part.count} {part.subset}" for part in job.mixture.parts)
        return [f"fine-tune   {job.id}: {job.backbone.name} on {parts}, seed {job.seed}"]
    weights = f"the weights of {job.checkpoint_of}" if job.checkpoint_of else "the untouched model"
    if job.merge:
        weights = f"the adapters of {', '.join(job.merge.of)}, merged by {job.merge.method},"
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
