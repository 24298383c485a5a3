"""`sweep`: run what is missing, mirror, report; a finished study returns at once."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cg_lab.cli.arguments import Arguments
from cg_lab.cli.failure_summary import print_failures
from cg_lab.cli.job_history import explain_job
from cg_lab.cli.plan_summary import show_plan
from cg_lab.cli.progress import displaying
from cg_lab.cli.provenance import collect_provenance
from cg_lab.cli.runs import PlannedRun
from cg_lab.cli.show import open_console, say_where, show_end, tell_time
from cg_lab.config import compose, to_yaml
from cg_lab.doctor import check_before_jobs
from cg_lab.due_seeds import find_due, list_jobs, write_due
from cg_lab.endpoint_settings import EndpointSettings
from cg_lab.execution.drive import Outcome, Snapshot
from cg_lab.execution.packs import Order, find_pending, read_order
from cg_lab.execution.run import driving, resume_plan, run_plan, start_plan, submit_last
from cg_lab.execution.selection import find_job
from cg_lab.execution.slurm_commands import DEFAULTS, tell_foreign
from cg_lab.models.identity import describe_server
from cg_lab.passwords import HIDDEN, PASSWORD, find_password, hide_passwords
from cg_lab.planning.plan import Plan
from cg_lab.registration import check_conflicts, freeze_plan, read_registration, settle_plan
from cg_lab.results import Layout, fingerprint, is_current, read_plan
from cg_lab.serialize import read_json, write_json, write_text
from cg_lab.study import LocalSettings, SlurmSettings, TrackingSettings

SYNC_EVERY_S = 30.0
"""Between two mirrorings while jobs run."""
MOST_TURNS = 50
"""How often the last task of a detached sweep has what was left submitted again."""
MOST_IDLE_TURNS = 5
"""The same, while no job comes to an end."""


def run_sweep(asked: Plan, runs: list[PlannedRun], layout: Layout, arguments: Arguments) -> int:
    """Bring a study to its end, with what is asked beyond what it was.

    Raises
    ------
    UserError
        If it has begun with other settings.

    Returns
    -------
    Exit status: 0, or 1 if jobs failed.

    """
    order = make_order(asked, runs)
    plan = _settle(asked, layout, arguments)
    pending = find_pending(find_due(layout, plan), layout)
    if not pending.num_jobs and is_current(layout, plan) and _is_finished(plan, order, layout):
        print(f"{plan.study}: all {len(plan.cells)} cells are done and reported.\n")
        show_end(layout, plan, is_mirrored=order.tracking.name == "mlflow")
        return 0
    check_before_jobs((*pending.finetunes, *pending.evals), order.cluster)
    with displaying(plan, layout) as display, driving(layout, plan.study, display.look_on):
        display.rest()
        plan = _settle(asked, layout, arguments)  # another driver may have added to it meanwhile
        due = find_due(layout, plan)
        left = find_pending(due, layout).num_jobs
        _freeze(plan, layout, arguments)
        show_plan(plan, runs[0].study, layout)
        _tell_environment(order)
        print()
        if left and arguments.detach:
            last = Last(str(layout.root.resolve()), plan.study)
            _pass_password(order)
            started = start_plan(plan, order, layout, last, list_jobs(due))
            print(f"{started}; you may leave")
            print(f"how far it is: python -m cg_lab status study={plan.study}{say_where(layout)}")
            return 0
        began = time.monotonic()
        outcome = Outcome(num_done=len(due.finetunes) + len(due.evals), num_failed=0)
        watch = _mirroring(display.show, plan, order, layout)
        if left and arguments.wanted is not None:
            outcome = run_plan(plan, order, layout, watch, wanted=arguments.wanted)
        elif left or plan.rule.looks:
            outcome = _run_looks(plan, order, layout, watch)
        seconds = time.monotonic() - began if left else None
        finish(plan, order, layout, sys.argv, seconds)
    if left:
        print(
            f"\nfinished in {tell_time(time.monotonic() - began)}: "
            f"{outcome.num_done} jobs done, {outcome.num_failed} failed\n"
        )
    if outcome.num_failed:
        print_failures(open_console(), list_jobs(due), layout, plan.study, say_where(layout))
    show_end(layout, plan, is_mirrored=order.tracking.name == "mlflow")
    return 1 if outcome.num_failed else 0


def _run_looks(plan: Plan, order: Order, layout: Layout, watch: Callable[[Snapshot], None]) -> Outcome:
    """Run what is due, and what is due after each look at it."""
    while True:
        due = find_due(layout, plan)
        jobs = list_jobs(due)
        outcome = Outcome(num_done=len(jobs), num_failed=0)
        if find_pending(due, layout).num_jobs:
            outcome = run_plan(plan, order, layout, watch, wanted=jobs)
        if list_jobs(_look(plan, layout)) == jobs:
            return outcome


def _look(plan: Plan, layout: Layout) -> Plan:
    """Look at the results so far; gives what is due then, the whole of a plan without looks."""
    if not plan.rule.looks:
        return plan
    from cg_lab.reporting.read import read_scores
    from cg_lab.reporting.registered_family import judge_study

    effects = judge_study(layout, plan, read_scores(plan, layout), read_registration(layout, plan.study))
    before = find_due(layout, plan)
    write_due(layout, plan, effects.due)
    after = find_due(layout, plan)
    if effects.looks and len(after.finetunes) > len(before.finetunes):
        look = effects.looks[-1]
        print(
            f"look with {look.num_seeds} seeds: {len(look.ended)} of {len(plan.contrasts)} held-out questions need no "
            f"more; {len(after.finetunes) - len(before.finetunes)} further fine-tunes",
            flush=True,
        )
    return after


def _pass_password(order: Order) -> None:
    """Leave a password of `tracking.uri`, which no file keeps, to the task that mirrors at the end."""
    if order.tracking.uri and (password := find_password(order.tracking.uri)) not in (None, HIDDEN):
        os.environ[PASSWORD] = password


def _tell_environment(order: Order) -> None:
    """Say which of the environment's options for Slurm count."""
    if isinstance(order.cluster, SlurmSettings):
        unset = [setting for setting in DEFAULTS if getattr(order.cluster, setting) is None]
        if said := tell_foreign(os.environ, unset):
            print(said)


def run_one(plan: Plan, runs: list[PlannedRun], layout: Layout, name: str) -> int:
    """Run one job, and the fine-tunes that it needs, now and on this machine.

    Returns
    -------
    Exit status: 0, or 1 if it failed.

    """
    job_id = find_job(plan, name)
    needed = {job.id: job.needs for job in plan.evals}.get(job_id, ())
    here = LocalSettings(name="local", slots=1, gpus=None, save_every_s=runs[0].study.cluster.save_every_s)
    order = replace(make_order(plan, runs), cluster=here)
    check_before_jobs([job for job in (*plan.finetunes, *plan.evals) if job.id in {job_id, *needed}], here)
    settled = settle_plan(layout, plan)
    check_conflicts(layout, settled)
    plan = settled.plan
    with displaying(plan, layout) as display, driving(layout, plan.study, display.look_on):
        freeze_plan(layout, plan)
        outcome = run_plan(plan, order, layout, display.show, wanted={job_id, *needed})
    explain_job(plan, layout, job_id)
    return 1 if outcome.num_failed else 0


def make_order(plan: Plan, runs: list[PlannedRun]) -> Order:
    """Say how a study is run."""
    study = runs[0].study
    return Order(
        study=plan.study,
        cluster=study.cluster,
        tracking=study.tracking,
        eval_batch_size=study.evaluation.batch_size,
        cache_gb=study.cache_gb,
        keep=study.keep,
        report_images=study.report_images,
        servers=tuple(
            dict.fromkeys(
                describe_server(run.study.model) for run in runs if isinstance(run.study.model, EndpointSettings)
            )
        ),
    )


def _settle(asked: Plan, layout: Layout, arguments: Arguments) -> Plan:
    """Give the plan of the study with what is asked beyond it; the asked one alone where it is to replace it."""
    if arguments.replaces:
        return asked
    settled = settle_plan(layout, asked)
    check_conflicts(layout, settled)
    return settled.plan


def _freeze(plan: Plan, layout: Layout, arguments: Arguments) -> None:
    """Write what is run, and from which configuration."""
    if arguments.replaces:
        _tell_dropped(plan, layout)
    freeze_plan(layout, plan, replaces=arguments.replaces)
    layout.draft(plan.study).unlink(missing_ok=True)
    configurations = [
        (f"# {part.name}\n" if part.name else "") + to_yaml(part.plain) for part in compose(arguments.request)
    ]
    write_text(layout.study(plan.study) / "config.yaml", hide_passwords("---\n".join(configurations)))


def _tell_dropped(plan: Plan, layout: Layout) -> None:
    """Say what a plan that replaces another one no longer has."""
    path = layout.plan(plan.study)
    if not path.exists() or is_current(layout, plan):
        return
    before = read_plan(path)
    gone = {cell.key for cell in before.cells} - {cell.key for cell in plan.cells}
    questions = [part.id for part in before.contrasts if part.id not in plan.contrast_by_id]
    print(
        f"replaced: {len(gone)} of {len(before.cells)} cells and {len(questions)} of {len(before.contrasts)} held-out "
        f"questions are no longer part of {plan.study}; the old plan is kept as plan.{before.id}.json, results stay\n"
    )


def _mirroring(
    show: Callable[[Snapshot], None], plan: Plan, order: Order, layout: Layout
) -> Callable[[Snapshot], None]:
    """Mirror to MLflow now and then beside showing."""
    synced_at = time.monotonic() - SYNC_EVERY_S + 10

    def watch(snapshot: Snapshot) -> None:
        nonlocal synced_at
        show(snapshot)
        if time.monotonic() - synced_at >= SYNC_EVERY_S:
            _mirror(plan, order.tracking, layout)
            synced_at = time.monotonic()

    return watch


def finish(plan: Plan, order: Order, layout: Layout, argv: list[str], seconds: float | None) -> None:
    """Write provenance and report, and mirror both."""
    folder = layout.study(plan.study)
    if seconds is not None or not (folder / "provenance.json").exists():
        provenance = collect_provenance(argv, seconds=seconds)
        write_json(
            folder / "provenance.json", {"created": datetime.now(UTC).isoformat(timespec="seconds"), **provenance}
        )
    from cg_lab.reporting.write import write_report

    write_report(layout, plan.study, images=order.report_images)
    _mirror(plan, order.tracking, layout)
    write_json(
        folder / ".reported.json", {"fingerprint": fingerprint(layout, plan), "report_images": order.report_images}
    )


@dataclass(frozen=True)
class Last:
    """What ends a detached sweep; submitit starts it as a task or process of its own."""

    results_dir: str
    study: str
    turn: int = 0
    idle: int = 0
    num_left: int = -1
    """Jobs without a result at the last turn."""

    def __call__(self) -> None:
        """Take up what tasks left; report when nothing is under way any more."""
        layout = Layout(Path(self.results_dir))
        with driving(layout, self.study, lambda driver: print(f"waiting: {driver} drives the study", flush=True)):
            plan, order = read_plan(layout.submitted_plan(self.study)), read_order(layout, self.study)
            argv = ["cg_lab", "sweep", "--detach", f"study={self.study}"]
            began = time.monotonic()
            if isinstance(order.cluster, LocalSettings):
                _run_looks(plan, order, layout, _mirroring(_print_progress, plan, order, layout))
            elif self._goes_on(plan, order, layout):
                return
            finish(plan, order, layout, argv, time.monotonic() - began)

    def _goes_on(self, plan: Plan, order: Order, layout: Layout) -> bool:
        """Deal what is left to new tasks, and have another one end the sweep."""
        due = find_due(layout, plan)
        if not (num_left := find_pending(due, layout).num_jobs):
            due = _look(plan, layout)
            num_left = find_pending(due, layout).num_jobs
        idle = self.idle + 1 if num_left == self.num_left else 0
        if self.turn >= MOST_TURNS or idle >= MOST_IDLE_TURNS:
            print(f"{num_left} jobs are left after {self.turn} turns, {idle} of them in vain; reporting what is there")
            return False
        driver = resume_plan(plan, order, layout, list_jobs(due))
        if not driver.submissions:
            return False
        last = Last(self.results_dir, self.study, turn=self.turn + 1, idle=idle, num_left=num_left)
        print(f"{num_left} jobs are left; task {submit_last(driver, last)} takes it up")
        return True


def _print_progress(snapshot: Snapshot) -> None:
    print(f"{snapshot.num_done}/{snapshot.num_jobs} jobs done, {snapshot.num_failed} failed", flush=True)


def _is_finished(plan: Plan, order: Order, layout: Layout) -> bool:
    return _is_reported(plan, order, layout) and _is_mirrored(plan, order.tracking, layout)


def _is_reported(plan: Plan, order: Order, layout: Layout) -> bool:
    folder = layout.study(plan.study)
    stamp = folder / ".reported.json"
    files = [folder / name for name in ("effects.csv", "report.md", "report.html")]
    if not stamp.exists() or not all(file.exists() for file in files):
        return False
    told = read_json(stamp)
    return told["fingerprint"] == fingerprint(layout, plan) and told.get("report_images") == order.report_images


def _is_mirrored(plan: Plan, tracking: TrackingSettings, layout: Layout) -> bool:
    if tracking.name == "none":
        return True
    from cg_lab.tracking import is_synced

    return is_synced(layout, plan.study, tracking_uri=tracking.uri, experiment=tracking.experiment)


def _mirror(plan: Plan, tracking: TrackingSettings, layout: Layout) -> None:
    """Mirror to MLflow; what goes wrong there is told and costs no result."""
    if tracking.name == "none":
        return
    from cg_lab.tracking import TrackingError, sync_study

    try:
        sync_study(layout, plan.study, tracking_uri=tracking.uri, experiment=tracking.experiment)
    except TrackingError as error:
        print(f"MLflow: {error}; results are safe, try again with: python -m cg_lab sync", file=sys.stderr)
