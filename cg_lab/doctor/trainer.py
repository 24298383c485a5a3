"""Whether the command of a trainer that is not cg_lab's can be run here."""

from __future__ import annotations

import shlex
from dataclasses import replace

from cg_lab.doctor.check_result import CheckResult, Status
from cg_lab.errors import UserError
from cg_lab.study import Study
from cg_lab.training.command_process import find_path, find_program
from cg_lab.training.trainer_identity import identify_trainer

UNKNOWN_MEMORY = CheckResult(name="memory", found="what the trainer's command takes is its own affair")


def check_trainer(study: Study) -> tuple[Study, CheckResult | None]:
    """Give a study that says which trainer it means, and what was found; None where cg_lab trains itself."""
    try:
        recipe = identify_trainer(study.finetune)
        if recipe.command is None:
            return study, None
        program = find_program(shlex.split(recipe.command), find_path())
    except UserError as error:
        way_out = "docs/own_trainer.md says what belongs to a trainer's command"
        return study, CheckResult(name="trainer", status=Status.FAULT, found=str(error), way_out=way_out)
    found = f"{recipe.version}, by {program}; {recipe.files}"
    return replace(study, finetune=recipe), CheckResult(name="trainer", found=found)
