"""One module for each design of the field; a design finds the held-out questions (contrasts) of a target."""

from __future__ import annotations

from typing import assert_never

from cg_lab.mat import Subset
from cg_lab.planning.designs.all_related import find_all_related
from cg_lab.planning.designs.two_source import find_two_source
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast
from cg_lab.study import AllRelatedSettings, DesignSettings, TwoSourceSettings


def find_contrasts(graph: MatGraph, target: Subset, settings: DesignSettings) -> tuple[Contrast, ...]:
    """Find the held-out questions of one target; empty if the design has no valid sources for it."""
    match settings:
        case TwoSourceSettings():
            return find_two_source(graph, target, settings)
        case AllRelatedSettings():
            return find_all_related(graph, target)
        case _:
            assert_never(settings)


def explain_absence(settings: DesignSettings) -> str:
    """Say what a target would have needed, for targets without any contrast."""
    match settings:
        case TwoSourceSettings(directions=directions):
            names = " or ".join(directions)
            return (
                f"no two subsets share its {names} and cover its other two elements, one each, "
                "with a subset left that shares no element with it"
            )
        case AllRelatedSettings():
            return "it needs a subset that shares an element with it, and one that shares none"
        case _:
            assert_never(settings)
