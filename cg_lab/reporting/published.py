"""The papers' own tables, printed by the code that prints ours, so that arithmetic can be checked against print."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pandas as pd

from cg_lab.errors import UserError
from cg_lab.reporting.figures import FACTOR_COLOURS, StyledFigure, entitle, styled
from cg_lab.reporting.formats import to_markdown
from cg_lab.reporting.svg import to_svg
from cg_lab.serialize import write_text

Rows = Sequence[Mapping[str, str]]
MEAN = "mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A table of Med-MAT (arXiv 2412.20070)."""

    file: str
    title: str
    make: Callable[[Rows], pd.DataFrame]


def read_published(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the tables that are in a folder, with means, gains and marks computed anew.

    Raises
    ------
    UserError
        If there is none, with the names that are known.

    """
    found = {table.title: table.make(_read(folder / table.file)) for table in TABLES if (folder / table.file).is_file()}
    if not found:
        raise UserError(
            f"report --published: no table in '{folder}'; known: {', '.join(table.file for table in TABLES)}"
        )
    return found


def write_published(folder: Path, target: Path) -> list[Path]:
    """Write the papers' tables as one page of Markdown, and figure 4 as SVG."""
    page = target / "published.md"
    parts = [f"## {title}\n\n{to_markdown(table)}" for title, table in read_published(folder).items()]
    write_text(page, "# Published numbers\n\nMeans, gains and marks are computed from the rows.\n\n" + "\n".join(parts))
    written = [page]
    if (folder / FIGURE_4).is_file():
        written.append(target / "figure4.svg")
        write_text(written[-1], to_svg(plot_scaling(_read(folder / FIGURE_4))))
    return written


def _read(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _column(rows: Rows, name: str) -> list[float]:
    return [float(row[name]) for row in rows]


def _with_means(rows: Rows, names: str, columns: Sequence[str]) -> pd.DataFrame:
    table = [{names: row[names], **{column: row[column] for column in columns}} for row in rows]
    means = {column: f"{fmean(_column(rows, column)):.1f}" for column in columns}
    return pd.DataFrame([*table, {names: MEAN, **means}])


def _make_table_3(rows: Rows) -> pd.DataFrame:
    """Give rows with the mark computed (Trained > max(Baseline, Baseline+)), and means by direction."""
    columns = ("baseline", "baseline_plus", "trained")
    table: list[dict[str, str]] = []
    for row in rows:
        base, plus, trained = (float(row[column]) for column in columns)
        mark = trained > max(base, plus)
        table.append(
            {
                "direction": row["direction"], "related": f"{row['related_1']} + {row['related_2']}",
                "target": row["target"], **{column: row[column] for column in columns},
                "helps": "yes" if mark else "no", "as printed": "yes" if mark == bool(int(row["cg_helps"])) else "no",
            }
        )  # fmt: skip
    for direction in (*dict.fromkeys(row["direction"] for row in rows), "all"):
        members = [row for row in rows if direction in {row["direction"], "all"}]
        means = {column: f"{fmean(_column(members, column)):.1f}" for column in columns}
        table.append({"direction": direction, "related": MEAN, "target": f"{len(members)} rows", **means})
    return pd.DataFrame(table).fillna("")


def _make_runs(rows: Rows) -> pd.DataFrame:
    """Give mean and sample standard deviation of three runs beside the printed ones."""
    runs = ("run1", "run2", "run3")
    return pd.DataFrame(
        [
            {
                "target": row["target"], "baseline": row["baseline"], **{run: row[run] for run in runs},
                "mean": f"{fmean(float(row[run]) for run in runs):.2f}",
                "sd": f"{stdev(float(row[run]) for run in runs):.2f}",
                "printed": f"{row['mean']} ± {row['sd']}",
            }
            for row in rows
        ]
    )  # fmt: skip


def _with_gains(pairs: Sequence[tuple[str, str]]) -> Callable[[Rows], pd.DataFrame]:
    """Make a table with the gain of each pair of columns, base first."""

    def make(rows: Rows) -> pd.DataFrame:
        gains = [
            {f"{after} gain": f"{float(row[after]) - float(row[before]):+.1f}" for before, after in pairs}
            for row in rows
        ]
        return pd.DataFrame([{**row, **gain} for row, gain in zip(rows, gains, strict=True)])

    return make


def _as_printed(rows: Rows) -> pd.DataFrame:
    return pd.DataFrame([dict(row) for row in rows])


FIGURE_4 = "figure4_scaling.csv"
TABLES = (
    Published(
        file="table1_in_distribution.csv",
        title="Table 1: in distribution",
        make=lambda rows: _with_means(rows, "subset", ("baseline", "single_task", "multi_task")),
    ),
    Published(
        file="table2_out_of_distribution.csv",
        title="Table 2: out of distribution",
        make=lambda rows: _with_means(rows, "subset", ("baseline", "multi_task")),
    ),
    Published(file="table3_classification.csv", title="Table 3: two sources", make=_make_table_3),
    Published(
        file="tables4_11_12_15_backbones.csv",
        title="Tables 4, 11, 12, 15: other backbones",
        make=_with_gains((("qwen_base", "qwen_trained"), ("llama_base", "llama_trained"))),
    ),
    Published(file="tables5_6_detection.csv", title="Tables 5 and 6: detection", make=_as_printed),
    Published(file="tables7_8_extra_elements.csv", title="Tables 7 and 8: further elements", make=_as_printed),
    Published(file="table9_three_runs.csv", title="Table 9: three runs", make=_make_runs),
    Published(
        file="table10_three_sources.csv",
        title="Table 10: three sources",
        make=_with_gains((("baseline", "trained"),)),
    ),
    Published(
        file="tables13_14_detection_sources.csv",
        title="Tables 13 and 14: detection as a source",
        make=_with_gains((("nextchat_base", "nextchat_trained"), ("minigpt_base", "minigpt_trained"))),
    ),
    Published(file="table16_few_shot.csv", title="Table 16: few shots", make=_as_printed),
)


def plot_scaling(rows: Rows) -> StyledFigure:
    """Plot accuracy by training mixture as the paper's figure 4: a panel a target, bars in the paper's order."""
    arms = [name for name in rows[0] if name != "target"]
    colours = {"Baseline": "#7f7f7f", "All_Unrelated": "#E69F00", "All_Related": "#0072B2", "All_Data": "#56B4E9"}
    without = iter(FACTOR_COLOURS[2:] * 3)
    with styled():
        figure = StyledFigure(figsize=(4.6 * len(rows), 0.34 * len(arms) + 1.0), layout="constrained")
        for number, row in enumerate(rows, start=1):
            axes = figure.add_subplot(1, len(rows), number)
            values = np.array([float(row[arm]) for arm in arms])
            shades = [colours.setdefault(arm, next(without, "#999999")) for arm in arms]
            axes.barh(range(len(arms)), values, color=shades, height=0.7)
            for place, value in enumerate(values):
                axes.text(value + 1, place, f"{value:g}", va="center", fontsize=9)
            axes.set_yticks(range(len(arms)), [arm.replace("_", " ").replace("wo ", "without ") for arm in arms])
            axes.invert_yaxis()
            axes.set_xlim(0, 100)
            axes.set_xticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
            axes.set_title(row["target"], loc="left", fontsize=10, fontweight="bold")
        return entitle(figure, "Accuracy by training mixture")
