"""How `studies` shows what lies in a results folder, on any terminal."""

from __future__ import annotations

import shutil
import sys
from textwrap import fill
from typing import TYPE_CHECKING

from cg_lab.byte_counts import tell_bytes
from cg_lab.cli.json_output import print_json

if TYPE_CHECKING:
    from cg_lab.results import Layout
    from cg_lab.studies.overview import StudyDetails, StudyOverview


def list_studies(layout: Layout, *, as_json: bool) -> int:
    """Print how all studies stand: a table where it fits, else some lines for each."""
    from cg_lab.studies.overview import StudyList, read_overviews

    overviews = read_overviews(layout)
    if as_json:
        print_json(StudyList(studies=overviews))
        return 0
    head = ("study", "state", "question", "verdicts", "jobs", "changed")
    rows = [head, *map(_tell_overview, overviews)]  # rich would take longer for a thousand rows than all else
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = _find_room()
    if sum(widths) + 2 * (len(widths) - 1) <= room:
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return 0
    for study, state, question, verdicts, jobs, changed in rows[1:]:
        print(study)
        for told in (f"{state}, {jobs} jobs, changed {changed}", question, verdicts):
            if told != "-":
                print(fill(told, room, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))
    return 0


def _find_room() -> int:
    """Count the columns of the terminal; where there is none, lines have no end."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def _tell_overview(part: StudyOverview) -> tuple[str, ...]:
    jobs = f"{part.num_done}/{part.num_jobs}" + (f", {part.num_failed} failed" if part.num_failed else "")
    verdicts = ", ".join(f"{count} {word}" for word, count in part.verdicts.items()) or "-"
    return part.study, part.state, part.question, verdicts, jobs, part.changed[:16].replace("T", " ")


def show_study(layout: Layout, study: str, *, as_json: bool) -> int:
    """Print how one study stands."""
    from cg_lab.studies.overview import read_details
    from cg_lab.studies.plan_outline import list_named
    from cg_lab.studies.study_folder import check_study

    check_study(layout, study)
    details = read_details(layout, study, list_named(layout))
    if as_json:
        print_json(details)
    else:
        print("\n".join(_tell_details(details, layout)))
    return 0


def _tell_details(details: StudyDetails, layout: Layout) -> list[str]:
    part = details.overview
    _, state, _, verdicts, jobs, changed = _tell_overview(part)
    shared = ", ".join(f"{count} with {study}" for study, count in details.shared.items())
    facts = {
        "state": state,
        "question": f"{part.num_questions} held-out questions under {', '.join(details.designs)}",
        "targets": ", ".join(details.targets),
        "verdicts": verdicts,
        "jobs": jobs + (f"; shared: {shared}" if shared else ""),
        "size": f"{tell_bytes(details.results_bytes)} results, {tell_bytes(details.weights_bytes)} weights",
        "plan": details.plan + (f", registered {details.registered[:19]}" if details.registered else ""),
        "replaced": ", ".join(details.replaced),
        "draft": "planned beside it, see draft.json" if details.has_draft else "",
        "changed": changed,
        "folder": str(layout.study(part.study)),
    }
    return [part.study, *(f"  {name:<9} {told}" for name, told in facts.items() if told)]
