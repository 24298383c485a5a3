"""Whole studies, from answers to words: who may claim what, and within which family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from cg_lab.analysis.arm_estimates import ArmStacks, estimate_arms
from cg_lab.analysis.bootstrap import Scores
from cg_lab.analysis.effects import StudyEffects, compute_effects
from cg_lab.analysis.family import RegisteredFamily
from cg_lab.analysis.stacking import Stack
from cg_lab.analysis.synergy import combine_sources
from cg_lab.analysis.verdict import Verdict
from cg_lab.arms import Arm
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.planning.plan import Cell, Plan
from tests.planning.cases import plan_one

QUESTIONS = 240
SHARES = {Arm.ZERO_SHOT: 0.3, Arm.UNRELATED: 0.32, Arm.RELATED: 0.6, Arm.CEILING: 0.95, Arm.BLIND: 0.3}


@cache
def plan_study(seeds: str = "[0,1,2,3,4]", arms: str = "[zero_shot,unrelated,related,ceiling,blind]") -> Plan:
    study = read_study(["experiment=phantom_two_source", "rule.resamples=100", f"seeds={seeds}", f"arms={arms}"])
    return plan_one(study, read_catalog(study.data))


def answer(plan: Plan, share: Callable[[Cell], float] = lambda cell: SHARES.get(cell.arm, 0.5)) -> dict[str, Scores]:
    """Let every evaluation answer with an accuracy of its own, on questions that are all as hard."""
    names = tuple(map(str, range(QUESTIONS)))
    found: dict[str, Scores] = {}
    for cell in plan.cells:
        generator = np.random.default_rng(list(cell.eval_job.encode()))
        right = (generator.random((1, QUESTIONS)) < share(cell)).astype(float)
        found[cell.eval_job] = Scores(questions=names, groups=names, correct_SQ=right)
    return found


def judge(plan: Plan, scores: Mapping[str, Scores], registered: RegisteredFamily | None = None) -> StudyEffects:
    return compute_effects(plan, scores, {}, registered)


def take_targets(plan: Plan, count: int) -> Plan:
    contrasts = plan.contrasts[:count]
    kept = {contrast.id for contrast in contrasts}
    return replace(plan, contrasts=contrasts, cells=tuple(cell for cell in plan.cells if cell.contrast in kept))


def drop(plan: Plan, arm: Arm, seeds: set[int]) -> Plan:
    return replace(plan, cells=tuple(cell for cell in plan.cells if cell.arm is not arm or cell.seed not in seeds))


def list_all(plan: Plan) -> tuple[str, ...]:
    return tuple(contrast.id for contrast in plan.contrasts)


def test_without_sources_alone_related_training_transfers_and_the_reason_says_what_is_missing() -> None:
    effects = judge(plan_study(), answer(plan_study()))
    assert {part.word for part in effects.contrasts} == {"transfers"}
    first = effects.contrasts[0]
    assert f"no arm of {', '.join(first.contrast.related)} alone" in first.reason


def test_a_combination_that_beats_each_source_alone_composes_and_one_that_equals_its_better_source_does_not() -> None:
    plan = plan_study(arms="null")
    enough = plan.contrasts[0].related[0]
    shares = {**SHARES, Arm.ALONE: 0.4, Arm.MISMATCHED: 0.35, Arm.SHUFFLED: 0.3, Arm.SOURCES: 0.9}
    apart = judge(plan, answer(plan, lambda cell: shares[cell.arm])).contrasts
    assert {part.word for part in apart} == {"composes"}
    one = judge(plan, answer(plan, lambda cell: 0.6 if cell.variant == enough else shares[cell.arm])).contrasts
    words = {part.word for part in one if enough in part.contrast.related}
    assert words == {"transfers"}
    assert {part.word for part in one if enough not in part.contrast.related} == {"composes"}
    assert {part.combination.sufficient for part in one if enough in part.contrast.related} == {enough}


def test_a_study_of_fewer_targets_over_results_that_are_there_keeps_the_family_of_before() -> None:
    plan, scores = (
        plan_study(),
        answer(plan_study(), lambda cell: {Arm.RELATED: 0.42}.get(cell.arm, SHARES.get(cell.arm, 0.5))),
    )
    few = take_targets(plan, 1)
    alone = judge(few, scores).contrasts[0]
    within = judge(few, scores, RegisteredFamily(contrasts=list_all(plan))).contrasts[0]
    assert alone.p_holm is not None
    assert within.p_holm == pytest.approx(min(1.0, 4 * alone.p_holm))
    whole = judge(plan, scores).contrasts[0].decision
    family = RegisteredFamily(contrasts=list_all(few), decided={few.contrasts[0].id: whole}, earlier="before")
    assert judge(few, scores, family).contrasts[0].decision == whole


def test_seeds_that_came_after_results_make_a_claim_exploratory_in_its_very_word() -> None:
    plan = plan_study()
    scores = answer(plan)
    family = RegisteredFamily(contrasts=list_all(plan), seeds=(0, 1, 2))
    late = judge(plan, scores, family)
    assert {part.word for part in late.contrasts} == {"transfers (exploratory)"}
    assert "seeds 3, 4" in late.contrasts[0].reason
    planned = judge(plan, scores, replace(family, seeds=(0, 1, 2, 3, 4)))
    assert {part.word for part in planned.contrasts} == {"transfers"}


@pytest.mark.parametrize("rule", [{"confidence": 0.9}, {"family": "false_discovery_rate"}, {"looks": (3, 5)}])
def test_another_rule_than_the_registered_one_makes_a_claim_exploratory(rule: dict[str, object]) -> None:
    plan = plan_study()
    changed = replace(plan, rule=replace(plan.rule, **rule))  # type: ignore[arg-type]
    family = RegisteredFamily(contrasts=list_all(plan), seeds=(0, 1, 2, 3, 4), rule=plan.rule)
    assert {part.is_exploratory for part in judge(changed, answer(plan), family).contrasts} == {True}


def test_a_question_that_was_added_is_exploratory_and_the_others_are_not() -> None:
    plan = plan_study()
    words = [part.word for part in judge(plan, answer(plan), RegisteredFamily(contrasts=list_all(plan)[1:])).contrasts]
    assert words == ["transfers (exploratory)", "transfers", "transfers", "transfers"]


def test_one_seed_has_numbers_about_that_very_model_and_no_word() -> None:
    effects = judge(plan_study("[0]"), answer(plan_study("[0]")))
    for part in effects.contrasts:
        assert (part.verdict, part.p_holm) == (Verdict.CANNOT_SAY, None)
        assert "one seed" in part.reason
        assert part.main is not None
        gain = part.main.gains[Arm.ZERO_SHOT]
        assert gain.high - gain.low < 0.2


def test_arms_may_have_seeds_of_their_own() -> None:
    """Five related seeds, two unrelated ones and one ceiling: all related seeds count in every gain."""
    plan = plan_study()
    scores = answer(plan)
    few = drop(drop(plan, Arm.UNRELATED, {2, 3, 4}), Arm.CEILING, {1, 2, 3, 4})
    for part, whole in zip(judge(few, scores).contrasts, judge(plan, scores).contrasts, strict=True):
        arms = {effect.arm: effect for effect in part.arms}
        related, unrelated = arms[Arm.RELATED], arms[Arm.UNRELATED]
        assert (len(related.seeds), len(unrelated.seeds), len(arms[Arm.CEILING].seeds)) == (5, 2, 1)
        assert related.accuracy is not None
        assert unrelated.accuracy is not None
        expected = related.accuracy.estimate - unrelated.accuracy.estimate
        assert related.gains[Arm.UNRELATED].estimate == pytest.approx(expected)
        assert part.verdict is whole.verdict is Verdict.TRANSFERS


def test_seeds_of_different_arms_are_not_paired_by_their_number() -> None:
    plan = plan_study()
    scores = answer(plan, lambda cell: SHARES.get(cell.arm, 0.5) + 0.05 * ((cell.seed or 0) - 2))
    turned = replace(
        plan,
        cells=tuple(
            replace(cell, seed=4 - (cell.seed or 0)) if cell.arm is Arm.UNRELATED else cell for cell in plan.cells
        ),
    )
    for part, other in zip(judge(plan, scores).contrasts, judge(turned, scores).contrasts, strict=True):
        assert part.main is not None
        assert other.main is not None
        first, second = part.main.gains[Arm.UNRELATED], other.main.gains[Arm.UNRELATED]
        assert (first.low, first.high) == pytest.approx((second.low, second.high))


def test_a_blind_run_is_paired_with_its_own_model() -> None:
    """Seeds that lie far apart with and without the image alike: the gain over blind does not vary with them."""
    plan = plan_study()
    shift = {0: -0.2, 1: -0.1, 2: 0.0, 3: 0.1, 4: 0.2}
    scores = answer(plan, lambda cell: SHARES.get(cell.arm, 0.5) + shift[cell.seed or 0])
    main = judge(plan, scores).contrasts[0].main
    assert main is not None
    blind, unrelated = main.gains[Arm.BLIND], main.gains[Arm.UNRELATED]
    assert blind.high - blind.low < (unrelated.high - unrelated.low) / 2


def test_a_blind_runs_own_gain_over_its_model_is_that_models_gain_turned_round() -> None:
    plan = plan_study()
    (first, *_) = judge(plan, answer(plan)).contrasts
    blind = first.arm(Arm.BLIND)
    assert first.main is not None
    assert blind is not None
    there, back = first.main.gains[Arm.BLIND], blind.gains[Arm.RELATED]
    assert (back.estimate, back.low, back.high) == pytest.approx((-there.estimate, -there.high, -there.low))
    assert back.p_value == pytest.approx(there.p_value)


def make_stack(share: float, name: str, seeds: int = 5) -> Stack:
    generator = np.random.default_rng([seeds, *name.encode()])
    names = tuple(map(str, range(QUESTIONS)))
    right = (generator.random((seeds, QUESTIONS)) < share).astype(float)
    models = tuple(f"{name}{seed}" for seed in range(seeds))
    scores = Scores(questions=names, groups=names, correct_SQ=right)
    return Stack(seeds=tuple(range(seeds)), scores=scores, models=models)


@pytest.mark.parametrize(
    ("alone", "is_above", "sufficient"),
    [({"a": 0.3, "b": 0.35}, True, ""), ({"a": 0.3, "b": 0.8}, False, "b"), ({"a": 0.9, "b": 0.3}, False, "a")],
)
def test_what_sources_do_together_is_told_beside_what_each_does_alone(
    alone: dict[str, float], is_above: bool, sufficient: str
) -> None:
    keys = {source: (Arm.PARTIAL, source, "t") for source in alone}
    main = (Arm.RELATED, "", "t")
    asked = [
        ArmStacks(
            setting="",
            main=main,
            stacks={
                main: make_stack(0.8, f"r{place}"),
                (Arm.UNRELATED, "", "t"): make_stack(0.3, f"u{place}", 2),
                **{keys[source]: make_stack(share, f"{source}{place}") for source, share in alone.items()},
            },
        )
        for place in range(4)
    ]
    found = combine_sources(estimate_arms(asked, 0.95)[0], keys, 0.95)
    assert found.synergy is not None
    assert found.interaction is not None
    assert found.sufficient == sufficient
    assert found.synergy.estimate == pytest.approx(min(gain.estimate for gain in found.over_alone.values()))
    assert (found.synergy.low > 0) == is_above
    odds = [np.log(share / (1 - share)) for share in (0.8, *alone.values(), 0.3)]
    assert found.interaction.low <= odds[0] - odds[1] - odds[2] + odds[3] <= found.interaction.high
