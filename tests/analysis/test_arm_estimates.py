"""Whose seeds lend whom their variance: targets of one setting to each other, and the main arm to small controls."""

from __future__ import annotations

import numpy as np
import pytest

from cg_lab.analysis.arm_estimates import ArmEstimates, ArmStacks, Key, estimate_arms
from cg_lab.analysis.bootstrap import Scores
from cg_lab.analysis.seed_variance import EXPECTED_FREEDOM, borrow_variance, reduce_scores
from cg_lab.analysis.stacking import Stack
from cg_lab.arms import Arm
from cg_lab.planning.plan import SeedDeviation

NAMES = tuple(map(str, range(100)))
MAIN, BLIND, UNRELATED, UNTOUCHED = ((arm, "", "t") for arm in (Arm.RELATED, Arm.BLIND, Arm.UNRELATED, Arm.ZERO_SHOT))


ALONE, MISMATCHED, MULTI_TASK = (Arm.ALONE, "a", "t"), (Arm.MISMATCHED, "", "t"), (Arm.MULTI_TASK, "", "t")


def answer(*shares: float, model: str = "m", first: int = 0) -> Stack:
    rows = np.stack([np.arange(100) < round(100 * share) for share in shares]).astype(float)
    places = range(first, first + len(shares))
    return Stack(
        seeds=tuple(places),
        scores=Scores(questions=NAMES, groups=NAMES, correct_SQ=rows),
        models=tuple(f"{model}{place}" for place in places),
    )


def untouched(share: float) -> Stack:
    stack = answer(share)
    return Stack(seeds=(), scores=stack.scores)


def ask(stacks: dict[Key, Stack], setting: str = "s") -> ArmStacks:
    return ArmStacks(setting=setting, main=MAIN, stacks=stacks)


def estimate(*asked: dict[Key, Stack]) -> list[ArmEstimates]:
    return estimate_arms([ask(stacks) for stacks in asked], 0.95)


def variance_of(found: ArmEstimates, key: Key) -> float | None:
    seeds = found.parts[key].seeds
    return None if seeds is None else float(seeds.variance)


FIVE = (0.5, 0.55, 0.6, 0.65, 0.7)
MAINS = {MAIN: answer(*FIVE), UNRELATED: answer(0.4, model="u")}


def test_one_seed_of_the_main_arm_is_about_that_very_model_whatever_others_say() -> None:
    one = {MAIN: answer(0.6), BLIND: answer(0.5), UNRELATED: answer(0.4, model="u")}
    first = estimate(one, MAINS, MAINS, MAINS)[0]
    assert first.parts[MAIN].seeds is None
    assert first.differences[BLIND].seeds is None


def test_one_seed_of_a_control_has_the_variance_of_the_other_targets() -> None:
    several = {MAIN: answer(*FIVE), UNRELATED: answer(0.3, 0.4, 0.5, model="u")}
    one = {MAIN: answer(*FIVE), UNRELATED: answer(0.4, model="u")}
    found = estimate(one, several, several, several)
    assert variance_of(found[0], UNRELATED) == pytest.approx(0.01)


def test_controls_of_one_seed_everywhere_have_the_main_arms_variance() -> None:
    found = estimate(MAINS)[0]
    assert variance_of(found, UNRELATED) == variance_of(found, MAIN) == pytest.approx(float(np.var(FIVE, ddof=1)))


def test_a_control_of_three_seeds_goes_by_its_own_where_there_are_few_targets() -> None:
    found = estimate({MAIN: answer(*FIVE), UNRELATED: answer(0.3, 0.4, 0.5, model="u")})[0]
    assert variance_of(found, UNRELATED) == pytest.approx(0.01)


def test_the_untouched_backbone_has_no_seeds() -> None:
    found = estimate({MAIN: answer(*FIVE), UNTOUCHED: untouched(0.3)})[0]
    assert found.parts[UNTOUCHED].seeds is None


def test_settings_lend_each_other_nothing() -> None:
    apart = estimate_arms([ask(MAINS, "s"), ask({MAIN: answer(0.6), UNRELATED: answer(0.4, model="u")}, "other")], 0.95)
    assert variance_of(apart[0], UNRELATED) is not None
    assert variance_of(apart[1], UNRELATED) is None


def test_a_model_less_itself_in_another_guise_is_one_arm_of_differences() -> None:
    blind = answer(*(share - 0.2 for share in FIVE))
    found = estimate({MAIN: answer(*FIVE), BLIND: blind, UNRELATED: answer(0.4, model="u")})[0]
    assert set(found.differences) == {BLIND}
    gain, _ = found.gains[MAIN, BLIND]
    assert float(gain.estimate) == pytest.approx(0.2)
    assert found.models(MAIN, BLIND) == (("m0", "m1", "m2", "m3", "m4"),)
    assert found.models(MAIN, UNRELATED) == (("m0", "m1", "m2", "m3", "m4"), ("u0",))


def test_a_gain_is_the_first_arm_less_the_second_and_nothing_where_one_has_no_answers() -> None:
    found = estimate({MAIN: answer(*FIVE), UNRELATED: answer(0.4, model="u"), UNTOUCHED: untouched(0.3)})[0]
    gain, interval = found.gains[MAIN, UNTOUCHED]
    assert float(gain.estimate) == interval.estimate == pytest.approx(0.3)
    back, _ = found.gains[UNTOUCHED, UNRELATED]
    assert float(back.estimate) == pytest.approx(-0.1)
    assert found.accuracies[UNRELATED].estimate == pytest.approx(0.4)
    assert found.models(UNTOUCHED, UNRELATED) == (("u0",),)
    assert not {(MAIN, BLIND), (BLIND, MAIN), (None, MAIN)} & set(found.gains)


def test_without_answers_of_the_main_arm_the_others_stand_by_themselves() -> None:
    found = estimate({BLIND: answer(*FIVE), UNRELATED: answer(0.3, 0.4, 0.5, model="u")})[0]
    assert not found.differences
    assert variance_of(found, UNRELATED) == pytest.approx(0.01)


def test_what_is_lent_is_the_mean_over_targets_of_each_study() -> None:
    lent = borrow_variance(np.array([[1.0, 3.0], [2.0, 6.0]]))
    assert np.asarray(lent.variance).tolist() == [[2.0], [4.0]]
    assert lent.freedom == 1.0


def test_what_earlier_studies_say_holds_for_arms_that_carry_the_claim_beside_what_single_answers_add() -> None:
    asked = {**MAINS, UNRELATED: answer(0.3, 0.4, 0.5, model="u")}
    main, floor = float(np.var(FIVE, ddof=1)), float(reduce_scores(asked[MAIN].scores).floor)
    untold = estimate_arms([ask(asked)], 0.95)[0]
    for freedom, weight in ((2, 2.0), (100, EXPECTED_FREEDOM)):
        known = {"s": SeedDeviation(setting="s", deviation=0.3, freedom=freedom, studies=("before",))}
        told = estimate_arms([ask(asked)], 0.95, known)[0]
        seeds = told.parts[MAIN].seeds
        assert seeds is not None
        assert float(seeds.freedom) == pytest.approx(weight + 4)
        assert float(seeds.variance) == pytest.approx((weight * (0.3**2 + floor) + 4 * main) / (weight + 4), rel=1e-6)
        assert variance_of(told, UNRELATED) == variance_of(untold, UNRELATED)


def test_what_earlier_studies_say_holds_for_sources_alone_and_for_what_an_image_adds() -> None:
    known = {"s": SeedDeviation(setting="s", deviation=0.3, freedom=2, studies=("before",))}
    asked = {MAIN: answer(*FIVE), ALONE: answer(0.3, 0.4, 0.5, model="a"), BLIND: answer(0.2, 0.3, 0.4)}
    found = estimate_arms([ask(asked)], 0.95, known)[0]
    for seeds in (found.parts[ALONE].seeds, found.differences[BLIND].seeds):
        assert seeds is not None
        assert float(seeds.freedom) == pytest.approx(2 + 2)


def test_the_main_arm_lends_its_variance_to_arms_of_any_name_and_place() -> None:
    found = estimate({ALONE: answer(0.4, model="a"), MAIN: answer(*FIVE)})[0]
    assert variance_of(found, ALONE) == variance_of(found, MAIN) is not None


def test_guises_of_a_model_lend_each_other_nothing() -> None:
    others = {(Arm.SHUFFLED, "", "t"): answer(*[0.3] * 5), (Arm.PARTIAL, "", "t"): answer(0.1, 0.9, 0.1, 0.9, 0.1)}
    seeds = estimate({MAIN: answer(*FIVE), BLIND: answer(0.3, 0.4, 0.4, 0.4, 0.5), **others})[0].differences
    found = seeds[Arm.SHUFFLED, "", "t"].seeds
    assert found is not None
    assert float(found.variance) == pytest.approx(float(np.var(FIVE, ddof=1)))


def test_limits_are_what_accuracies_and_gains_can_be() -> None:
    found = estimate({MAIN: answer(0.0, 1.0), UNTOUCHED: untouched(0.3)})[0]
    assert (found.accuracies[MAIN].low, found.accuracies[MAIN].high) == (0.0, 1.0)
    _, interval = found.gains[MAIN, UNTOUCHED]
    assert (interval.low, interval.high) == (-1.0, 1.0)


def test_gains_are_told_of_the_main_arm_over_all_and_of_others_over_what_they_are_compared_with() -> None:
    names = (ALONE, MISMATCHED, MULTI_TASK, UNRELATED, (Arm.UNRELATED, "more", "t"))
    others = {key: answer(0.4, model=f"{key[0]}{key[1]}") for key in names}
    found = estimate({MAIN: answer(*FIVE), BLIND: answer(*[0.3] * 5), **others})[0]
    told = {(MAIN, key) for key in (*names, BLIND)} | {(key, MAIN) for key in (*names, BLIND)}
    told |= {(key, UNRELATED) for key in (*names, BLIND) if key != UNRELATED} | {(MULTI_TASK, BLIND)}
    assert set(found.gains) == told


def test_earlier_studies_of_another_setting_say_nothing() -> None:
    known = {"other": SeedDeviation(setting="other", deviation=0.3, freedom=100, studies=("before",))}
    assert variance_of(estimate_arms([ask(MAINS)], 0.95, known)[0], MAIN) == variance_of(estimate(MAINS)[0], MAIN)
