"""The README of an exported study: what was held out, who saw what, and how the files are read."""

from __future__ import annotations

from collections.abc import Iterator

from cg_lab.exchange.exported_study import ExportedStudy
from cg_lab.questions import AnswerForm
from cg_lab.version import __version__

MOST_ROWS = 60
"""Cells that the page tells of; arms.parquet has all."""
HEAD = """\
---
configs:
- config_name: questions
  default: true
  data_files:
  - split: test
    path: questions.parquet
- config_name: arms
  data_files: arms.parquet
- config_name: mixtures
  data_files: mixtures.parquet
- config_name: proofs
  data_files: proofs.parquet
- config_name: coverage
  data_files: coverage.parquet
- config_name: samples
  data_files: samples.parquet
---
"""
"""Tells `datasets` which table is which."""
FORMS = {
    AnswerForm.LETTER: "the option's letter",
    AnswerForm.TEXT: "the option's own text; a letter is understood too",
}


def write_readme(study: ExportedStudy, told: str, *, has_table: bool) -> str:
    """Write README.md; `told` is what the format says of its files, `has_table` whether they have questions.parquet."""
    plan = study.plan
    num = {"held-out questions": len(plan.contrasts), "cells": len(plan.cells), "mixtures": len(plan.finetunes)}
    parts = [
        f"# {study.name}",
        f"A study of compositional generalization, planned by cg_lab {__version__} as plan {plan.id}: "
        + ", ".join(f"{count:,} {name}" for name, count in num.items())
        + ".",
        f"Each test question is asked with {FORMS[study.form]}.",
        _tell_images(study),
        told.strip(),
        "## What each arm trains on",
        "`arms.parquet` has a row for each cell, which is one number of the study: its held-out question, arm, seed, the "
        "test that it is asked, `image` (`blank` shows an even gray image of the same size) and `shots` (examples of each label in the prompt), and "
        "its `mixture` and `proof`. `mixtures.parquet` has, for each mixture and subset, the ids of the samples and the label that each is trained "
        "with (`labels` is `shuffled` where they were dealt out anew), and the seed that drew them; `samples.parquet` has the question about each, as long as its label is its own and its finding is what is asked for. `proofs.parquet` says what a "
        "model was shown of its target, above all `target_absent`, and `coverage.parquet` which training subsets show which of its elements.",
        "\n".join(_list_cells(study)),
        "Answers come back into analysis and report with `python -m cg_lab import`, by `id`.",
    ]
    return (HEAD if has_table else "") + "\n\n".join(part for part in parts if part) + "\n"


def _tell_images(study: ExportedStudy) -> str:
    if study.has_images:
        return "Images are PNG files of the pixels that cg_lab reads; nothing else of their files is in them."
    return (
        "Images are not here. `sha256` is that of the file, or of the part of it, that an image is decoded from, by which holders of the same data "
        "find it; `export --images copy` writes them where they may travel."
    )


def _list_cells(study: ExportedStudy) -> Iterator[str]:
    yield "| held-out question | arm | seed | samples | target absent | its elements shown by other subsets |"
    yield "|---|---|---|---|---|---|"
    for cell in study.plan.cells[:MOST_ROWS]:
        arm = f"{cell.arm} {cell.variant}".strip()
        seed = "" if cell.seed is None else cell.seed
        absent = "yes" if cell.proof.target_absent else "no, by intent"
        shown = sum(bool(part.subsets) for part in cell.proof.coverage)
        yield (
            f"| {cell.contrast} | {arm} | {seed} | {cell.proof.num_train:,} | {absent} | "
            f"{shown} of {len(cell.proof.coverage)} |"
        )
    if len(study.plan.cells) > MOST_ROWS:
        yield f"\n{MOST_ROWS} of {len(study.plan.cells):,} cells; arms.parquet has all."
