"""Which of many pairs of sources are asked about: those that share fine-tunes, or any, drawn by name."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from cg_lab.catalog import build_catalog
from cg_lab.planning.plan import Plan
from cg_lab.study import Study
from tests.planning.cases import cube, plan_one, with_design

CORNERS = ("a-x-k", "b-y-k", "a-x-l", "c-z-l")
"""Opposite corners of two squares."""


def ask(prefer: str, *targets: str, **settings: object) -> Study:
    directions = {"directions": ["task"], "combinations": 1}
    study = with_design("two_source", max_samples=40, **{**directions, **settings, "prefer": prefer})
    return replace(study, targets=targets or None, seeds=(0,))


def list_pairs(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {contrast.target: contrast.related for contrast in plan.contrasts}


def test_opposite_corners_of_a_square_are_asked_from_one_pair() -> None:
    assert list_pairs(plan_one(ask("sharing", *CORNERS), cube())) == {
        "a-x-k": ("a-y-k", "b-x-k"), "b-y-k": ("a-y-k", "b-x-k"),
        "a-x-l": ("a-z-l", "c-x-l"), "c-z-l": ("a-z-l", "c-x-l"),
    }  # fmt: skip


def test_drawn_by_name_a_pair_hangs_on_no_other_target() -> None:
    found = list_pairs(plan_one(ask("hash", *CORNERS), cube()))
    for target in CORNERS:
        assert list_pairs(plan_one(ask("hash", target), cube())) == {target: found[target]}


@pytest.mark.parametrize("combinations", [1, 2, 3])
def test_sharing_takes_no_more_pairs_and_sources_than_a_draw(combinations: int) -> None:
    counts: dict[str, int] = {}
    for prefer in ("sharing", "hash"):
        plan = plan_one(ask(prefer, directions=["modality", "area", "task"], combinations=combinations), cube())
        assert len(plan.contrasts) == 27 * 3 * combinations
        counts[prefer] = len({contrast.related for contrast in plan.contrasts})
    assert counts["sharing"] < counts["hash"]


def test_all_pairs_are_asked_about_whichever_are_preferred() -> None:
    plans = [plan_one(ask(prefer, "a-x-k", combinations=None), cube()) for prefer in ("sharing", "hash")]
    assert plans[0].contrasts == plans[1].contrasts
    assert len(plans[0].contrasts) == 4


def test_the_order_of_targets_and_of_lines_changes_no_pair() -> None:
    plan = plan_one(ask("sharing", *CORNERS), cube())
    turned = plan_one(ask("sharing", *reversed(CORNERS)), cube())
    assert {*turned.cells} == {*plan.cells}
    assert turned.finetunes == plan.finetunes
    lines = list(cube().subsets)
    random.Random(0).shuffle(lines)
    assert plan_one(ask("sharing", *CORNERS), build_catalog(cube().data, lines)).text == plan.text
