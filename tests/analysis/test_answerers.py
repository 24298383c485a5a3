"""Simulated answerers know what their training mixture can teach, and nothing else."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cg_lab.arms import Arm
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def answerers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("answerers")


@cache
def plan_world(world: str) -> Plan:
    study = read_study(["study=s", f"data.world={world}", "seeds=[0,1,2]"])
    backbone = identify_backbone(study.model)
    return build_plan([Run(name="", study=study, catalog=read_catalog(study.data), backbone=backbone)])


def score(answerers: ModuleType, world: str, answerer: str, arm: Arm) -> float:
    """Give the mean accuracy of an arm over all held-out questions, seeds and a few studies."""
    plan = plan_world(world)
    hall = answerers.open_hall(plan)
    jobs = {
        cell.eval_job
        for cell in plan.cells
        if cell.arm is arm and cell.subset == plan.contrast_by_id[cell.contrast].target
    }
    told = [answerers.answer_study(hall, answerers.Answerer(answerer), study) for study in range(4)]
    return float(np.mean([scores[job].correct_SQ.mean() for scores in told for job in jobs]))


@pytest.mark.parametrize(
    ("world", "answerer", "arm", "expected"),
    [
        ("factored", "composing", Arm.RELATED, 0.92),
        ("factored", "one source", Arm.RELATED, 0.5),
        ("factored", "memorising", Arm.RELATED, 0.5),
        ("factored", "memorising", Arm.CEILING, 0.92),
        ("factored", "composing", Arm.CEILING, 0.92),
        ("factored", "composing", Arm.SHUFFLED, 0.5),
        ("factored", "composing", Arm.BLIND, 0.5),
        ("factored", "composing", Arm.ZERO_SHOT, 0.5),
        ("redundant", "one source", Arm.RELATED, 0.92),
        ("redundant", "composing", Arm.RELATED, 0.92),
        ("redundant", "text only", Arm.CEILING, 0.5),
        ("redundant", "guessing", Arm.CEILING, 0.5),
        ("entangled", "composing", Arm.RELATED, 0.5),
        ("entangled", "composing", Arm.CEILING, 0.92),
    ],
)
def test_an_answerer_is_right_where_its_training_teaches_what_is_asked(
    answerers: ModuleType, world: str, answerer: str, arm: Arm, expected: float
) -> None:
    assert score(answerers, world, answerer, arm) == pytest.approx(expected, abs=0.06)


def test_a_text_only_answerer_says_the_same_to_a_blank_image(answerers: ModuleType) -> None:
    plan = plan_world("redundant")
    told = answerers.answer_study(answerers.open_hall(plan), answerers.Answerer.TEXT_ONLY, 0)
    cells = {(cell.contrast, cell.arm, cell.seed): cell.eval_job for cell in plan.cells}
    pairs = [
        (job, cells[contrast, Arm.BLIND, seed]) for (contrast, arm, seed), job in cells.items() if arm is Arm.RELATED
    ]
    assert pairs
    for shown, blank in pairs:
        assert np.array_equal(told[shown].correct_SQ, told[blank].correct_SQ)


def test_a_composing_answerer_of_one_source_in_the_factored_world_guesses(answerers: ModuleType) -> None:
    plan = plan_world("factored")
    hall = answerers.open_hall(plan)
    draw = np.random.default_rng(0)
    for contrast in plan.contrasts:
        test = hall.find_test(contrast.target)
        rules = [hall.find_test(source).reading for source in contrast.related]
        assert np.array_equal(answerers.read_marks(test, rules, draw), test.labels_Q)
        for rule in rules:
            said = answerers.read_marks(test, [rule], draw)
            assert said is None or (said == test.labels_Q).mean() == pytest.approx(0.5, abs=0.12)


def test_another_study_has_other_fine_tunes_and_the_same_has_the_same(answerers: ModuleType) -> None:
    hall = answerers.open_hall(plan_world("entangled"))
    first, again, other = (answerers.answer_study(hall, answerers.Answerer.GUESSING, study) for study in (1, 1, 2))
    assert all(np.array_equal(first[job].correct_SQ, again[job].correct_SQ) for job in first)
    assert any(not np.array_equal(first[job].correct_SQ, other[job].correct_SQ) for job in first)
