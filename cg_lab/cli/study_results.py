"""The study that a command line means, its results folder and its plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cg_lab.errors import UserError

if TYPE_CHECKING:
    from cg_lab.cli.arguments import Arguments
    from cg_lab.cli.runs import PlannedRun
    from cg_lab.planning.plan import Plan
    from cg_lab.results import Layout
    from cg_lab.study import Study


def read_runs(arguments: Arguments, *, with_catalog: bool = True) -> list[PlannedRun]:
    """Read every configuration and its catalogue."""
    from cg_lab.cli.runs import open_runs
    from cg_lab.config import read_studies

    return open_runs(read_studies(arguments.request), arguments.request.overrides, with_catalog=with_catalog)


def find_root(study: Study) -> Path:
    """Give the results folder."""
    return Path(study.results_dir)


def find_results(study: Study) -> Layout:
    """Open a study's results folder, which must be there."""
    return open_existing(find_root(study))


def open_existing(root: Path) -> Layout:
    """Open a results folder.

    Raises
    ------
    UserError
        If there is none, or a newer version wrote it.

    """
    from cg_lab.results import Layout, check_results_schema

    if not root.is_dir():
        raise UserError(f"results_dir: no folder '{root}'; run a sweep first, or give the folder: results_dir=PATH")
    check_results_schema(root)
    return Layout(root)


def is_planned(study: Study) -> bool:
    """Tell whether a study has a plan."""
    from cg_lab.results import Layout

    return Layout(find_root(study)).plan(study.study).exists()


def read_planned(study: Study, layout: Layout) -> Plan:
    """Read a study's frozen plan."""
    from cg_lab.results import read_plan

    check_planned(study.study, layout)
    return read_plan(layout.plan(study.study))


def check_planned(name: str, layout: Layout) -> None:
    """Refuse a study that has no plan, with the nearest name."""
    from cg_lab.errors import suggest

    if not layout.plan(name).exists():
        raise UserError(f"study: no study '{name}' in {layout.root}; {suggest(name, layout.list_studies())}")
