"""Maps of a plan: what each subset is used for."""

from __future__ import annotations

from dataclasses import replace

from cg_lab.reporting.maps import draw_graph, draw_grid
from tests.planning.cases import STUDY, cube, make_catalog, make_subset, plan_one, with_design


def test_subsets_that_only_further_arms_train_on_are_not_drawn_as_unused() -> None:
    cells = ("AXK", "AXL", "BYK", "CZM")  # the target; shares two elements, one and none with it
    study = replace(STUDY, targets=("a-x-k",))
    plan = plan_one(with_design("crossmed", study), make_catalog([make_subset(tuple(cell)) for cell in cells]))
    grid = draw_grid(plan)
    for name, role in (("a-x-k", "target"), ("a-x-l", "source"), ("b-y-k", "further"), ("c-z-m", "unrelated")):
        assert f"<title>{name}: {role}</title>" in grid
    assert "further arms only" in draw_graph(plan)
    assert "further arms only" not in draw_graph(plan_one(with_design("folds", study), cube()))


def test_on_the_graph_held_out_subsets_alone_are_broken_lines() -> None:
    study = replace(STUDY, targets=("a-x-k",))
    graph = draw_graph(plan_one(with_design("folds", study), cube()))
    drawn = [line for line in graph.splitlines() if line.startswith("<path")]
    assert [("stroke-dasharray" in line, "a-x-k: target" in line) for line in drawn].count((True, True)) == 1
    assert all(("stroke-dasharray" in line) == ("target" in line) for line in drawn)
