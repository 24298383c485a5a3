"""`logs`: what a job wrote down, and what its process printed."""

from __future__ import annotations

import time
from collections.abc import Iterable

from cg_lab.errors import UserError
from cg_lab.execution.attempts import Attempt, read_attempts
from cg_lab.execution.printed_log import read_printed, read_tail
from cg_lab.execution.selection import find_job
from cg_lab.journal import Follower
from cg_lab.passwords import hide_passwords
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout

TAIL = 60
"""Lines of a log that are shown."""


def show_log(plan: Plan, layout: Layout, name: str, *, follow: bool) -> int:
    """Print a job's journal and what its process printed about it; with `follow`, go on as both are written."""
    job_id = find_job(plan, name)
    journal = Follower(layout.journal(job_id))
    events = journal.read()
    if not events and not follow:
        raise UserError(f"job {job_id} was not begun yet; `python -m cg_lab explain {job_id}` tells what comes next")
    _print_events(_leave_out(events))
    attempts = read_attempts(events)
    printed = _list_printed(layout, job_id, attempts[-1]) if attempts else []
    if printed:
        print(f"\n-- printed, last {TAIL} lines: {attempts[-1].log}")
        print(hide_passwords("\n".join(printed[-TAIL:])))
    while follow and not layout.result(job_id).exists() and not layout.failure(job_id).exists():
        time.sleep(1)
        _print_events(journal.read())
    return 0


def _leave_out(events: list[dict[str, object]]) -> list[dict[str, object]]:
    """Leave out all but the last points of a long curve."""
    return [event for place, event in enumerate(events, 1) if event.get("event") != "log" or place > len(events) - TAIL]


def _print_events(events: Iterable[dict[str, object]]) -> None:
    for event in events:
        facts = {key: value for key, value in event.items() if key not in ("time", "event", "traceback")}
        told = "  ".join(f"{key}={value}" for key, value in facts.items() if value is not None)
        print(f"{str(event.get('time', ''))[:19]}  {event.get('event')}  {hide_passwords(told)}".rstrip(), flush=True)
        if trace := event.get("traceback"):
            print(hide_passwords(str(trace)))


def _list_printed(layout: Layout, job_id: str, attempt: Attempt) -> list[str]:
    """Give what the process printed while it was at the job: between the lines that name it, and its errors."""
    if not attempt.log:
        return []
    output = layout.root / attempt.log
    if not output.exists():  # its study goes by another name now
        output = next(layout.root.glob(f"studies/*/packs/logs/{output.name}"), output)
    errors = read_tail(output.with_suffix(".err"), TAIL) if attempt.how not in (None, "done") else []
    return [*read_printed(output, job_id, TAIL), *errors]
