"""`write_export`: a study's questions, mixtures and proofs in one new folder, whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from cg_lab.errors import UserError
from cg_lab.exchange.exported_study import ExportedStudy, Images
from cg_lab.exchange.formats import Format, hf
from cg_lab.exchange.readme import write_readme
from cg_lab.exchange.study_tables import write_tables
from cg_lab.exchange.study_tests import Sources, list_tests
from cg_lab.planning.plan import Plan
from cg_lab.questions import AnswerForm
from cg_lab.results import Layout
from cg_lab.serialize import write_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportChoice:
    """What an export is like."""

    images: Images
    form: AnswerForm | None
    """What models are asked to answer with; None for what the study's own model is asked."""


def write_export(layout: Layout, plan: Plan, tool: Format, folder: Path, choice: ExportChoice) -> ExportedStudy:
    """Write a study for another tool.

    Raises
    ------
    UserError
        If the folder is there already, images can't be read, or the tool takes no question of the study.

    """
    if folder.exists():
        raise UserError(f"--out: '{folder}' is there already; give another folder, or remove it")
    tests = list_tests(plan)
    if not tool.TAKES_BOXES and all(test.asks_boxes for test in tests):
        raise UserError("--to: all questions of the study are answered by boxes, which only hf and croissant take")
    study = ExportedStudy(
        plan=plan,
        tests=tests,
        sources=Sources(layout.data),
        form=choice.form or plan.backbones[0].answer,
        images=choice.images,
    )
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        write_tables(study, beside)
        told = tool.write(study, beside)
        write_text(beside / "README.md", write_readme(study, told, has_table=(beside / hf.FILE).exists()))
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return study
