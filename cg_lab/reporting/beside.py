"""Published numbers beside ours, where a study asks what Med-MAT's tables print (arXiv 2412.20070)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cg_lab.analysis.effects import ContrastEffect, StudyEffects
from cg_lab.arms import Arm
from cg_lab.reporting.names import name_arm, name_questions
from cg_lab.reporting.words import shares
from cg_lab.serialize import read_rows

NUMBERS = Path(__file__).parent / "med_mat_published.csv"
"""By names of the Med-MAT catalogue, whose numbers tell which of the paper's subsets each is."""
ALL_RELATED = "all related"
"""In place of sources, in the paper's figure 4."""
Row = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One published number and ours, in words."""

    table: str
    model: str
    """That the paper trained."""
    question: str
    arm: str
    published: str
    ours: str


def list_beside(effects: StudyEffects) -> list[Beside]:
    """List every published number of the study's held-out questions, in the order of the study."""
    names = name_questions(effects.plan)
    found: list[Beside] = []
    for contrast in effects.contrasts:
        for row in _read_published().get(contrast.target.name, ()):
            if not _is_same(contrast, row):
                continue
            arm = Arm(row["arm"]), row["variant"]
            effect = next((part for part in contrast.arms if (part.arm, part.variant) == arm), None)
            found.append(
                Beside(
                    table=row["table"],
                    model=row["model"],
                    question=names[contrast.contrast.id],
                    arm=name_arm(*arm),
                    published=f"{float(row['percent']):g} %",
                    ours=shares(effect.accuracy) if effect and effect.accuracy else "-",
                )
            )
    return found


def _is_same(contrast: ContrastEffect, row: Row) -> bool:
    """Tell whether a number is about the very training that a held-out question is about."""
    main = contrast.main
    if main is not None and main.arm is Arm.MULTI_TASK:
        return not row["sources"]
    if row["sources"] == ALL_RELATED:
        return contrast.contrast.design == "disrupt"
    return bool(row["sources"]) and set(row["sources"].split(";")) == set(contrast.contrast.related)


@cache
def _read_published() -> dict[str, tuple[Row, ...]]:
    by_target: dict[str, tuple[Row, ...]] = {}
    for row in read_rows(NUMBERS):
        by_target[row["target"]] = (*by_target.get(row["target"], ()), row)
    return by_target
