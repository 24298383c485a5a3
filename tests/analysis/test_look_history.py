"""Seeds are spent from look to look, and only where nothing is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import pytest

from cg_lab.analysis.bootstrap import Scores
from cg_lab.analysis.effects import StudyEffects, compute_effects
from cg_lab.analysis.look_history import Look, LookHistory, find_end
from cg_lab.analysis.verdict import Decision, Verdict
from cg_lab.arms import Arm
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.due_seeds import place_cells, take_due
from cg_lab.errors import UserError
from cg_lab.planning.plan import Cell, Plan, SeedDeviation
from tests.analysis.test_study_verdicts import answer
from tests.analysis.test_verdict import GOOD, gain
from tests.planning.cases import plan_one

SHARES = {
    Arm.ZERO_SHOT: 0.3, Arm.UNRELATED: 0.32, Arm.RELATED: 0.6, Arm.CEILING: 0.95, Arm.BLIND: 0.3, Arm.ALONE: 0.35,
    Arm.MISMATCHED: 0.35, Arm.SHUFFLED: 0.3, Arm.SOURCES: 0.9,
}  # fmt: skip


@cache
def plan_looks(*overrides: str) -> Plan:
    given = ["experiment=phantom_two_source", "rule.resamples=100", "looks=[3,5,8]", *overrides]
    study = read_study(given)
    return plan_one(study, read_catalog(study.data))


def run_looks(plan: Plan, scores: Mapping[str, Scores]) -> StudyEffects:
    """Give answers to what is due, look at them, and so on until nothing more is due."""
    due = take_due(plan, {})
    while True:
        there = {cell.eval_job: scores[cell.eval_job] for cell in due.cells}
        effects = compute_effects(plan, there, {})
        after = take_due(plan, effects.due)
        if after.cells == due.cells:
            return effects
        due = after


def share_of(cell: Cell, target: str, share: float) -> float:
    """Give one target's related models an accuracy of their own."""
    is_meant = cell.contrast.startswith(target) and cell.arm is Arm.RELATED
    return share if is_meant else SHARES[cell.arm]


def test_the_last_look_says_how_many_seeds_the_claims_arms_have_and_controls_keep_theirs() -> None:
    plan = plan_looks()
    seeds = {
        arm: {cell.seed for cell in plan.cells if cell.arm is arm} for arm in (Arm.RELATED, Arm.ALONE, Arm.UNRELATED)
    }
    assert seeds == {Arm.RELATED: set(range(8)), Arm.ALONE: set(range(8)), Arm.UNRELATED: {0, 1}}
    assert read_study(["looks=[3,4]", "seeds=[7,2,0,1,5]"]).planned_seeds == (7, 2, 0, 1)
    assert read_study(["looks=[3,4]", "seeds=[1]"]).planned_seeds == (1, 0, 2, 3)


def test_the_first_look_needs_the_first_seeds_of_every_arm() -> None:
    plan = plan_looks()
    due = take_due(plan, {})
    assert {cell.seed for cell in due.cells if cell.arm is Arm.ALONE} == {0, 1, 2}
    assert {cell.seed for cell in due.cells if cell.arm is Arm.BLIND} == {0, 1, 2}
    assert {cell.seed for cell in due.cells if cell.arm is Arm.UNRELATED} == {0, 1}
    jobs = {job.id for job in due.finetunes}
    assert jobs == {cell.finetune_job for cell in due.cells if cell.finetune_job}
    assert due.id == plan.id


def test_a_clear_answer_takes_the_first_look_alone() -> None:
    plan = plan_looks()
    effects = run_looks(plan, answer(plan, lambda cell: SHARES[cell.arm]))
    assert {part.word for part in effects.contrasts} == {"composes"}
    assert [look.num_seeds for look in effects.looks] == [3]
    assert {part.standing for part in effects.contrasts} == {"claimed at the look with 3 seeds"}
    assert effects.missing == ()


def test_seeds_go_only_where_nothing_is_decided() -> None:
    """Sources alone are as good as both, by a hair: only that question goes on to the last look."""
    plan = plan_looks("design.prefer=hash", "rule.matters=1")
    open_ = plan.contrasts[0]
    scores = answer(plan, lambda cell: share_of(cell, open_.id, 0.38))
    effects = run_looks(plan, scores)
    seeds = {part.contrast.id: len(part.main.seeds) for part in effects.contrasts if part.main}
    assert seeds.pop(open_.id) == 8
    assert set(seeds.values()) == {3}
    assert effects.missing == ()
    assert [sorted(look.words) for look in effects.looks[1:]] == [[open_.id]] * 2


def test_a_gain_that_is_surely_too_small_to_matter_gets_no_more_seeds() -> None:
    plan = plan_looks("rule.matters=20")
    effects = run_looks(plan, answer(plan, lambda cell: {**SHARES, Arm.RELATED: 0.33}[cell.arm]))
    assert {part.verdict for part in effects.contrasts} == {Verdict.NO_EVIDENCE}
    assert {part.standing.split(",")[0] for part in effects.contrasts} == {"given no more seeds"}
    assert "given no more seeds, its gain being surely smaller than one that matters" in effects.contrasts[0].reason
    assert len(effects.looks) == 1


def test_what_matters_is_given_in_points_and_ends_a_question_whose_gain_is_at_most_just_smaller() -> None:
    plan = plan_looks("targets=[us-breast-mass]")
    scores = answer(plan, lambda cell: {**SHARES, Arm.RELATED: 0.33}[cell.arm])
    first = {cell.eval_job: scores[cell.eval_job] for cell in take_due(plan, {}).cells}
    main = compute_effects(plan, first, {}).contrasts[0].main
    assert main
    highest = min(main.gains[arm].high for arm in (Arm.ZERO_SHOT, Arm.UNRELATED, Arm.BLIND))
    for matters, ended in ((99.9 * highest, []), (100.5 * highest, ["futile"])):
        given = replace(plan, rule=replace(plan.rule, matters=matters))
        assert list(compute_effects(given, first, {}).looks[0].ended.values()) == ended


def test_a_question_that_no_seeds_would_answer_gets_none() -> None:
    plan = plan_looks()
    effects = run_looks(plan, answer(plan, lambda cell: {**SHARES, Arm.CEILING: 0.3}[cell.arm]))
    assert {part.verdict for part in effects.contrasts} == {Verdict.CANNOT_SAY}
    assert len(effects.looks) == 1


def test_between_two_looks_the_word_of_the_last_one_stands() -> None:
    """A seed of the second look is missing: the first look's word and numbers hold, and what is due is missing."""
    plan = plan_looks("design.prefer=hash")
    scores = answer(plan, lambda cell: {**SHARES, Arm.RELATED: 0.44}[cell.arm])
    first = compute_effects(plan, {cell.eval_job: scores[cell.eval_job] for cell in take_due(plan, {}).cells}, {})
    places = place_cells(plan)
    some = {cell.eval_job: scores[cell.eval_job] for cell in plan.cells if places[cell.key] <= 4}
    between = compute_effects(plan, some, {})
    assert [part.decision for part in between.contrasts] == [part.decision for part in first.contrasts]
    assert first.due == between.due
    assert {part.standing for part in first.contrasts} == {"next look with 5 seeds"}
    assert {cell.reason for cell in between.missing} == {"not run yet"}
    assert all(cell.cell.endswith("seed4") for cell in between.missing)


def test_a_missing_cell_of_the_first_look_leaves_its_question_without_a_word_and_without_more_seeds() -> None:
    plan = plan_looks("design.prefer=hash")
    scores = answer(plan, lambda cell: {**SHARES, Arm.RELATED: 0.44}[cell.arm])
    first = plan.contrasts[0].id
    gone = next(cell.eval_job for cell in plan.cells if cell.contrast == first and cell.arm is Arm.CEILING)
    effects = compute_effects(plan, {job: score for job, score in scores.items() if job != gone}, {})
    words = {part.contrast.id: part.verdict for part in effects.contrasts}
    assert words.pop(first) is Verdict.CANNOT_SAY
    assert Verdict.CANNOT_SAY not in words.values()
    assert effects.contrasts[0].reason.startswith("cells are missing")
    assert effects.due[first] == 3


def test_a_claim_is_the_same_whether_later_seeds_are_there_or_not() -> None:
    plan = plan_looks("design.prefer=hash")
    scores = answer(plan, lambda cell: SHARES[cell.arm])
    early = compute_effects(plan, {cell.eval_job: scores[cell.eval_job] for cell in take_due(plan, {}).cells}, {})
    late = compute_effects(plan, scores, {})
    assert [part.decision for part in early.contrasts] == [part.decision for part in late.contrasts]
    assert early.looks == late.looks


def test_a_question_stands_as_its_own_last_look_left_it() -> None:
    looks = tuple(
        Look(num_seeds=seeds, words=dict.fromkeys(names, Verdict.NO_EVIDENCE), ended={})
        for seeds, names in ((3, "ab"), (5, "b"))
    )
    history = LookHistory(decisions=(), looks=looks, due={"a": 5, "b": 5, "c": 1})
    assert [history.tell(name) for name in "abc"] == ["next look with 5 seeds", "", "next look with 1 seeds"]


@pytest.mark.parametrize(
    ("verdict", "alone", "matters", "end"),
    [
        (Verdict.COMPOSES, {}, 0.0, "claimed"),
        (Verdict.HARMS, {}, 0.0, "claimed"),
        (Verdict.CANNOT_SAY, {}, 1.0, "no use"),
        (Verdict.TRANSFERS, {}, 0.0, "claimed"),
        (Verdict.TRANSFERS, {"a": 0.1, "b": 0.1}, 0.19, None),
        (Verdict.TRANSFERS, {"a": 0.1, "b": 0.05}, 0.19, "futile"),
        (Verdict.NO_EVIDENCE, {}, 0.29, None),
        (Verdict.NO_EVIDENCE, {}, 0.31, "futile"),
    ],
)
def test_seeds_end_where_a_claim_is_made_or_what_is_left_is_surely_too_small(
    verdict: Verdict, alone: dict[str, float], matters: float, end: str | None
) -> None:
    evidence = replace(GOOD, over_alone={source: gain(value) for source, value in alone.items()})
    assert find_end(Decision(verdict=verdict, reason="", p_holm=None), evidence, matters) == end


def test_a_gain_that_may_be_just_as_large_as_matters_gets_more_seeds() -> None:
    evidence = replace(GOOD, over_blind=gain(0.25))
    undecided = Decision(verdict=Verdict.NO_EVIDENCE, reason="", p_holm=None)
    assert evidence.over_blind is not None
    assert find_end(undecided, evidence, evidence.over_blind.high - 0.05) is None
    assert find_end(undecided, replace(GOOD, over_blind=gain(0.15)), gain(0.15).high) is None


def test_what_earlier_studies_say_of_seeds_counts_at_each_look() -> None:
    plan = plan_looks("design.prefer=hash", "targets=[us-breast-mass]")
    scores = answer(plan, lambda cell: {**SHARES, Arm.RELATED: 0.44}[cell.arm])
    told = SeedDeviation(setting=plan.settings[0].name, deviation=0.5, freedom=100, studies=("before",))
    first, second = (
        compute_effects(replace(plan, seed_deviations=known), scores, {}).contrasts[0].p_holm for known in ((), (told,))
    )
    assert first is not None
    assert second is not None
    assert second > first


@pytest.mark.parametrize(
    ("looks", "told"),
    [("[5,3]", "each look has more seeds"), ("[3,3]", "each look has more seeds"), ("[2,5]", "takes 3 seeds")],
)
def test_looks_that_make_no_sense_are_refused(looks: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_study([f"looks={looks}"])


def test_a_plan_without_looks_is_due_as_a_whole() -> None:
    plan = replace(plan_looks(), rule=replace(plan_looks().rule, looks=()))
    assert take_due(plan, {}) is plan
    effects = compute_effects(plan, answer(plan, lambda cell: SHARES[cell.arm]), {})
    assert (effects.looks, effects.due) == ((), {})
    assert {part.standing for part in effects.contrasts} == {""}
