"""What each verb does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cg_lab.errors import UserError

if TYPE_CHECKING:
    from cg_lab.cli.arguments import Arguments, Run
    from cg_lab.planning.plan import Plan
    from cg_lab.results import Layout
    from cg_lab.study import Study


def plan(arguments: Arguments) -> int:
    """Print what a study would do, and write plan.json."""
    study = _read_study(arguments)
    if study is None:
        return 0
    from cg_lab.cli.show import show_plan
    from cg_lab.results import open_results, write_plan

    layout = open_results(_root(study))
    made = _build_plan(study)
    write_plan(layout, made)
    if arguments.json:
        sys.stdout.write(layout.plan(made.study).read_text(encoding="utf-8"))
    else:
        show_plan(made, study, layout)
    return 0


def sweep(arguments: Arguments) -> int:
    """Run what is missing of a study, mirror it to MLflow, and report."""
    study = _read_study(arguments)
    if study is None:
        return 0
    from cg_lab.cli.sweep import run_sweep
    from cg_lab.results import open_results

    layout = open_results(_root(study))
    return run_sweep(_build_plan(study), study, layout, arguments)


def status(arguments: Arguments) -> int:
    """Say how far a study is."""
    study = _read_study(arguments)
    if study is None:
        return 0
    from cg_lab.cli.show import show_status

    layout = _existing(study)
    return show_status(_planned(study, layout), layout)


def report(arguments: Arguments) -> int:
    """Write effects.csv, report.md and report.html from what is there."""
    study = _read_study(arguments)
    if study is None:
        return 0
    from cg_lab.cli.show import show_effects
    from cg_lab.reporting import write_report

    layout = _existing(study)
    _planned(study, layout)
    write_report(layout, study.study)
    show_effects(layout, study.study)
    return 0


def sync(arguments: Arguments) -> int:
    """Mirror a study's files to MLflow."""
    study = _read_study(arguments)
    if study is None:
        return 0
    from cg_lab.tracking import TrackingError, sync_study

    layout = _existing(study)
    _planned(study, layout)
    try:
        done = sync_study(layout, study.study, tracking_uri=study.tracking.uri)
    except TrackingError as error:
        print(f"MLflow: {error}; results are safe", file=sys.stderr)
        return 1
    counted = f"{done.new} new, {done.updated} updated, {done.removed} removed"
    print(f"MLflow: {done.total} runs, {counted}, in {done.seconds:.1f} s")
    return 0


def ui(arguments: Arguments) -> int:
    """Open the MLflow UI on this machine."""
    study = _read_study(arguments)
    if study is None:
        return 0
    from cg_lab.tracking import run_ui

    return run_ui(
        _existing(study),
        host=arguments.host,
        port=arguments.port,
        allow_remote=arguments.allow_remote,
        uri=study.tracking.uri,
        tell=lambda line: print(line, flush=True),
    )


VERBS: dict[str, tuple[Run, str]] = {
    "plan": (plan, "print targets, arms, jobs and the time they take; write plan.json"),
    "sweep": (sweep, "run what is missing of a study, mirror it to MLflow, and report"),
    "status": (status, "say how far a study is, and what failed"),
    "report": (report, "write effects.csv, report.md and report.html from what is there"),
    "sync": (sync, "mirror a study's files to MLflow"),
    "ui": (ui, "open the MLflow UI on this machine"),
}


def _read_study(arguments: Arguments) -> Study | None:
    """Read the configuration; with `--cfg job` print it and give None."""
    from cg_lab.config import compose, read_study, to_yaml

    if arguments.cfg:
        sys.stdout.write(to_yaml(compose(arguments.overrides, config_dir=arguments.config_dir)))
        return None
    return read_study(arguments.overrides, config_dir=arguments.config_dir)


def _build_plan(study: Study) -> Plan:
    from cg_lab.data.sources import read_catalog
    from cg_lab.models.identity import identify_backbone
    from cg_lab.planning.build import build_plan

    return build_plan(study, read_catalog(study.data), identify_backbone(study.model))


def _root(study: Study) -> Path:
    return Path(study.results_dir)


def _existing(study: Study) -> Layout:
    from cg_lab.results import Layout, check_results_schema

    root = _root(study)
    if not root.is_dir():
        raise UserError(f"results_dir: no folder '{root}'; run a sweep first, or give the folder: results_dir=PATH")
    check_results_schema(root)
    return Layout(root)


def _planned(study: Study, layout: Layout) -> Plan:
    from cg_lab.errors import suggest
    from cg_lab.results import read_plan

    path = layout.plan(study.study)
    if not path.exists():
        known = [
            folder.name for folder in sorted((layout.root / "studies").glob("*")) if (folder / "plan.json").exists()
        ]
        raise UserError(f"study: no study '{study.study}' in {layout.root}; {suggest(study.study, known)}")
    return read_plan(path)
