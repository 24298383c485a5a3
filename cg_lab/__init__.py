"""Ask whether a vision-language model recombines what it learned (compositional generalization on medical images)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cg_lab.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from cg_lab.recommendation import Recommendation
    from cg_lab.reporting.frames import StudyView

__all__ = ["__version__", "open_study", "recommend"]


def open_study(folder: str | Path) -> StudyView:
    """Open a study for a notebook: plan, effects, cells and predictions as DataFrames, figures as objects.

    Parameters
    ----------
    folder
        Such as `results/studies/phantom_compositional_two_source`.

    Raises
    ------
    UserError
        If no study lies there, with the names of those that do.

    """
    from cg_lab.reporting import frames  # pandas and matplotlib, which the command line loads when it needs them

    return frames.open_study(folder)


def recommend(target: str, *overrides: str, features: bool = False, validation: int = 0) -> Recommendation:
    """Rank what to train on for a target, as the verb of this name does.

    Parameters
    ----------
    target
        A subset by name or as Modality:Area:Task.
    overrides
        As on the command line, such as `"data=catalog"`, `"data.path=subsets.csv"`, `"budget.samples=5000"`.
    features
        Let the untouched model look at training images of each subset, once.
    validation
        Training images of the target that may be looked at too, and that kept fine-tunes are asked about.

    Raises
    ------
    UserError
        If the configuration or the target is wrong.

    """
    from cg_lab.cli.recommend import recommend as rank
    from cg_lab.cli.runs import open_runs
    from cg_lab.config import Request, read_studies

    (run,) = open_runs(read_studies(Request(overrides=overrides)), overrides)
    return rank(run, target, features=features, validation=validation)
