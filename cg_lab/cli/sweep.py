"""`sweep`: run what is missing, mirror, report; a finished study returns at once."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cg_lab.cli.arguments import Arguments
from cg_lab.cli.provenance import collect_provenance
from cg_lab.cli.runs import PlannedRun, list_images
from cg_lab.cli.show import show_effects, show_plan, tell_time
from cg_lab.config import compose, to_yaml
from cg_lab.execution.drive import Outcome, Snapshot, run_plan
from cg_lab.execution.packs import find_pending
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout, fingerprint, is_current, write_plan
from cg_lab.serialize import read_json, write_json, write_text
from cg_lab.study import Study

SYNC_EVERY_S = 30.0
"""Between two mirrorings while jobs run."""


def run_sweep(plan: Plan, runs: list[PlannedRun], layout: Layout, arguments: Arguments) -> int:
    """Bring a study to its end.

    Returns
    -------
    Exit status: 0, or 1 if jobs failed.

    """
    study = runs[0].study
    folder = layout.study(plan.study)
    left = find_pending(plan, layout).num_jobs
    if left == 0 and is_current(layout, plan) and _is_reported(plan, layout) and _is_mirrored(plan, study, layout):
        print(f"{plan.study}: all {len(plan.cells)} cells are done and reported.\n")
        _tell_end(plan, study, layout)
        return 0
    write_plan(layout, plan)
    configurations = [
        (f"# {part.name}\n" if part.name else "") + to_yaml(part.plain) for part in compose(arguments.request)
    ]
    write_text(folder / "config.yaml", "---\n".join(configurations))
    show_plan(plan, study, layout)
    began = time.monotonic()
    outcome = Outcome(num_done=len(plan.finetunes) + len(plan.evals), num_failed=0)
    if left:
        print()
        outcome = _run(plan, runs, layout)
    provenance = collect_provenance(sys.argv, seconds=time.monotonic() - began if left else None)
    if left or not (folder / "provenance.json").exists():
        write_json(
            folder / "provenance.json", {"created": datetime.now(UTC).isoformat(timespec="seconds"), **provenance}
        )
    from cg_lab.reporting.write import write_report

    write_report(layout, plan.study)
    _mirror(plan, study, layout)
    write_json(folder / ".reported.json", {"fingerprint": fingerprint(layout, plan)})
    if left:
        print(
            f"\nfinished in {tell_time(time.monotonic() - began)}: "
            f"{outcome.num_done} jobs done, {outcome.num_failed} failed\n"
        )
    _tell_end(plan, study, layout)
    return 1 if outcome.num_failed else 0


def _is_reported(plan: Plan, layout: Layout) -> bool:
    folder = layout.study(plan.study)
    stamp = folder / ".reported.json"
    files = [folder / name for name in ("effects.csv", "report.md", "report.html")]
    return (
        stamp.exists()
        and all(file.exists() for file in files)
        and read_json(stamp)["fingerprint"] == fingerprint(layout, plan)
    )


def _is_mirrored(plan: Plan, study: Study, layout: Layout) -> bool:
    if study.tracking.name == "none":
        return True
    from cg_lab.tracking import is_synced

    return is_synced(layout, plan.study, tracking_uri=study.tracking.uri)


def _run(plan: Plan, runs: list[PlannedRun], layout: Layout) -> Outcome:
    study = runs[0].study
    console = Console(highlight=False)
    synced_at = time.monotonic() - SYNC_EVERY_S + 10
    spoken_at = 0.0
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[facts]}"),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task("jobs", total=len(plan.finetunes) + len(plan.evals), facts="starting workers")

        def watch(snapshot: Snapshot) -> None:
            nonlocal synced_at, spoken_at
            progress.update(bar, completed=snapshot.num_done, facts=_describe(snapshot))
            if not console.is_terminal and time.monotonic() - spoken_at >= 15:
                spoken_at = time.monotonic()
                print(_describe(snapshot), flush=True)
            if time.monotonic() - synced_at >= SYNC_EVERY_S:
                _mirror(plan, study, layout)
                synced_at = time.monotonic()

        return run_plan(plan, study, layout, list_images(runs), watch)


def _describe(snapshot: Snapshot) -> str:
    speed = f", {snapshot.samples_per_s:.0f} samples/s" if snapshot.samples_per_s else ""
    left = f", about {tell_time(snapshot.remaining_s)} left" if snapshot.remaining_s else ""
    failed = f", {snapshot.num_failed} failed" if snapshot.num_failed else ""
    return f"{snapshot.num_done}/{snapshot.num_jobs} jobs done, {len(snapshot.running)} running{failed}{speed}{left}"


def _mirror(plan: Plan, study: Study, layout: Layout) -> None:
    """Mirror to MLflow; what goes wrong there is told and costs no result."""
    if study.tracking.name == "none":
        return
    from cg_lab.tracking import TrackingError, sync_study

    try:
        sync_study(layout, plan.study, tracking_uri=study.tracking.uri)
    except TrackingError as error:
        print(f"MLflow: {error}; results are safe, try again with: python -m cg_lab sync", file=sys.stderr)


def _tell_end(plan: Plan, study: Study, layout: Layout) -> None:
    show_effects(layout, plan.study)
    folder = layout.study(plan.study)
    where = "" if layout.root == Path("results") else f" results_dir={layout.root}"
    print(f"\nreport   {folder / 'report.html'}")
    print(f"numbers  {folder / 'effects.csv'}")
    if study.tracking.name == "mlflow":
        print(f"compare  python -m cg_lab ui{where}")
