"""A finished study as DataFrames and figures, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

import pandas as pd

from cg_lab.analysis.effects import StudyEffects
from cg_lab.arms import CONTROLS
from cg_lab.errors import UserError, suggest
from cg_lab.planning.plan import Plan
from cg_lab.registration import read_registration
from cg_lab.reporting.figures import StyledFigure
from cg_lab.reporting.probabilities import Explored, explore_probabilities
from cg_lab.reporting.read import Readings, read_scores
from cg_lab.reporting.registered_family import judge_study
from cg_lab.reporting.tables import (
    Row,
    list_cells,
    list_curves,
    list_effects,
    list_reliability,
    list_splits,
    list_summaries,
    list_transfers,
)
from cg_lab.reporting.words import tell_story
from cg_lab.reporting.write import plot_figures
from cg_lab.results import Layout, read_plan

TEXT = ("seeds", "seed", "variant", "related", "unrelated")
"""Columns that are text even where all cells look like numbers."""
MEASURED = (
    "accuracy",
    "gain_",
    "recovered_share",
    "mcnemar_p",
    "p_holm",
    "detectable_gain",
    "value",
    "needed_by_",
    "p_composes",
    "synergy",
    "interaction",
)
"""How columns begin that are numbers even where none is there yet."""
GLANCE = ("target", "direction", "level", "accuracy", *(f"gain_over_{over}" for over in CONTROLS), "verdict")
"""Columns of effects that a study shows of itself."""


@dataclass(repr=False)
class StudyView:
    """What a study planned and found; computed from its files when asked for.

    The columns are those of effects.csv, cells.csv, summary.csv and predictions.parquet, which docs/files.md explains.
    """

    folder: Path

    def __repr__(self) -> str:
        """Say what is there."""
        plan, done = self.plan, sum(cell.eval_job in self._readings.scores for cell in self.plan.cells)
        asked = f"{len(plan.contrasts)} held-out question{'' if len(plan.contrasts) == 1 else 's'}"
        return f"study {plan.study}: {asked}, {done} of {len(plan.cells)} cells done"

    def _repr_html_(self) -> str:
        main = self.effects[self.effects["verdict"].notna()]
        table = main[[name for name in GLANCE if main[name].notna().any()]]
        said = f"<p>{escape(repr(self))}</p><p>{escape(tell_story(self.computed).answer)}</p>"
        return said + table.to_html(index=False, float_format="{:.3f}".format)

    @cached_property
    def plan(self) -> Plan:
        """What the study does: held-out questions, cells, jobs."""
        return read_plan(self.folder / "plan.json")

    @cached_property
    def effects(self) -> pd.DataFrame:
        """Accuracy, paired gains and verdicts: a row for each arm of each held-out question."""
        return to_frame(list_effects(self.computed))

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Numbers over several held-out questions."""
        return to_frame(list_summaries(self.computed))

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Accuracy of each arm at each level of a curve, and the samples that other arms need for as much."""
        return to_frame(list_curves(self.computed))

    @cached_property
    def transfers(self) -> pd.DataFrame:
        """The transfer matrix, a row for each source and target."""
        return to_frame(list_transfers(self.computed))

    @cached_property
    def reliability(self) -> pd.DataFrame:
        """How sure each arm was and how often it was right, a row for each arm and bin of confidence."""
        return to_frame(list_reliability(self.explored))

    @cached_property
    def splits(self) -> pd.DataFrame:
        """Seen, unseen, harmonic mean and area of designs that split pairs."""
        return to_frame(list_splits(self.explored))

    @cached_property
    def cells(self) -> pd.DataFrame:
        """A row for each planned number, done or missing, with its proof of validity."""
        return to_frame(list_cells(self.computed, self._readings))

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row for each question of each finished evaluation; `eval_job` and `subset` join it to `cells`."""
        layout = self._layout
        parts = [
            pd.read_parquet(layout.predictions(job.id)).assign(eval_job=job.id)
            for job in self.plan.evals
            if job.id in self._readings.scores
        ]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    @cached_property
    def figures(self) -> dict[str, StyledFigure]:
        """The report's figures by name: matplotlib's, to be shown, changed and saved."""
        return plot_figures(self.computed, self.explored, self._layout)

    @property
    def _layout(self) -> Layout:
        return Layout(self.folder.parents[1])

    @cached_property
    def _readings(self) -> Readings:
        return read_scores(self.plan, self._layout)

    @cached_property
    def computed(self) -> StudyEffects:
        """All effects as the report has them, with intervals as objects."""
        registration = read_registration(self._layout, self.plan.study)
        return judge_study(self._layout, self.plan, self._readings, registration)

    @cached_property
    def explored(self) -> Explored:
        """What probabilities show, as objects."""
        return explore_probabilities(self.plan, self._layout, self._readings)


def open_study(folder: str | Path) -> StudyView:
    """Open a study, finished or not.

    Parameters
    ----------
    folder
        Such as `results/studies/phantom_compositional_two_source`.

    Raises
    ------
    UserError
        If no study lies there, with the names of those that do.

    """
    path = Path(folder)
    if not (path / "plan.json").exists():
        known = [found.parent.name for found in path.parent.glob("*/plan.json")]
        raise UserError(f"open_study: no study in '{path}'; {suggest(path.name, known)}")
    return StudyView(path)


def to_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Give rows as a DataFrame: numbers as numbers, flags as booleans, nothing as missing."""
    frame = pd.DataFrame(list(rows))
    for name in frame.columns:
        filled = frame[name][frame[name] != ""]
        frame[name] = frame[name].where(frame[name] != "", None)
        if name.startswith(MEASURED):
            frame[name] = frame[name].astype(float)
        if name in TEXT or filled.empty:
            continue
        if set(filled) <= {"true", "false"}:
            frame[name] = frame[name].map({"true": True, "false": False})
        else:
            numbers = pd.to_numeric(frame[name], errors="coerce")
            if numbers.notna().sum() == len(filled):
                frame[name] = numbers
    return frame
