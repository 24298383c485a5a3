"""The records of held-out questions: the word, and the numbers behind it, as the study's last report has them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from cg_lab.planning.plan import Cell, Contrast, Plan
from cg_lab.results import Layout
from cg_lab.serialize import read_rows
from cg_lab.tracking.jobs import JobState, RunStatus
from cg_lab.tracking.record import Record, round_metrics, shorten

MEASURES = (
    "accuracy", "gain_over_zero_shot", "gain_over_unrelated", "gain_over_blind", "synergy", "interaction",
    "recovered_share", "p_holm", "p_composes", "seeds_to_resolve",
)  # fmt: skip
"""Columns of effects.csv that are metrics of a question; intervals go with them."""
ENDS = ("", "_low", "_high")
TOLD = ("verdict", "verdict_reason", "exploratory", "check_mark", "sufficient_source")
"""Columns that are tags."""


def record_questions(
    plan: Plan, layout: Layout, shared: Mapping[str, str], states: Mapping[str, JobState]
) -> list[Record]:
    """Make a record of each held-out question that the last report has a row for.

    Parameters
    ----------
    plan, layout
        The study.
    shared
        Tags that all of its runs have.
    states
        Of its evaluations.

    """
    rows = _read_rows(plan, layout)
    cells: defaultdict[str, list[Cell]] = defaultdict(list)
    for cell in plan.cells:
        cells[cell.contrast].append(cell)
    return [
        _record(contrast, rows[contrast.id], [states[cell.eval_job] for cell in cells[contrast.id]], shared)
        for contrast in plan.contrasts
        if contrast.id in rows
    ]


def count_words(records: list[Record]) -> str:
    """Count the words of a study's questions, for a tag."""
    words = [record.tags["verdict"] for record in records]
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words) if word)


def _read_rows(plan: Plan, layout: Layout) -> dict[str, dict[str, str]]:
    """Read the row of each question's main arm from effects.csv; none if there is no such file yet."""
    path = layout.study(plan.study) / "effects.csv"
    if not path.exists():
        return {}
    return {row["contrast"]: row for row in read_rows(path) if row.get("verdict")}


def _record(contrast: Contrast, row: dict[str, str], states: list[JobState], shared: Mapping[str, str]) -> Record:
    starts = [state.start_ms for state in states if state.start_ms is not None]
    ends = [state.end_ms for state in states if state.end_ms is not None]
    status = _find_status({state.status for state in states})
    alone = [part.split(" ", 1) for part in (row.get("over_each_alone") or "").split(";") if part]
    metrics = {f"{name}{end}": row.get(f"{name}{end}") for name in MEASURES for end in ENDS}
    metrics |= {f"gain_over_alone/{source}": told.split(" ", 1)[0] for source, told in alone}
    return Record(
        key=f"question:{contrast.id}",
        job_id=contrast.id,
        name=shorten(f"{contrast.target}: {row['verdict']}"),
        status=status,
        tags={
            "kind": "question",
            **shared,
            "design": contrast.design,
            "contrast": contrast.id,
            "target": contrast.target,
            "sources": ", ".join(contrast.related[:8]),
            **{name: row.get(name) or "" for name in TOLD},
        },
        params={"design": contrast.design, "target": contrast.target},
        metrics=round_metrics({name: float(value) for name, value in metrics.items() if value}),
        start_ms=min(starts, default=None),
        end_ms=max(ends, default=None) if status in {"FINISHED", "FAILED"} else None,
    )


def _find_status(states: set[RunStatus]) -> RunStatus:
    if states <= {"FINISHED"}:
        return "FINISHED"
    if "RUNNING" in states:
        return "RUNNING"
    return "FAILED" if states <= {"FINISHED", "FAILED"} else "SCHEDULED"
