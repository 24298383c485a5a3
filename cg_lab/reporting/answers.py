"""How answers were read: what evaluations found beside accuracy, as one table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import fmean

from cg_lab.planning.plan import Plan
from cg_lab.reporting.names import name_arm, name_questions

MEANINGS = {
    "chance_corrected_accuracy": (
        "chance-corrected",
        "accuracy on a scale from 0 for a guess to 100 % for a perfect score, question by question, so that unequal "
        "numbers of options compare",
    ),
    "circular_accuracy": ("in every order", "questions answered right in every cyclic order of their options"),
    "letter_recall_spread": (
        "recall spread",
        "standard deviation of recall over the places of the right option; large where a model likes a letter",
    ),
    "calibration_error": (
        "calibration error",
        "expected calibration error: how far the likelihood of the chosen option is from the share answered right",
    ),
    "brier_score": (
        "Brier score",
        "squared distance of the options' likelihoods from the truth, summed over options: 0 is best, 200 % worst",
    ),
    "written_accuracy": ("as written", "accuracy of what the model wrote, with what can't be parsed as wrong"),
    "agreement": ("agreement", "questions for which the option written is the likeliest one"),
    "scored_share": (
        "by log-probability",
        "questions that count by the log-probabilities that a server gave to letters, the others as written",
    ),
    "parse_failures": ("not parsed", "answers in which no option, or no box, could be found"),
    "ciou": ("cIoU", "all intersections of found and true boxes over all unions"),
    "map50": ("mAP 0.5", "average precision of boxes at an intersection over union of 0.5, averaged over labels"),
}
"""By metric: the column's head and what it means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """An arm of a held-out question."""

    question: str
    arm: str
    is_first: bool
    """Of its question."""
    values: tuple[float | None, ...]
    """Means over seeds, in the table's columns; None where an evaluation has no such metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTable:
    """What evaluations found beside accuracy."""

    heads: tuple[str, ...]
    meanings: tuple[tuple[str, str], ...]
    """Head and meaning of each column."""
    rows: tuple[AnswerRow, ...]


def list_answers(plan: Plan, metrics: Mapping[str, Mapping[str, float]], shown: Collection[str]) -> AnswerTable | None:
    """Make the table.

    Parameters
    ----------
    plan
        Decides rows and their order.
    metrics
        By id of the evaluation.
    shown
        Ids of the held-out questions that the table has.

    Returns
    -------
    None if no evaluation has a metric that the table knows, as of results that older versions wrote.

    """
    columns = [name for name in MEANINGS if any(name in found for found in metrics.values())]
    if not columns:
        return None
    jobs: dict[tuple[str, str], list[str]] = {}
    for cell in plan.cells:
        if cell.contrast in shown and cell.arm.traits.asks_target and cell.eval_job in metrics:
            jobs.setdefault((cell.contrast, name_arm(cell.arm, cell.variant)), []).append(cell.eval_job)
    names = name_questions(plan)
    rows: list[AnswerRow] = []
    before = ""
    for (contrast, arm), found in jobs.items():
        values = [[metrics[job][name] for job in found if name in metrics[job]] for name in columns]
        means = tuple(fmean(value) if value else None for value in values)
        rows.append(AnswerRow(question=names[contrast], arm=arm, is_first=contrast != before, values=means))
        before = contrast
    return AnswerTable(
        heads=tuple(MEANINGS[name][0] for name in columns),
        meanings=tuple(MEANINGS[name] for name in columns),
        rows=tuple(rows),
    )
