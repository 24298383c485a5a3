"""Seeds of an arm on top of each other, and two arms on the seeds that both have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cg_lab.analysis.bootstrap import Scores
from cg_lab.analysis.stacking import Stack, keep_seeds, pair_stacks, stack_seeds, take_seeds
from cg_lab.arms import Arm
from cg_lab.planning.plan import Cell
from tests.planning.cases import cube, plan_one, with_design

NAMES = ("q0", "q1")


def score(*rows: tuple[float, float]) -> Scores:
    return Scores(questions=NAMES, groups=("p0", "p1"), correct_SQ=np.array(rows))


THREE = Stack(seeds=(2, 5, 7), scores=score((0, 0), (1, 0), (1, 1)), models=("m2", "m5", "m7"))
UNTOUCHED = Stack(seeds=(), scores=score((0, 1)))


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    study = replace(with_design("two_source", directions=["task"], combinations=1), targets=("a-x-k",), seeds=(2, 0, 1))
    return list(plan_one(study, cube()).cells)


def test_rows_stand_in_the_order_of_seeds_with_their_models(cells: list[Cell]) -> None:
    related = [cell for cell in cells if cell.arm is Arm.RELATED]
    rows = {0: (0.0, 0.0), 1: (1.0, 0.0), 2: (1.0, 1.0)}
    scores = {cell.eval_job: score(rows[cell.seed or 0]) for cell in related}
    for order in (related, related[::-1]):
        stack = stack_seeds(order, scores)
        assert stack
        assert stack.seeds == (0, 1, 2)
        assert stack.scores.correct_SQ.tolist() == [[0, 0], [1, 0], [1, 1]]
        assert (stack.scores.questions, stack.scores.groups) == (NAMES, ("p0", "p1"))
        assert stack.models == tuple(cell.finetune_job for seed in range(3) for cell in related if cell.seed == seed)
        assert (stack.mean, stack.means_S.tolist()) == (0.5, [0, 0.5, 1])


def test_seeds_without_answers_are_passed_over_and_none_at_all_is_no_stack(cells: list[Cell]) -> None:
    related = [cell for cell in cells if cell.arm is Arm.RELATED]
    stack = stack_seeds(related, {cell.eval_job: score((1, 1)) for cell in related if cell.seed == 1})
    assert stack
    assert stack.seeds == (1,)
    assert stack_seeds(related, {}) is None


def test_the_untouched_backbone_is_one_row_without_seeds_or_models(cells: list[Cell]) -> None:
    untouched = [cell for cell in cells if cell.arm is Arm.ZERO_SHOT]
    stack = stack_seeds(untouched, {untouched[0].eval_job: score((0, 1))})
    assert stack
    assert (stack.seeds, stack.models, len(stack.scores.correct_SQ)) == ((), (), 1)


def test_the_first_seeds_are_kept_with_their_rows_and_models() -> None:
    kept = keep_seeds(THREE, 2)
    assert (kept.seeds, kept.models, kept.scores.correct_SQ.tolist()) == ((2, 5), ("m2", "m5"), [[0, 0], [1, 0]])
    assert keep_seeds(THREE, 3) is THREE
    assert keep_seeds(UNTOUCHED, 0) is UNTOUCHED


def test_rows_of_some_seeds_are_those_seeds_and_the_untouched_row_stands_for_all() -> None:
    assert take_seeds(THREE, (7, 2)).correct_SQ.tolist() == [[1, 1], [0, 0]]
    assert take_seeds(THREE, THREE.seeds) is THREE.scores
    assert take_seeds(UNTOUCHED, (2, 5)) is UNTOUCHED.scores


def test_arms_are_subtracted_on_the_seeds_that_both_have() -> None:
    other = Stack(seeds=(5, 7, 9), scores=score((0, 1), (1, 0), (0, 0)))
    pair = pair_stacks(THREE, other)
    assert pair
    assert (pair.seeds, pair.scores.correct_SQ.tolist()) == ((5, 7), [[1, -1], [0, 1]])
    assert pair_stacks(THREE, replace(other, seeds=(1, 3, 4))) is None


def test_an_arm_without_seeds_meets_every_seed_of_the_other() -> None:
    for first, second, sign in ((THREE, UNTOUCHED, 1), (UNTOUCHED, THREE, -1)):
        pair = pair_stacks(first, second)
        assert pair
        assert pair.seeds == (2, 5, 7)
        assert (sign * pair.scores.correct_SQ).tolist() == [[0, -1], [1, -1], [1, 0]]
    assert pair_stacks(None, THREE) is None
    assert pair_stacks(THREE, None) is None
