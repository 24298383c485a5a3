"""Tables of a study in other formats, and two studies side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import pandas as pd

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.effects import ContrastEffect, StudyEffects
from cg_lab.arms import Arm
from cg_lab.planning.plan import Plan
from cg_lab.reporting.figures import to_pdf
from cg_lab.reporting.frames import StudyView, open_study
from cg_lab.reporting.names import name_questions
from cg_lab.reporting.tables import guard
from cg_lab.reporting.words import points, signed
from cg_lab.results import Layout
from cg_lab.serialize import replacing, write_text

Format = Literal["md", "latex", "csv", "parquet"]
FORMATS: tuple[str, ...] = get_args(Format)


def write_tables(layout: Layout, study: str, form: Format) -> list[Path]:
    """Write a study's tables in a format, and its figures as PDF.

    Parameters
    ----------
    layout, study
        Which study.
    form
        `md` and `latex` give one table to print, a row for each held-out question; `csv` and `parquet` all numbers.

    Returns
    -------
    The files, in `tables/` and `figures/` of the study's folder.

    Raises
    ------
    UserError
        If there is no such study.

    """
    folder = layout.study(study)
    view = open_study(folder)
    written: list[Path] = []
    if form in {"md", "latex"}:
        path = folder / "tables" / f"results.{'tex' if form == 'latex' else form}"
        table = tabulate(view.computed)
        write_text(path, to_markdown(table) if form == "md" else table.to_latex(index=False, escape=True))
        written.append(path)
    else:
        for name, frame in list_frames(view).items():
            path = folder / "tables" / f"{name}.{form}"
            with replacing(path) as beside:
                if form == "csv":
                    frame.map(lambda cell: guard(cell) if isinstance(cell, str) else cell).to_csv(beside, index=False)
                else:
                    frame.to_parquet(beside, index=False)
            written.append(path)
    for name, figure in view.figures.items():
        path = folder / "figures" / f"{name}.pdf"
        with replacing(path) as beside:
            beside.write_bytes(to_pdf(figure))
        written.append(path)
    return written


def list_frames(view: StudyView) -> dict[str, pd.DataFrame]:
    """Give all tables of a study that have rows, by name."""
    frames = {
        "effects": view.effects, "cells": view.cells, "summary": view.summary, "curves": view.curves,
        "transfer": view.transfers, "reliability": view.reliability, "splits": view.splits,
    }  # fmt: skip
    return {name: frame for name, frame in frames.items() if len(frame)}


def tabulate(effects: StudyEffects) -> pd.DataFrame:
    """Make the table that a paper prints: a row for each held-out question."""
    names = name_questions(effects.plan)
    arms = [arm for arm in effects.arms if arm.traits.is_tabulated]
    return pd.DataFrame([_tabulate_one(part, names[part.contrast.id], arms) for part in effects.contrasts])


def _tabulate_one(part: ContrastEffect, name: str, arms: Sequence[Arm]) -> dict[str, str]:
    found = {effect.arm: effect.accuracy for effect in part.arms if not effect.variant}
    row = {"held out": name, "trained on": " + ".join(part.contrast.related)}
    for arm in arms:
        accuracy = found.get(arm)
        row[arm.traits.words] = _write_accuracy(accuracy) if accuracy else "-"
    gain = part.main.gains.get(Arm.UNRELATED) if part.main else None
    row["gain over unrelated"] = signed(gain) if gain else "-"
    return {**row, "verdict": part.word}


def _write_accuracy(accuracy: Interval) -> str:
    """Write an accuracy with its interval, in percent."""
    estimate, low, high = (number * 100 for number in (accuracy.estimate, accuracy.low, accuracy.high))
    return f"{estimate:.1f} [{low:.1f}, {high:.1f}]"


def to_markdown(table: pd.DataFrame) -> str:
    """Write a table of texts as Markdown."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    head = [str(name) for name in table.columns]
    body = [line([str(cell) for cell in row]) for row in table.itertuples(index=False)]
    return "\n".join([line(head), line(["---"] * len(head)), *body]) + "\n"


def compare_studies(layout: Layout, first: str, second: str) -> pd.DataFrame:
    """Put the held-out questions of two studies side by side.

    Questions are the same if their target, direction, level and sources are. The interval of the difference takes the
    studies for independent.

    Parameters
    ----------
    layout
        Where both lie.
    first, second
        Their names.

    Raises
    ------
    UserError
        If one of them is not there.

    """
    views = [open_study(layout.study(name)) for name in (first, second)]
    found = [_list_gains(view) for view in views]
    named = {key: name for view in views[::-1] for key, name in _list_names(view).items()}
    rows: list[dict[str, str]] = []
    for key in dict.fromkeys([*found[0], *found[1]]):
        row = {"held out": named[key], "trained on": " + ".join(key.sources)}
        for name, gains in zip((first, second), found, strict=True):
            gain, verdict = gains.get(key, (None, "not asked"))
            row |= {f"{name}: gain over unrelated": points(gain) if gain else "-", f"{name}: verdict": verdict}
        pair = [gains[key][0] for gains in found if key in gains]
        row["difference"] = points(_subtract(pair[1], pair[0])) if len(pair) == 2 and all(pair) else "-"
        rows.append(row)
    return pd.DataFrame(rows)


class _Key(NamedTuple):
    """What makes questions of two studies the same."""

    view: tuple[str, ...]
    direction: str | None
    level: float | None
    sources: tuple[str, ...]
    setting: str
    """Of a study with several."""


def _find_keys(plan: Plan) -> dict[str, _Key]:
    has_settings = len(plan.settings) > 1
    return {
        part.id: _Key(part.view, part.direction, part.level, part.related, part.setting if has_settings else "")
        for part in plan.contrasts
    }


def _list_names(view: StudyView) -> dict[_Key, str]:
    keys = _find_keys(view.computed.plan)
    return {keys[question]: name for question, name in name_questions(view.computed.plan).items()}


def _list_gains(view: StudyView) -> dict[_Key, tuple[Interval | None, str]]:
    keys = _find_keys(view.computed.plan)
    return {
        keys[part.contrast.id]: (part.main.gains.get(Arm.UNRELATED) if part.main else None, part.word)
        for part in view.computed.contrasts
    }


def _subtract(one: Interval | None, other: Interval | None) -> Interval:
    assert one is not None
    assert other is not None
    middle = one.estimate - other.estimate
    low = middle - math.hypot(one.estimate - one.low, other.high - other.estimate)
    high = middle + math.hypot(one.high - one.estimate, other.estimate - other.low)
    return Interval(estimate=middle, low=low, high=high, p_value=1.0)
