"""A study as one folder or archive that opens elsewhere: a results folder with this study alone."""

from __future__ import annotations

import re
import shutil
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from cg_lab.data.archives import unpack
from cg_lab.errors import UserError
from cg_lab.passwords import hide_passwords
from cg_lab.registration import REGISTERED, read_registration
from cg_lab.reporting.answer_pages import FOLDER as ANSWERS_FOLDER
from cg_lab.reporting.registered_family import find_earlier
from cg_lab.reporting.write import write_report
from cg_lab.results import Layout, open_results, read_plan, write_plan
from cg_lab.serialize import replacing, write_json, write_text
from cg_lab.studies.disk_use import measure_folder
from cg_lab.studies.results_union import (
    PASSED_ON,
    MergeReport,
    copy_file,
    copy_folder,
    list_study_files,
    merge_results,
)

SHOWS_IMAGES = "report.html"
"""And so do the pages of answers beside it."""
TOLD = frozenset({"config.yaml", "provenance.json", "journal.jsonl", "failure.json"})
"""Files with words of the user's, or of libraries, in which a password may stand."""
MOST_WEIGHTS_BYTES = 200_000_000_000
"""Of one file of weights in an archive."""
WANTED = re.compile(
    r"schema\.json"
    r"|(?:studies|removed)/[A-Za-z0-9][A-Za-z0-9._-]*/(?:figures/)?[A-Za-z0-9_]+\.(?:json|yaml|csv|md|html|svg)"
    r"|studies/[A-Za-z0-9][A-Za-z0-9._-]*/answers/(?:index\.html|[a-z0-9-]+\.js)"
    r"|jobs/[0-9a-f]{16}/(?:(?:result|failure)\.json|journal\.jsonl|predictions\.parquet)"
    r"|jobs/[0-9a-f]{16}/model/[A-Za-z0-9_-][A-Za-z0-9._-]*\.(?:safetensors|json|txt|jinja|model|md)"
)
"""What is read of an archive: nothing that is run when it is opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What was written."""

    path: Path
    num_jobs: int
    num_bytes: int
    has_weights: bool


def write_bundle(layout: Layout, study: str, path: Path, *, weights: bool = False) -> Bundle:
    """Write a study's plan, results, answers and report to a new folder or archive.

    The report in it shows no images; logs, images and how the study was run stay where they are. Where the study is
    judged in the family of an earlier one, that one's plan and answers come too, so that verdicts stay the same.

    Parameters
    ----------
    layout, study
        Which study.
    path
        Ends in `.zip`, `.tar` or `.tar.gz` for an archive; any other is a folder.
    weights
        Whether fine-tuned weights come too.

    Raises
    ------
    UserError
        If the path is taken, or the study has no readable plan.

    """
    if path.exists():
        raise UserError(f"bundle: '{path}' is there already; give another path, or remove it")
    beside = path.with_name(f".{path.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        inside = open_results(beside)
        jobs = _fill(layout, study, inside, weights=weights)
        size = measure_folder(beside)
        _pack(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    num_bytes = path.stat().st_size if path.is_file() else size.results + size.weights
    return Bundle(path=path, num_jobs=jobs, num_bytes=num_bytes, has_weights=weights)


def _fill(layout: Layout, study: str, inside: Layout, *, weights: bool) -> int:
    plan, registration = read_plan(layout.plan(study)), read_registration(layout, study)
    for file in list_study_files(layout, study):
        if file.name != SHOWS_IMAGES and file.parent.name != ANSWERS_FOLDER:
            _copy_text(file, inside.study(study) / file.relative_to(layout.study(study)))
    earlier = find_earlier(layout, plan, registration) if registration else None
    names = {job.id for job in (*plan.finetunes, *plan.evals)}
    if earlier is not None:
        before, known = earlier
        names |= {job.id for job in before.evals}
        folder = inside.removed / f"{before.study}.{before.id}"
        write_plan(inside, before)
        inside.study(before.study).rename(_make_parent(folder))
        write_json(folder / REGISTERED, known)
    ended = sorted(name for name in names if layout.result(name).exists() or layout.failure(name).exists())
    for job_id in ended:
        for name in PASSED_ON:
            if (path := layout.job(job_id) / name).exists():
                _copy_text(path, inside.job(job_id) / name)
        if weights and layout.weights(job_id).is_dir():
            copy_folder(layout.weights(job_id), inside.weights(job_id))
    if (layout.study(study) / SHOWS_IMAGES).exists():
        _write_report(layout, study, inside)
    return len(ended)


def _make_parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _copy_text(source: Path, target: Path) -> None:
    if source.name in TOLD:
        write_text(target, hide_passwords(source.read_text(encoding="utf-8", errors="replace")))
    else:
        copy_file(source, target)


def _write_report(layout: Layout, study: str, inside: Layout) -> None:
    """Write the report anew without images; where results are gone, the tables that are there have to do."""
    try:
        write_report(layout, study, images=False, folder=inside.study(study))
    except UserError:
        if not (layout.study(study) / "cells.csv").exists():
            raise


def _pack(folder: Path, path: Path) -> None:
    """Make a folder an archive, by the ending of its path, or move it there."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if path.suffix == ".zip":
        with replacing(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.relative_to(folder))
    elif path.suffix in {".tar", ".gz", ".tgz"}:
        with replacing(path) as beside, tarfile.open(beside, "w" if path.suffix == ".tar" else "w:gz") as archive:
            for file in files:
                archive.add(file, str(file.relative_to(folder)), filter=_forget_owner)
    else:
        folder.rename(path)


def _forget_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    return member.replace(uid=0, gid=0, uname="", gname="", deep=False)


def open_bundle(path: Path, layout: Layout) -> MergeReport:
    """Add a bundle, a folder or an archive, to a results folder by union.

    Raises
    ------
    UserError
        If there is none, it is damaged, or holds more than is read.

    """
    if path.is_dir():
        return merge_results(Layout(path), layout)
    if not path.exists():
        raise UserError(f"open: no file or folder '{path}'")
    open_results(layout.root)
    folder = layout.root / ".opened"
    try:
        inside = unpack(
            path, folder, lambda name: WANTED.fullmatch(name) is not None, most_bytes=MOST_WEIGHTS_BYTES, key="open"
        )
        return merge_results(Layout(inside), layout)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
