"""What the rule of the verdicts gets to see: each gain over the right arm, and what the plan says of the question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from cg_lab.analysis.arm_estimates import ArmStacks, Key, estimate_arms
from cg_lab.analysis.bootstrap import Scores
from cg_lab.analysis.evidence import gather_evidence
from cg_lab.analysis.stacking import Stack
from cg_lab.analysis.verdict import Evidence
from cg_lab.arms import Arm
from cg_lab.planning.plan import Plan
from tests.planning.cases import cube, plan_one, with_design

TARGET = "a-x-k"
NAMES = tuple(map(str, range(100)))


def key(arm: Arm, variant: str = "") -> Key:
    return (arm, variant, TARGET)


def answer(share: float, *shifts: float) -> Stack:
    """Let seeds have just so many answers right; one row without seeds is the untouched backbone."""
    rows = [np.arange(100) < round(100 * (share + shift)) for shift in shifts or (0.0,)]
    return Stack(
        seeds=tuple(range(len(shifts))),
        scores=Scores(questions=NAMES, groups=NAMES, correct_SQ=np.stack(rows).astype(float)),
        models=tuple(f"{share}-{number}" for number in range(len(shifts))),
    )


FIVE = (-0.02, -0.01, 0.0, 0.01, 0.02)
STACKS = {
    key(Arm.ZERO_SHOT): answer(0.3),
    key(Arm.UNRELATED): answer(0.4, *FIVE),
    key(Arm.RELATED): answer(0.7, *FIVE),
    key(Arm.BLIND): answer(0.35, *FIVE),
    key(Arm.CEILING): answer(0.9, *FIVE),
    key(Arm.ALONE, "a-y-k"): answer(0.5, *FIVE),
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    study = with_design("two_source", directions=["task"], combinations=1)
    return plan_one(replace(study, targets=(TARGET,), seeds=(0, 1, 2, 3, 4)), cube())


def gather(plan: Plan, stacks: Mapping[Key, Stack] = STACKS, *missing: str) -> Evidence:
    is_complete = plan.contrasts[0].id not in missing
    asked = [ArmStacks(setting="s", main=key(Arm.RELATED), stacks=stacks)]
    (evidence,) = gather_evidence(plan, estimate_arms(asked, 0.95), complete=[is_complete], counted=[True])
    return evidence


def combine(plan: Plan, *sources: str) -> Plan:
    contrast = plan.contrasts[0]
    assert contrast.main
    main = replace(contrast.main, subsets=sources)
    return replace(plan, contrasts=(replace(contrast, trainings=(main,)),))


def test_each_gain_is_that_of_the_main_arm_over_the_named_one(plan: Plan) -> None:
    evidence = gather(plan)
    gains = {
        name: gain.estimate
        for name in ("over_zero_shot", "over_unrelated", "over_blind", "ceiling_over_zero_shot")
        if (gain := getattr(evidence, name))
    }
    assert gains == {
        "over_zero_shot": pytest.approx(0.4), "over_unrelated": pytest.approx(0.3),
        "over_blind": pytest.approx(0.35), "ceiling_over_zero_shot": pytest.approx(0.6),
    }  # fmt: skip
    assert {source: gain.estimate for source, gain in evidence.over_alone.items()} == {"a-y-k": pytest.approx(0.2)}
    assert evidence.num_seeds == 5


def test_what_the_ceiling_lifts_is_about_these_very_models(plan: Plan) -> None:
    far = {**STACKS, key(Arm.CEILING): answer(0.9, -0.08, -0.04, 0.0, 0.04, 0.08)}
    near = {**STACKS, key(Arm.CEILING): answer(0.9, 0.0, 0.0, 0.0, 0.0, 0.0)}
    wide, narrow = (gather(plan, stacks).ceiling_over_zero_shot for stacks in (far, near))
    assert wide
    assert narrow
    assert wide.high - wide.low < 1.5 * (narrow.high - narrow.low)


@pytest.mark.parametrize(
    ("arm", "lost"),
    [
        (Arm.ZERO_SHOT, {"over_zero_shot", "ceiling_over_zero_shot"}),
        (Arm.UNRELATED, {"over_unrelated"}),
        (Arm.BLIND, {"over_blind"}),
        (Arm.CEILING, {"ceiling_over_zero_shot"}),
        (Arm.RELATED, {"over_zero_shot", "over_unrelated", "over_blind"}),
    ],
)
def test_an_arm_without_answers_takes_its_own_gains_alone(plan: Plan, arm: Arm, lost: set[str]) -> None:
    evidence = gather(plan, {name: stack for name, stack in STACKS.items() if name != key(arm)})
    names = ("over_zero_shot", "over_unrelated", "over_blind", "ceiling_over_zero_shot")
    assert {name for name in names if getattr(evidence, name) is None} == lost
    assert evidence.num_seeds == (0 if arm is Arm.RELATED else 5)


def test_a_question_is_complete_if_none_of_its_cells_is_missing(plan: Plan) -> None:
    assert gather(plan).complete
    assert gather(plan, STACKS, "another").complete
    assert not gather(plan, STACKS, plan.contrasts[0].id).complete


def test_what_the_plan_says_of_the_question_is_handed_on(plan: Plan) -> None:
    contrast = plan.contrasts[0]
    assert contrast.main
    plain = gather(plan)
    assert (plain.fully_covered, plain.sees_target, plain.whole_sources) == (True, False, ())
    seen = replace(contrast, trainings=(replace(contrast.main, sees_target=True),))
    assert gather(replace(plan, contrasts=(seen,))).sees_target is True
    assert gather(replace(plan, contrasts=(replace(contrast, fully_covered=False),))).fully_covered is False
    cells = tuple(
        replace(cell, proof=replace(cell.proof, whole_in=("one",))) if cell.arm is Arm.RELATED else cell
        for cell in plan.cells
    )
    assert gather(replace(plan, cells=cells)).whole_sources == ("one",)


@pytest.mark.parametrize(("count", "named"), [(1, 0), (2, 2), (4, 4), (5, 0)])
def test_two_to_four_sources_are_named_as_what_could_be_taken_alone(plan: Plan, count: int, named: int) -> None:
    sources = ("a-y-k", "a-z-k", "b-x-k", "c-x-k", "c-z-k")[:count]
    assert gather(combine(plan, *sources)).sources == sources[:named]


def test_a_look_that_a_question_is_not_ready_for_is_marked(plan: Plan) -> None:
    arms = estimate_arms([ArmStacks(setting="s", main=key(Arm.RELATED), stacks=STACKS)], 0.95)
    for is_counted in (True, False):
        assert gather_evidence(plan, arms, complete=[True], counted=[is_counted])[0].is_counted is is_counted
