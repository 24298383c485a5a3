"""The folder of one study: taken away, or moved under another name, while nobody works on it."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

from cg_lab.errors import UserError, suggest
from cg_lab.execution.local import list_workers
from cg_lab.execution.packs import find_order, read_submissions
from cg_lab.execution.slurm import SlurmCluster
from cg_lab.locks import find_holder
from cg_lab.registration import REGISTERED, read_registered
from cg_lab.results import Layout, read_plan
from cg_lab.serialize import read_json, write_json, write_lines
from cg_lab.study import MAX_STUDY_NAME, STUDY_NAME, SlurmSettings


def check_study(layout: Layout, study: str) -> None:
    """Make sure that there is such a study.

    Raises
    ------
    UserError
        If not, with those that there are.

    """
    known = layout.list_studies()
    if study not in known:
        raise UserError(f"study: no study '{study}' in {layout.root}; {suggest(study, known)}")


def check_idle(layout: Layout, study: str) -> None:
    """Make sure that no driver, worker or task in a queue is at a study.

    Raises
    ------
    UserError
        If one is, or if the queue can't be asked.

    """
    way_out = f"end it first: python -m cg_lab cancel study={study}"
    holders = [find_holder(layout.driver_lock(study)), *list_workers(layout.packs(study))]
    if holder := next((holder for holder in holders if holder is not None), None):
        raise UserError(f"study: {holder} works on '{study}'; {way_out}")
    order = find_order(layout, study)
    sent = [part for part in read_submissions(layout, study) if not part.is_over]
    if order and sent and isinstance(order.cluster, SlurmSettings):
        look = SlurmCluster(order.cluster, layout, study).look(sent)
        if look is None:
            raise UserError(f"study: the queue does not say whether tasks of '{study}' are in it; try again later")
        if look.tasks:
            raise UserError(f"study: {len(look.tasks)} tasks of '{study}' are in the queue; {way_out}")


def remove_study(layout: Layout, study: str) -> Path | None:
    """Remove a study's folder; its results stay in the pool, and its plan and registration in `removed/`.

    They count on: questions that were picked in sight of a study's results are judged in its family.

    Returns
    -------
    Where plan and registration lie now; None if nothing was registered.

    """
    folder, kept = layout.study(study), None
    if (folder / REGISTERED).exists() and layout.plan(study).exists():
        kept = layout.removed / f"{study}.{read_plan(layout.plan(study)).id}"
        kept.mkdir(parents=True, exist_ok=True)
        for path in (layout.plan(study), folder / REGISTERED):
            shutil.copy2(path, kept / path.name)
    aside = folder.with_name(f".{study}.removed")
    shutil.rmtree(aside, ignore_errors=True)  # that an earlier removal could not finish
    folder.rename(aside)
    shutil.rmtree(aside)
    return kept


def rename_study(layout: Layout, before: str, after: str) -> None:
    """Move a study under another name: plans, order and submissions say it too; a kill leaves the old one as it was.

    Raises
    ------
    UserError
        If the name is taken, or can't be one.

    """
    if not re.fullmatch(STUDY_NAME, after) or len(after) > MAX_STUDY_NAME:
        raise UserError(
            f"studies rename: '{after}' is no name; letters, digits, '.', '_' and '-', at most {MAX_STUDY_NAME}"
        )
    if layout.study(after).exists():
        raise UserError(f"studies rename: there is a study '{after}' in {layout.root} already")
    beside = layout.study(f".{after}.new")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(layout.study(before), beside)
    for name in (".synced.json", ".reported.json"):
        (beside / name).unlink(missing_ok=True)
    for path in [*beside.glob("plan*.json"), *beside.glob("draft.json"), *beside.glob("packs/plan.json")]:
        plan = read_plan(path)
        renamed = replace(plan, study=after)
        write_lines(path, renamed.write_lines())
        known = read_registered(beside)
        if known is not None and known.plan == plan.id:
            write_json(beside / REGISTERED, replace(known, plan=renamed.id))
    for path in [*beside.glob("packs/order.json"), *beside.glob("packs/[0-9][0-9][0-9][0-9][0-9].json")]:
        write_json(path, read_json(path) | {"study": after})
    beside.rename(layout.study(after))
    aside = layout.study(f".{before}.removed")
    layout.study(before).rename(aside)
    shutil.rmtree(aside)
