"""The verbs about a results folder as a whole: `studies`, `gc`, `bundle`, `open` and `merge`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cg_lab.byte_counts import tell_bytes
from cg_lab.cli.json_output import print_json
from cg_lab.cli.study_list import list_studies, show_study
from cg_lab.cli.study_results import open_existing
from cg_lab.errors import UserError

if TYPE_CHECKING:
    from cg_lab.cli.arguments import Arguments
    from cg_lab.results import Layout
    from cg_lab.studies.job_pool import Needs, PoolUse
    from cg_lab.studies.results_union import MergeReport

MOST_NAMED = 10
"""Jobs or contradictions that are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where results lie and are mirrored, as configuration says."""

    layout: Layout
    tracking_uri: str | None
    is_mirrored: bool


def read_place(arguments: Arguments, *, may_be_new: bool = False) -> Place:
    """Read where results lie, and no more of the configuration: any study may be meant.

    Raises
    ------
    UserError
        If there is no such folder.

    """
    from cg_lab.config import compose
    from cg_lab.results import Layout, check_results_schema

    plain = compose(arguments.request)[0].plain
    root = Path(str(plain["results_dir"]))
    if may_be_new:
        check_results_schema(root)
    layout = Layout(root) if may_be_new else open_existing(root)
    tracking: dict[str, Any] = plain.get("tracking") or {}
    return Place(layout=layout, tracking_uri=tracking.get("uri"), is_mirrored=tracking.get("name", "none") != "none")


# studies ------------------------------------------------------------------------------------------------------------


def studies(arguments: Arguments) -> int:
    """List the studies of a results folder, show one, remove one, or give one another name."""
    place, names = read_place(arguments), arguments.names
    wanted = {"list": 0, "show": 1, "rm": 1, "rename": 2}[arguments.action]
    if len(names) != wanted:
        told = {"show": "STUDY", "rm": "STUDY", "rename": "STUDY NEW"}.get(arguments.action, "")
        raise UserError(f"studies {arguments.action} {told}: names wanted: {wanted}, given: {len(names)}")
    match arguments.action:
        case "list":
            return list_studies(place.layout, as_json=arguments.json)
        case "show":
            return show_study(place.layout, names[0], as_json=arguments.json)
        case "rm":
            return _remove_study(place, names[0])
        case _:
            return _rename_study(place, *names)


def _remove_study(place: Place, study: str) -> int:
    from cg_lab.execution.packs import find_order
    from cg_lab.studies.study_folder import check_idle, check_study, remove_study
    from cg_lab.tracking import TrackingError, delete_experiment

    layout = place.layout
    check_study(layout, study)
    check_idle(layout, study)
    order = find_order(layout, study)
    kept = remove_study(layout, study)
    print(f"{study} is removed; its results stay until `python -m cg_lab gc`")
    if kept:
        print(f"its plan and registration stay in {kept}, and count where its questions are asked again")
    uri, experiment = (order.tracking.uri, order.tracking.experiment) if order else (place.tracking_uri, None)
    if order.tracking.name == "none" if order else not place.is_mirrored:
        return 0
    try:
        if delete_experiment(layout, study, uri, experiment):
            print(f"its experiment is among MLflow's deleted ones; a sweep of {study} restores it")
    except TrackingError as error:
        print(f"MLflow: {error}; its runs stay there, and the results that they show here", file=sys.stderr)
        return 1
    return 0


def _rename_study(place: Place, before: str, after: str) -> int:
    from cg_lab.execution.packs import find_order
    from cg_lab.reporting.write import write_report
    from cg_lab.studies.study_folder import check_idle, check_study, rename_study
    from cg_lab.tracking import TrackingError, rename_experiment

    layout = place.layout
    check_study(layout, before)
    check_idle(layout, before)
    rename_study(layout, before, after)
    order = find_order(layout, after)
    print(f"{before} is {after} now")
    if (layout.study(after) / "report.html").exists():
        try:
            write_report(layout, after, images=order.report_images if order else True)
        except UserError as error:
            print(f"its report still says {before}: {error}", file=sys.stderr)
    if order is None or order.tracking.name == "none":
        return 0
    try:
        if rename_experiment(layout, before, after, order.tracking.uri, order.tracking.experiment):
            print(f"MLflow's experiment too; its runs follow with: python -m cg_lab sync study={after}")
    except TrackingError as error:
        print(f"MLflow: {error}; the experiment keeps its name, and a sweep makes another", file=sys.stderr)
        return 1
    return 0


# gc -----------------------------------------------------------------------------------------------------------------


def gc(arguments: Arguments) -> int:
    """Remove results that nothing names, and weights that nothing needs if asked; or only say what that would be."""
    from cg_lab.studies.job_pool import measure_pool, remove_unneeded

    place = read_place(arguments)
    find = partial(_find_needs, place)
    use = measure_pool(place.layout, find())
    if arguments.json:
        print_json(use)
    else:
        print("\n".join(_tell_pool(use)))
    if arguments.dry_run:
        return 0
    freed = remove_unneeded(place.layout, use, find, weights=arguments.weights)
    if not arguments.json:
        print(f"removed: {tell_bytes(freed)}")
    return 0


def _find_needs(place: Place) -> Needs:
    from cg_lab.studies.job_pool import find_needs
    from cg_lab.tracking import TrackingError, list_shown_jobs

    shown: frozenset[str] = frozenset()
    if place.is_mirrored:
        try:
            shown = list_shown_jobs(place.layout, place.tracking_uri, place.layout.list_studies())
        except TrackingError as error:
            raise UserError(
                f"gc: MLflow can't be asked which results its runs show ({error}); nothing was done. tracking=none "
                "leaves it out of account"
            ) from None
    return find_needs(place.layout, shown)


def _tell_pool(use: PoolUse) -> list[str]:
    lines = [
        f"{use.num_jobs:,} jobs: {tell_bytes(use.results_bytes)} results, {tell_bytes(use.weights_bytes)} weights; "
        f"{tell_bytes(use.prepared_bytes)} prepared images",
        f"no plan names    {len(use.unnamed):,} jobs, {tell_bytes(use.unnamed_bytes)}{_list_some(use.unnamed)}",
        f"spare weights    {len(use.spare_weights):,} fine-tunes, {tell_bytes(use.spare_weights_bytes)}: no open "
        "evaluation needs them; gc --weights removes them, and what needs them again trains again",
    ]
    if use.shown:
        lines.append(f"stay             {len(use.shown):,} jobs that runs in MLflow show{_list_some(use.shown)}")
    if use.held:
        lines.append(f"stay             {len(use.held):,} jobs that a process works on{_list_some(use.held)}")
    return lines


def _list_some(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    return ": " + ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")


# bundle, open, merge ------------------------------------------------------------------------------------------------


def bundle(arguments: Arguments) -> int:
    """Write a study's plan, results and report to one folder or archive that opens elsewhere."""
    from cg_lab.studies.bundle import write_bundle
    from cg_lab.studies.study_folder import check_study

    place = read_place(arguments)
    if len(arguments.names) not in {1, 2}:
        raise UserError("bundle STUDY [PATH]: give a study, and where to write it: a folder, .zip, .tar or .tar.gz")
    study = arguments.names[0]
    check_study(place.layout, study)
    path = Path(arguments.names[1] if len(arguments.names) == 2 else f"{study}.zip")
    written = write_bundle(place.layout, study, path, weights=arguments.weights)
    weights = "with" if written.has_weights else "without"
    print(f"written  {path}: {written.num_jobs} jobs {weights} weights, {tell_bytes(written.num_bytes)}")
    print(f"opens elsewhere with: python -m cg_lab open {path} results_dir=PATH")
    return 0


def open_bundle(arguments: Arguments) -> int:
    """Add a bundle to a results folder; what is there already stays."""
    from cg_lab.studies.bundle import open_bundle as open_file

    place = read_place(arguments, may_be_new=True)
    if len(arguments.names) != 1:
        raise UserError("open PATH: give one bundle, a folder or an archive")
    return _tell_merge(open_file(Path(arguments.names[0]), place.layout), place.layout)


def merge(arguments: Arguments) -> int:
    """Add the results and studies of another results folder; what is there already stays."""
    from cg_lab.studies.results_union import merge_results

    place = read_place(arguments, may_be_new=True)
    if len(arguments.names) != 1:
        raise UserError("merge PATH: give one other results folder")
    if not (source := Path(arguments.names[0])).is_dir():
        raise UserError(f"merge: no folder '{source}'")
    from cg_lab.results import Layout

    return _tell_merge(merge_results(Layout(source), place.layout), place.layout)


def _tell_merge(done: MergeReport, layout: Layout) -> int:
    print(f"{layout.root}: {len(done.added_jobs)} jobs added, {done.num_known} were there")
    for name in done.added_studies:
        print(f"study {name} added")
    for name in done.united_studies:
        print(f"study {name} has more in it now: python -m cg_lab report study={name}")
    for part in done.contradictions[:MOST_NAMED]:
        print(f"not the same: {part.name}: {part.difference}; the one that was here stays", file=sys.stderr)
    if len(done.contradictions) > MOST_NAMED:
        print(f"not the same: {len(done.contradictions) - MOST_NAMED} more", file=sys.stderr)
    if done.left_out:
        said = f"left out: {len(done.left_out)} evaluations of such weights{_list_some(done.left_out)}"
        print(said, file=sys.stderr)
    if done.busy:
        print(f"left out: {len(done.busy)} jobs that a process here works on{_list_some(done.busy)}", file=sys.stderr)
    return 1 if done.contradictions or done.left_out or done.busy else 0
