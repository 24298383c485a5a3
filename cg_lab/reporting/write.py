"""`write_report`: everything that a study's folder shows to people."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from cg_lab.analysis.effects import StudyEffects
from cg_lab.analysis.regret import measure_regret
from cg_lab.analysis.verdict import Verdict
from cg_lab.arms import CONTROLS
from cg_lab.errors import UserError
from cg_lab.percentages import percent
from cg_lab.planning.criterion import CRITERION
from cg_lab.planning.plan import Plan
from cg_lab.registration import read_registration
from cg_lab.reporting.answer_pages import write_answer_pages
from cg_lab.reporting.answers import list_answers
from cg_lab.reporting.beside import list_beside
from cg_lab.reporting.examples import spread
from cg_lab.reporting.figures import (
    MOST_ANSWERED,
    MOST_PANELS,
    StyledFigure,
    plot_answer,
    plot_answers,
    plot_arms,
    plot_forest,
    plot_losses,
    plot_questions,
)
from cg_lab.reporting.illustrate import illustrate
from cg_lab.reporting.maps import draw_graph, draw_grid, has_further
from cg_lab.reporting.matrices import plot_reliability, plot_transfer
from cg_lab.reporting.names import name_arm, name_questions
from cg_lab.reporting.probabilities import Explored, explore_probabilities
from cg_lab.reporting.read import Readings, read_scores
from cg_lab.reporting.registered_family import judge_study
from cg_lab.reporting.rows import list_savings, list_told
from cg_lab.reporting.svg import share_definitions, to_svg
from cg_lab.reporting.tables import (
    list_cells,
    list_curves,
    list_effects,
    list_reliability,
    list_splits,
    list_summaries,
    list_transfers,
    write_csv,
)
from cg_lab.reporting.trainings import MOST_LINES, list_trained, plot_training
from cg_lab.reporting.trends import plot_curves, plot_splits
from cg_lab.reporting.words import MERGING, MOST_TOLD, points, shares, signed, tell_registration, tell_story
from cg_lab.results import Layout, read_plan
from cg_lab.serialize import read_json, read_rows, write_text

MOST_SHOWN = 200
"""Held-out questions, or missing cells, that the pages' tables have; the .csv files have all."""

TABLES = ("effects", "cells", "summary", "curves", "transfer", "reliability", "splits")
"""Files of numbers beside the page, as far as there are any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFiles:
    """What was written, and the numbers in it."""

    effects_csv: Path
    cells_csv: Path
    markdown: Path
    html: Path
    effects: StudyEffects


def write_report(layout: Layout, study: str, *, images: bool = True, folder: Path | None = None) -> ReportFiles:
    """Write effects.csv, cells.csv, report.md, report.html, figures and the answers to browse, of a planned study.

    What is missing is listed with its reason; what is there is reported.

    Parameters
    ----------
    layout, study
        Which study.
    images
        False shows no test images, for files that leave the house.
    folder
        Where it is written, if not in the study's folder.

    Raises
    ------
    UserError
        If the study has no readable plan, or if the report that is there has numbers whose results are gone.

    """
    plan = read_plan(layout.plan(study))
    readings = read_scores(plan, layout)
    _check_loss(plan, layout, readings)
    registration = read_registration(layout, study)
    effects = judge_study(layout, plan, readings, registration)
    explored = explore_probabilities(plan, layout, readings)
    folder = folder or layout.study(study)
    files = ReportFiles(
        effects_csv=folder / "effects.csv",
        cells_csv=folder / "cells.csv",
        markdown=folder / "report.md",
        html=folder / "report.html",
        effects=effects,
    )
    tables = (
        list_effects(effects), list_cells(effects, readings), list_summaries(effects), list_curves(effects),
        list_transfers(effects), list_reliability(explored), list_splits(explored),
    )  # fmt: skip
    for name, rows in zip(TABLES, tables, strict=True):
        write_csv(folder / f"{name}.csv", rows)
    figures = draw_figures(effects, explored, layout)
    for name, svg in figures.items():
        write_text(folder / "figures" / f"{name}.svg", '<?xml version="1.0" encoding="utf-8"?>\n' + svg)
    content = _gather(effects, explored, figures, folder)
    content |= {
        "story": tell_story(effects, readings.metrics, readings.imported),
        "answers": list_answers(plan, readings.metrics, {part.contrast.id for part in content["shown"]}),
        "examples": illustrate(plan, layout, readings.scores, images=images),
        "registered": tell_registration(plan, registration),
        "trained": list_trained(plan, layout),
        "pages": write_answer_pages(plan, layout, readings, open_templates(), folder, images=images),
    }
    write_text(files.markdown, open_templates().get_template("report.md.j2").render(content))
    write_text(files.html, share_definitions(open_templates().get_template("report.html.j2").render(content)))
    return files


def _check_loss(plan: Plan, layout: Layout, readings: Readings) -> None:
    """Refuse to write a report with fewer numbers than the one that is there, as of a folder without its jobs."""
    path = layout.study(plan.study) / "cells.csv"
    if not path.exists():
        return
    planned = {cell.eval_job for cell in plan.cells}
    told = {row["cell"]: row["eval_job"] for row in read_rows(path) if row.get("state") == "done"}
    gone = [cell for cell, job in told.items() if job in planned and job not in readings.scores]
    if gone:
        reason = readings.reasons.get(told[gone[0]], "no result")
        raise UserError(
            f"report: {len(gone)} of the {len(told)} numbers in {path} have no result in {layout.jobs} any more, such "
            f"as {gone[0]} ({reason}); the report stays as it is. Bring the jobs back or sweep again; without "
            f"{path.name} a report of what is left is written"
        )


def plot_figures(effects: StudyEffects, explored: Explored, layout: Layout) -> dict[str, StyledFigure]:
    """Plot what there is to plot, by name."""
    plotted = {
        "answer": plot_answer(effects),
        "arms": plot_arms(effects),
        "forest": plot_forest(effects),
        "curves": plot_curves(effects),
        "losses": plot_losses(effects),
        "transfer": plot_transfer(effects),
        "splits": plot_splits(explored.splits),
        "reliability": plot_reliability(explored.reliabilities),
        "training": plot_training(effects.plan, layout),
    }
    return {name: figure for name, figure in plotted.items() if figure is not None}


def draw_figures(effects: StudyEffects, explored: Explored, layout: Layout) -> dict[str, str]:
    """Draw all figures and maps as SVG, by name."""
    drawn = {name: to_svg(figure) for name, figure in plot_figures(effects, explored, layout).items()}
    return {**drawn, "grid": draw_grid(effects.plan), "graph": draw_graph(effects.plan)}


def _gather(effects: StudyEffects, explored: Explored, figures: dict[str, str], folder: Path) -> dict[str, Any]:
    provenance = folder / "provenance.json"
    shown, total = spread(effects.contrasts, MOST_SHOWN), len(effects.contrasts)
    return {
        "effects": effects,
        "plan": effects.plan,
        "figures": figures,
        "panels": [to_svg(figure) for figure in plot_answers(effects)],
        "questions": [to_svg(figure) for figure in plot_questions(effects)],
        "rule": CRITERION,
        "words": tuple(map(str, Verdict)),
        "controls": [arm for arm in CONTROLS if arm in effects.arms],
        "names": name_questions(effects.plan),
        "summaries": list_told(effects.summaries),
        "savings": list_savings(effects),
        "regrets": measure_regret(effects),
        "merged": [(part.contrast.id, merge) for part in effects.contrasts for merge in part.merges],
        "merging": MERGING,
        "beside": list_beside(effects),
        "splits": explored.splits,
        "name_arm": name_arm,
        "has_further": has_further(effects.plan),
        "most_answered": MOST_ANSWERED,
        "most_lines": MOST_LINES,
        "most_panels": MOST_PANELS,
        "shown": shown,
        "is_told_in_part": total > MOST_TOLD,
        "told": {part.contrast.id: number for number, part in enumerate(effects.contrasts[:MOST_TOLD], start=1)},
        "most_shown": MOST_SHOWN,
        "tables": [name for name in TABLES if (folder / f"{name}.csv").exists()],
        "has_recovered": any(part.recovered for part in shown),
        "has_single_seeds": any(len(arm.seeds) == 1 for part in shown for arm in part.arms),
        "cut": f"{len(shown)} of {total:,} held-out questions, at even steps along their list; the .csv files have all."
        if len(shown) < total
        else "",
        "provenance": read_json(provenance) if provenance.exists() else {},
    }


@cache
def open_templates() -> jinja2.Environment:
    """Give the templates of pages."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=jinja2.select_autoescape(["html.j2"], default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "signed": signed,
        "shares": shares,
        "cell": _escape_cell,
        "unbroken": _keep_together,
    }
    return environment


def _escape_cell(text: str) -> str:
    """Keep a text of the user's inside its place in Markdown: no cell, tag, link, code or line of its own."""
    told = " ".join(text.split())
    for mark in "\\`*[]|":
        told = told.replace(mark, f"\\{mark}")
    return told.replace("<", "&lt;")


def _keep_together(text: str) -> str:
    """Let no line end within an interval or a p-value, or before a percent sign."""
    text = re.sub(r"(?<=\d) (?=%)", "\u00a0", text)
    return re.sub(
        r"(?<=\bp) ([=<]) |(?<=\d,) (?=[+-]?\d+(?:\.\d+)?\])",
        lambda gap: f"\u00a0{gap[1]}\u00a0" if gap[1] else "\u00a0",
        text,
    )
