"""The verbs `export` and `import`: a study's questions for other tools, and what these found."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from cg_lab.cli.studies import read_place
from cg_lab.errors import UserError

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
    num = sum(subset.num_test for test in done.tests for subset in test.catalog.subsets if subset.name == test.target)
    images = "with images" if done.has_images else "without images, which --images copy writes where they may travel"
    print(f"written  {asked.out}: {num:,} test questions {images}, {len(plan.finetunes):,} training mixtures")
    print(f"how it is used: {asked.out / 'README.md'}")
    return 0


def import_answers(arguments: Arguments) -> int:
    """Take answers that other tools got into a study."""
    raise NotImplementedError
