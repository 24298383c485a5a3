"""The verbs `export` and `import`: a study's questions for other tools, and what these found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cg_lab.cli.studies import read_place
from cg_lab.errors import UserError
from cg_lab.percentages import percent

if TYPE_CHECKING:
    from cg_lab.cli.arguments import Arguments
    from cg_lab.exchange.exported_study import Images

MOST_NAMED = 10
"""Evaluations that are listed."""


def export_study(arguments: Arguments) -> int:
    """Write a study's test questions, training mixtures and proofs in the form of another tool."""
    from cg_lab.exchange.export import ExportChoice, write_export
    from cg_lab.exchange.formats import load_format
    from cg_lab.questions import AnswerForm
    from cg_lab.results import read_plan
    from cg_lab.studies.study_folder import check_study

    asked = arguments.export
    if len(arguments.names) != 1:
        raise UserError("export STUDY --to FORMAT --out FOLDER: give one study")
    study, tool = arguments.names[0], load_format(asked.to)
    layout = read_place(arguments).layout
    check_study(layout, study)
    choice = ExportChoice(images=cast("Images", asked.images), form=AnswerForm(asked.answer) if asked.answer else None)
    plan = read_plan(layout.plan(study))
    done = write_export(layout, plan, tool, asked.out, choice)
    num = sum(test.num_questions for test in done.tests if tool.TAKES_BOXES or not test.asks_boxes)
    images = "with images" if done.has_images else "without images, which --images copy writes where they may travel"
    print(f"written  {asked.out}: {num:,} test questions {images}, {len(plan.finetunes):,} training mixtures")
    print(f"how it is used: {asked.out / 'README.md'}")
    return 0


def import_answers(arguments: Arguments) -> int:
    """Take answers that other tools got into a study."""
    from cg_lab.exchange.answer_files import Whose, read_answer_file
    from cg_lab.exchange.imported_answers import import_files
    from cg_lab.results import read_plan
    from cg_lab.studies.study_folder import check_study

    told = arguments.imported
    if not arguments.names:
        raise UserError("import FILE ... --study STUDY: give one file of answers or more")
    layout = read_place(arguments).layout
    check_study(layout, told.study)
    for name in arguments.names:
        if Path(name).is_dir():
            raise UserError(f"import: '{name}' is a folder; give its files: {name}/*.eval, .jsonl or .csv")
    files = [read_answer_file(Path(name)) for name in arguments.names]
    whose = Whose(arm=told.arm, variant=told.variant, seed=told.seed, held_out=told.held_out)
    done = import_files(layout, read_plan(layout.plan(told.study)), files, whose)
    for cell, result in list(zip(done.cells, done.written, strict=True))[:MOST_NAMED]:
        unread = result.metrics.get("parse_failures", 0.0)
        told_right = f"{percent(result.accuracy, 1)} right, {percent(unread, 1)} name no option"
        print(f"imported  {cell}: {result.num_questions:,} answers, {told_right}")
    if len(done.written) > MOST_NAMED:
        print(f"imported  {len(done.written) - MOST_NAMED} evaluations more")
    if done.known:
        print(f"{len(done.known)} evaluations had the same answers already")
    for part in done.incomplete:
        print(
            f"not imported: {part.cell}: {part.num_missing:,} of {part.num_questions:,} questions have no answer, such "
            f"as {', '.join(part.examples)}",
            file=sys.stderr,
        )
    if done.written:
        print(f"into its report with: python -m cg_lab report study={told.study}")
    return 1 if done.incomplete else 0
