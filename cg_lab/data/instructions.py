"""How questions are worded: six instructions for each subset, by its task."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from cg_lab.errors import UserError
from cg_lab.mat import Kind, Subset

FILE = Path(__file__).parent / "med_mat" / "instructions.csv"
"""Of the tasks of Med-MAT and MedMNIST; `{modality}` and `{area}` stand for those of the subset."""
ANY_TASK = (
    "What does this {modality} image show?",
    "Which finding fits this image of the {area}?",
    "What is seen in this {area} image?",
    "Name what this {modality} of the {area} shows.",
    "Which answer describes this image?",
    "Classify this image of the {area}.",
)
WHERE = (
    "Where in this {modality} image is {label}? Answer with bounding boxes.",
    "Find {label} in this image of the {area} and give its bounding boxes.",
    "Give the bounding boxes of {label} in this {area} image.",
    "Locate {label} in this {modality} of the {area} with bounding boxes.",
    "Which bounding boxes hold {label}?",
    "Mark {label} in this image with bounding boxes.",
)
"""Of subsets that ask for boxes; `{label}` stays for the sample's own."""
WORDS = {
    "Co": "colposcopy",
    "Der": "dermoscopy",
    "DP": "photographic",
    "End": "endoscopy",
    "FP": "fundus",
    "Mic": "microscopy",
    "US": "ultrasound",
    "OCT": "OCT",
}
"""Modalities of Med-MAT written out."""


def word_question(subset: Subset, factors: tuple[str, ...], own: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Give the wordings of a subset's question; `{label}` stays in those that ask for boxes.

    Parameters
    ----------
    subset, factors
        Whose elements are put in.
    own
        The user's wordings, by name of subset or by task; they take the place of ours.

    Raises
    ------
    UserError
        If one of the user's has a field that there is not, or none for the label where boxes are asked for.

    """
    named = dict(zip(factors, subset.own, strict=True))
    modality, area, task = (named.get(name, "") for name in ("modality", "area", "task"))
    is_located = subset.kind is Kind.DETECTION
    texts = own.get(subset.name) or own.get(task)
    if texts is None:
        texts = WHERE if is_located else _read_ours().get(task.casefold(), ANY_TASK)
    fields = {
        **named,
        "modality": WORDS.get(modality, modality) or "medical",
        "area": area.lower() or "body",
        "label": "{label}",
    }
    worded: list[str] = []
    for text in texts:
        try:
            worded.append(text.format(**fields))
        except (KeyError, IndexError, ValueError, AttributeError):
            raise UserError(
                f"data.instructions: '{text}' can't be filled in; fields are {{{'}, {'.join(fields)}}}, and a brace of "
                "one's own is written twice"
            ) from None
        if is_located and "{label}" not in worded[-1]:
            raise UserError(f"data.instructions: '{text}' asks for boxes of subset '{subset.name}' without {{label}}")
    return tuple(worded)


@cache
def _read_ours() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["task"]].append(row["instruction"])
    return {task: tuple(texts) for task, texts in found.items()}
