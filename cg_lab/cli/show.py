"""What the terminal shows: plans, states and effects as tables for people."""

from __future__ import annotations

import csv
from collections import Counter

from rich.console import Console
from rich.table import Table

from cg_lab.execution.local import count_slots
from cg_lab.execution.packs import balance, find_pending, group_jobs
from cg_lab.planning.plan import Arm, Plan
from cg_lab.results import Layout, read_failure
from cg_lab.study import Study

START_UP_S = 12.0
"""From the command to the first step of training: imports, and MLflow's first touch of its database."""


def show_plan(plan: Plan, study: Study, layout: Layout) -> None:
    """Print targets, arms, jobs, what sharing saves, and the time."""
    console = _console()
    world = f", {plan.data.world} world" if plan.data.source == "phantom" else ""
    console.print(
        f"Study [bold]{plan.study}[/bold]: design {study.design.name}, "
        f"{len(plan.subsets)} subsets{world}, {plan.backbone.name}\n"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("target (held out)", "related: trains on", "unrelated: draws from"):
        table.add_column(column)
    for column in ("samples", "test", "chance", "shows"):
        table.add_column(column, justify="right")
    for contrast in plan.contrasts:
        cell = next(cell for cell in plan.cells if cell.contrast == contrast.id and cell.arm is Arm.RELATED)
        table.add_row(
            contrast.target + ("" if contrast.fully_covered else " *"),
            _shorten(contrast.related),
            f"{len(contrast.unrelated)} subsets" if len(contrast.unrelated) > 3 else " + ".join(contrast.unrelated),
            str(cell.proof.num_train),
            str(cell.proof.num_test),
            f"{cell.proof.chance:.0%}",
            f"+{cell.proof.detectable:.0%}",
        )
    console.print(table)
    console.print(
        "shows: smallest gain over chance that the test questions of one seed show with 80 % power", style="dim"
    )
    if not all(contrast.fully_covered for contrast in plan.contrasts):
        console.print(
            "*: an element of the target is in no related subset, so that a gain is transfer, not recombination",
            style="dim",
        )
    for skipped in plan.skipped:
        console.print(f"left out: {skipped.target} ({skipped.reason})", style="dim")
    for note in plan.notes:
        console.print(f"note: {note.count} x {note.reason}; {'; '.join(note.examples[:3])}", style="yellow")
    _show_work(console, plan, study, layout)


def _show_work(console: Console, plan: Plan, study: Study, layout: Layout) -> None:
    arms = Counter(cell.arm for cell in plan.cells)
    counted = ", ".join(f"{number} {arm}" for arm, number in arms.items())
    saved = plan.num_declared_finetunes - len(plan.finetunes)
    pending = find_pending(plan, layout)
    slots, threads = count_slots(study)
    loads = balance(group_jobs(pending, plan, study.model), slots)
    seconds = {group.job_ids[0]: group.seconds for group in group_jobs(pending, plan, study.model)}
    longest = max((sum(seconds.get(job, 0.0) for job in load) for load in loads), default=0.0)
    samples = sum(job.mixture.num_samples * job.recipe.epochs for job in pending.finetunes)
    console.print(f"\ncells        {len(plan.cells)} ({counted})")
    console.print(
        f"fine-tunes   {len(plan.finetunes)} distinct for {plan.num_declared_finetunes} declared "
        f"(sharing saves {saved}), {len(plan.finetunes) - len(pending.finetunes)} done"
    )
    console.print(
        f"evaluations  {len(plan.evals)} distinct for {len(plan.cells)} cells, "
        f"{len(plan.evals) - len(pending.evals)} done"
    )
    shape = f"{slots} slot{'s' if slots > 1 else ''} of {threads} thread{'s' if threads > 1 else ''}"
    if pending.num_jobs:
        console.print(
            f"to do        {samples:,.0f} training samples, about {tell_time(longest + START_UP_S)} on {shape}"
        )
    else:
        console.print("to do        nothing")
    console.print(f"plan         {layout.plan(plan.study)} ({plan.id})")


def show_status(plan: Plan, layout: Layout) -> int:
    """Print how many jobs are done and which failed; gives the exit status."""
    console = _console()
    pending = find_pending(plan, layout)
    left = {job.id for job in (*pending.finetunes, *pending.evals)}
    done = len(plan.finetunes) + len(plan.evals) - len(left)
    failures = [failure for job_id in sorted(left) if (failure := read_failure(layout, job_id))]
    console.print(f"{plan.study}: {done} of {len(plan.finetunes) + len(plan.evals)} jobs done, {len(failures)} failed")
    for failure in failures:
        console.print(
            f"  {failure.job_id}  {failure.kind} after {failure.attempts} attempts: "
            f"{failure.message.splitlines()[0][:200]}"
        )
    return 1 if failures else 0


def show_effects(layout: Layout, study: str) -> None:
    """Print one line for each held-out question, from effects.csv."""
    console = _console()
    with (layout.study(study) / "effects.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("target", "trained on"):
        table.add_column(column)
    for column in ("zero-shot", "unrelated", "related", "ceiling", "blind", "gain over unrelated"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for row in rows:
        if row["arm"] != Arm.RELATED:
            continue
        arms = {
            other["arm"]: other
            for other in rows
            if other["contrast"] == row["contrast"] and other["arm"] != Arm.SOURCES
        }
        table.add_row(
            row["target"],
            _shorten(tuple(row["related"].split(";"))),
            *(
                _percent(arms.get(arm, {}).get("accuracy", ""))
                for arm in ("zero_shot", "unrelated", "related", "ceiling", "blind")
            ),
            _gain(row),
            row["verdict"],
        )
    console.print(table)


def tell_time(seconds: float) -> str:
    """Say a duration.

    >>> tell_time(42), tell_time(250), tell_time(8000)
    ('42 s', '4 min 10 s', '2 h 13 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _console() -> Console:
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = 140
    return console


def _shorten(names: tuple[str, ...]) -> str:
    return " + ".join(names) if len(names) <= 3 else f"{len(names)} subsets"


def _percent(text: str) -> str:
    return f"{float(text):.0%}" if text else "-"


def _gain(row: dict[str, str]) -> str:
    if not row["gain_over_unrelated"]:
        return "-"
    columns = ("gain_over_unrelated", "gain_over_unrelated_low", "gain_over_unrelated_high")
    estimate, low, high = (round(float(row[column]) * 100) for column in columns)
    return f"{estimate:+d} points [{low:+d}, {high:+d}]"
