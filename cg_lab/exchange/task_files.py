"""Python files that an exported task runs by itself, without cg_lab: its reading of answers and of images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cg_lab import answer_parser
from cg_lab.exchange.exported_study import ExportedStudy
from cg_lab.questions import LETTERS, AnswerForm
from cg_lab.version import __version__

MOST_TOKENS = 64
"""Of an answer, as cg_lab has a model write."""
TEMPLATES = Path(__file__).parent / "templates"
NEEDS = "from cg_lab.questions import LETTERS, AnswerForm\n"
STANDS_FOR = f'''\
from enum import StrEnum

LETTERS = "{LETTERS}"


class AnswerForm(StrEnum):
    """What a model is asked to answer with."""

{{forms}}
'''
"""In place of what answer_parser.py imports."""


def name_task(study: ExportedStudy) -> str:
    """Name a task after its study, as a name of Python's."""
    return "cg_lab_" + re.sub(r"\W", "_", study.name)


def write_task_files(study: ExportedStudy, folder: Path, template: str, name: str) -> None:
    """Write a task's own file, and beside it what it reads answers and images with."""
    words = {
        "STUDY_NAME": study.name,
        "STUDY_TASK": name_task(study),
        "FORM_NAME": study.form.name,
        "MOST_TOKENS": str(MOST_TOKENS),
        "IMAGES_TRAVEL": str(study.has_images),
    }
    (folder / name).write_text(_fill(template, words), encoding="utf-8")
    (folder / "local_images.py").write_text(_fill("local_images.py.txt", {}), encoding="utf-8")
    (folder / "answer_parser.py").write_text(_free_parser(), encoding="utf-8")


def _fill(template: str, words: Mapping[str, str]) -> str:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _free_parser() -> str:
    """Give the parser of answers as a file that needs nothing of cg_lab."""
    source = Path(answer_parser.__file__).read_text(encoding="utf-8")
    assert source.count("cg_lab") == NEEDS.count("cg_lab") == 1
    forms = "\n".join(f'    {form.name} = "{form}"' for form in AnswerForm)
    return f"# Of cg_lab {__version__}, Apache License 2.0.\n" + source.replace(NEEDS, STANDS_FOR.format(forms=forms))
