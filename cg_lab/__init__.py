"""Ask whether a vision-language model recombines what it learned (compositional generalization on medical images)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cg_lab.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from cg_lab.reporting.frames import StudyView

__all__ = ["__version__", "open_study"]


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
