"""What each verb does."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, cast

from cg_lab.cli import exchange, servers, studies
from cg_lab.cli.study_results import check_planned, find_results, find_root, is_planned, read_planned, read_runs
from cg_lab.errors import UserError

if TYPE_CHECKING:
    from cg_lab.cli.arguments import Arguments, Run
    from cg_lab.cli.runs import PlannedRun
    from cg_lab.planning.plan import Plan
    from cg_lab.reporting.formats import Format
    from cg_lab.results import Layout


def plan(arguments: Arguments) -> int:
    """Print what a study would do, write its plan, and draw its graph and grid; one that has begun is left alone."""
    runs = read_runs(arguments)
    from cg_lab.cli.plan_summary import show_difference, show_plan, show_settled
    from cg_lab.registration import freeze_plan, settle_plan
    from cg_lab.rekeying import rekey_jobs
    from cg_lab.results import open_results
    from cg_lab.serialize import write_lines

    layout = open_results(find_root(runs[0].study))
    rekey_jobs(layout)
    made = _build_plan(runs)
    if arguments.diff:
        return show_difference(made, arguments.diff, layout)
    settled = settle_plan(layout, made)
    is_beside = settled.before is not None and settled.before.id != made.id
    if is_beside:
        write_lines(layout.draft(made.study), made.write_lines())
    else:
        freeze_plan(layout, made)
        _draw_maps(made, layout)
    if arguments.json:
        sys.stdout.writelines(made.write_lines())
        return 0
    show_plan(made, runs[0].study, layout)
    if is_beside:
        show_settled(settled)
    return 0


def doctor(arguments: Arguments) -> int:
    """Check a study's model, machine and folders, and say what to do about what is not well."""
    from cg_lab.cli.doctor import run_doctor
    from cg_lab.config import read_studies

    return run_doctor(read_studies(arguments.request), arguments)


def sweep(arguments: Arguments) -> int:
    """Run what is missing of a study, mirror it to MLflow, and report."""
    runs = read_runs(arguments)
    from cg_lab.cli.sweep import run_sweep
    from cg_lab.rekeying import rekey_jobs
    from cg_lab.results import open_results

    layout = open_results(find_root(runs[0].study))
    rekey_jobs(layout)
    made = _build_plan(runs)
    if arguments.job:
        from cg_lab.cli.sweep import run_one

        return run_one(made, runs, layout, arguments.job)
    return run_sweep(made, runs, layout, arguments)


def retry(arguments: Arguments) -> int:
    """Run again what failed, or what is chosen, then mirror and report as a sweep does."""
    runs = read_runs(arguments)
    from dataclasses import replace

    from cg_lab.cli.jobs import select_retries
    from cg_lab.cli.sweep import run_sweep

    study = runs[0].study
    layout = find_results(study)
    made = read_planned(study, layout)
    return run_sweep(made, runs, layout, replace(arguments, wanted=select_retries(made, layout, arguments.selection)))


def explain(arguments: Arguments) -> int:
    """Tell in words why a target is asked about with these sources, or what became of a cell or a job."""
    runs = read_runs(arguments)
    from cg_lab.cli.explain import explain_target, read_target
    from cg_lab.cli.job_history import explain_job, read_history
    from cg_lab.cli.json_output import print_json

    for run in runs:
        assert run.catalog is not None
        name = arguments.name
        if is_planned(run.study) and not any(name in (one.name, one.triplet) for one in run.catalog.subsets):
            layout = find_results(run.study)
            made = read_planned(run.study, layout)
            if arguments.json:
                print_json(read_history(made, layout, name))
                return 0
            return explain_job(made, layout, name)
        if arguments.json:
            print_json(read_target(name, run.study, run.catalog))
        else:
            explain_target(name, run.study, run.catalog)
    return 0


def recommend(arguments: Arguments) -> int:
    """Rank what to train on for a target, from the catalogue and from finished fine-tunes about other targets."""
    runs = read_runs(arguments)
    from cg_lab.cli.recommend import run_recommend

    if len(runs) > 1:
        raise UserError("recommend: one configuration, not a multirun; leave -m out")
    return run_recommend(runs[0], arguments)


def status(arguments: Arguments) -> int:
    """Say how far a study is, by stage and by cell."""
    runs = read_runs(arguments, with_catalog=False)
    from cg_lab.cli.jobs import read_status, show_status
    from cg_lab.cli.json_output import print_json
    from cg_lab.due_seeds import find_due

    layout = find_results(runs[0].study)
    made = find_due(layout, read_planned(runs[0].study, layout))
    if arguments.json:
        told = read_status(made, layout, arguments.selection, cells=arguments.cells)
        print_json(told)
        return 1 if told.failures else 0
    return show_status(made, layout, arguments.selection, cells=arguments.cells, watch=arguments.watch)


def logs(arguments: Arguments) -> int:
    """Print what a job wrote down and what its process printed."""
    runs = read_runs(arguments, with_catalog=False)
    from cg_lab.cli.job_log import show_log

    layout = find_results(runs[0].study)
    return show_log(read_planned(runs[0].study, layout), layout, arguments.name, follow=arguments.follow)


def cancel(arguments: Arguments) -> int:
    """Stop jobs that wait or run; checkpoints and results stay."""
    runs = read_runs(arguments, with_catalog=False)
    from cg_lab.cli.jobs import cancel_jobs

    layout = find_results(runs[0].study)
    return cancel_jobs(read_planned(runs[0].study, layout), layout, arguments.selection)


def report(arguments: Arguments) -> int:
    """Write effects.csv, report.md and report.html from what is there."""
    runs = read_runs(arguments, with_catalog=False)
    study = runs[0].study
    if arguments.published is not None:
        from cg_lab.reporting.published import write_published

        for path in write_published(arguments.published, find_root(study) / "published"):
            print(f"written  {path}")
        return 0
    from cg_lab.cli.show import show_effects
    from cg_lab.reporting.words import warn_of_ceilings
    from cg_lab.reporting.write import write_report

    layout = find_results(study)
    if arguments.studies:
        return _compare(layout, arguments.studies)
    check_planned(study.study, layout)
    files = write_report(layout, study.study, images=study.report_images and not arguments.no_images)
    show_effects(layout, files.effects.plan, warn_of_ceilings(files.effects))
    if arguments.form:
        from cg_lab.reporting.formats import write_tables

        for path in write_tables(layout, study.study, cast("Format", arguments.form)):
            print(f"written  {path}")
    return 0


def _compare(layout: Layout, studies: tuple[str, ...]) -> int:
    """Print two studies side by side."""
    if len(studies) != 2:
        told = f"two studies to compare, or none: not {len(studies)} ({', '.join(studies)})"
        raise UserError(f"report: {told}; the report of one is written by: report study={studies[0]}")
    for study in studies:
        check_planned(study, layout)
    from cg_lab.cli.show import show_table
    from cg_lab.reporting.formats import compare_studies

    table = compare_studies(layout, *studies)
    show_table(list(table.columns), table.to_numpy().tolist())
    return 0


def sync(arguments: Arguments) -> int:
    """Mirror a study's files to MLflow."""
    runs = read_runs(arguments, with_catalog=False)
    study = runs[0].study
    from cg_lab.tracking import TrackingError, sync_study

    layout = find_results(study)
    check_planned(study.study, layout)
    try:
        tracking = study.tracking
        done = sync_study(layout, study.study, tracking_uri=tracking.uri, experiment=tracking.experiment)
    except TrackingError as error:
        print(f"MLflow: {error}; results are safe", file=sys.stderr)
        return 1
    counted = f"{done.new} new, {done.updated} updated, {done.removed} removed"
    print(f"MLflow: {done.total} runs, {counted}, in {done.seconds:.1f} s")
    return 0


def completion(arguments: Arguments) -> int:
    """Print what makes a shell complete command lines; or, for that, what the one at hand may go on with."""
    from cg_lab.cli.completion import answer_query, read_script

    print(answer_query(os.environ) if arguments.action == "query" else read_script(arguments.action), end="")
    return 0


def data(arguments: Arguments) -> int:
    """Check, show or prepare the images of a study."""
    runs = read_runs(arguments)
    from cg_lab.cli.images import check_images, prepare, preview_images
    from cg_lab.results import open_results

    layout = open_results(find_root(runs[0].study))
    match arguments.action:
        case "check":
            check_images(runs, layout)
        case "preview":
            preview_images(runs, layout, arguments.each)
        case _:
            prepare(_build_plan(runs), runs[0].study, layout)
    return 0


VERBS: dict[str, tuple[Run, str]] = {
    "plan": (plan, "print targets, arms, jobs and the time they take; write plan.json, graph and grid"),
    "doctor": (doctor, "check model, memory, template, folders, MLflow and Slurm before the first job"),
    "data": (data, "check a study's images, show them with their questions, or prepare them for the model"),
    "explain": (explain, "tell why a target is asked about with these sources, or what became of a cell or job"),
    "recommend": (recommend, "rank what to train on for a target that has few images"),
    "sweep": (sweep, "run what is missing of a study, mirror it to MLflow, and report"),
    "status": (status, "say how far a study is, what waits, runs, and failed"),
    "logs": (logs, "print what a job wrote down, and what its process printed"),
    "cancel": (cancel, "stop jobs that wait or run; what is done, and checkpoints, stay"),
    "retry": (retry, "run again what failed, or what is chosen"),
    "report": (report, "write effects.csv, report.md and report.html from what is there"),
    "view": (servers.view, "serve a study's report and its answers on this machine, until Ctrl-C"),
    "studies": (studies.studies, "list all studies, show one, remove one, or give one another name"),
    "gc": (studies.gc, "remove results that nothing names, and weights that nothing needs; --dry-run only says"),
    "bundle": (studies.bundle, "write a study to one folder or archive that opens elsewhere"),
    "open": (studies.open_bundle, "add a bundle to a results folder; what is there stays"),
    "merge": (studies.merge, "add the results of another machine; what is there stays"),
    "export": (exchange.export_study, "write a study's questions, mixtures and proofs for other tools"),
    "import": (exchange.import_answers, "take answers that other tools got into a study, for its report"),
    "sync": (sync, "mirror a study's files to MLflow"),
    "server": (servers.server, "run an MLflow server with PostgreSQL, which a team mirrors its studies to"),
    "ui": (servers.ui, "open the MLflow UI on this machine"),
    "completion": (completion, "print what makes bash, zsh or fish complete command lines"),
}


def _build_plan(runs: list[PlannedRun]) -> Plan:
    from cg_lab.planning.build import build_plan
    from cg_lab.results import Layout
    from cg_lab.seed_deviations import add_deviations

    return add_deviations(Layout(find_root(runs[0].study)), build_plan([run.to_run() for run in runs]))


def _draw_maps(made: Plan, layout: Layout) -> None:
    from cg_lab.reporting.maps import draw_graph, draw_grid
    from cg_lab.serialize import write_text

    for name, svg in (("grid", draw_grid(made)), ("graph", draw_graph(made))):
        write_text(layout.study(made.study) / "figures" / f"{name}.svg", svg)
