"""The rule of the verdicts at its edges: which comparison decides, which sign, which side of the level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cg_lab.analysis.adjusted_p_values import adjust_sequences, adjust_steps
from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.looks import combine_looks
from cg_lab.analysis.verdict import Decision, Evidence, Rules, Verdict, decide
from cg_lab.planning.study_power import share_level

COMPARISONS = ("over_zero_shot", "over_unrelated", "over_blind")
RULES = Rules(level=0.05)


def gain(estimate: float, p_value: float = 0.001, *, low: float = 0.01) -> Interval:
    return Interval(estimate=estimate, low=low, high=estimate + 0.1, p_value=p_value)


GOOD = Evidence(
    fully_covered=True,
    sees_target=False,
    complete=True,
    num_seeds=5,
    over_zero_shot=gain(0.2),
    over_unrelated=gain(0.2),
    over_blind=gain(0.2),
    ceiling_over_zero_shot=gain(0.4),
    sources=("a", "b"),
    over_alone={"a": gain(0.1), "b": gain(0.1)},
)
BAD = replace(GOOD, over_zero_shot=gain(-0.2), over_unrelated=gain(-0.2), over_blind=gain(-0.2))


def judge(evidence: Evidence, rules: Rules = RULES) -> Decision:
    return decide([[evidence]], rules)[0]


def test_composing_takes_every_control_and_every_source_alone() -> None:
    decision = judge(GOOD)
    assert (decision.verdict, decision.p_holm, decision.p_composes) == (Verdict.COMPOSES, 0.001, 0.001)
    assert decision.reason == "above zero-shot, unrelated, blind and each source alone, adjusted p = 0.001"


@pytest.mark.parametrize("source", ["a", "b"])
@pytest.mark.parametrize("alone", [gain(0.1, 0.3), gain(0.0), gain(-0.1)])
def test_a_source_that_is_not_beaten_leaves_transfer_and_is_named(source: str, alone: Interval) -> None:
    decision = judge(replace(GOOD, over_alone={**GOOD.over_alone, source: alone}))
    assert decision.verdict is Verdict.TRANSFERS
    assert [part.over for part in decision.unresolved] == [f"{source} alone"]
    assert f"not resolved: over {source} alone" in decision.reason


@pytest.mark.parametrize("parts", [{"over_alone": {"a": gain(0.1)}}, {"over_alone": {}}, {"sources": ()}])
def test_without_an_arm_for_each_source_the_word_is_transfers_at_most(parts: dict[str, object]) -> None:
    decision = judge(replace(GOOD, **parts))  # type: ignore[arg-type]
    assert (decision.verdict, decision.p_composes) == (Verdict.TRANSFERS, None)


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_the_worst_of_the_three_p_values_is_that_of_transfer(comparison: str) -> None:
    decision = judge(replace(GOOD, **{comparison: gain(0.2, 0.2)}))
    assert (decision.verdict, decision.p_holm) == (Verdict.NO_EVIDENCE, 0.2)
    assert [part.over for part in decision.unresolved] == [comparison.removeprefix("over_").replace("_", "-")]


@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("estimate", [0.0, -0.2])
def test_a_comparison_that_is_not_above_zero_leaves_no_claim_at_any_level(comparison: str, estimate: float) -> None:
    for level in (0.05, 0.99):
        decision = judge(replace(GOOD, **{comparison: gain(estimate)}), Rules(level=level))
        assert (decision.verdict, decision.p_holm) == (Verdict.NO_EVIDENCE, 1.0)


@pytest.mark.parametrize("comparison", COMPARISONS[:2])
@pytest.mark.parametrize("estimate", [0.0, 0.2])
def test_harm_is_below_both_the_untouched_and_the_unrelated_model(comparison: str, estimate: float) -> None:
    decision = judge(replace(BAD, **{comparison: gain(estimate)}), Rules(level=0.99))
    assert (decision.verdict, decision.p_holm) == (Verdict.NO_EVIDENCE, 1.0)


@pytest.mark.parametrize("comparison", COMPARISONS[:2])
def test_harm_needs_both_p_values_and_not_that_over_blind(comparison: str) -> None:
    decision = judge(replace(BAD, over_blind=gain(0.1, 0.9), **{comparison: gain(-0.2, 0.02)}))
    assert (decision.verdict, decision.p_holm) == (Verdict.HARMS, 0.02)
    assert judge(replace(BAD, **{comparison: gain(-0.2, 0.4)})).verdict is Verdict.NO_EVIDENCE


@pytest.mark.parametrize(("evidence", "verdict"), [(GOOD, Verdict.COMPOSES), (BAD, Verdict.HARMS)])
def test_a_p_value_at_the_level_claims_and_rounding_takes_nothing_away(evidence: Evidence, verdict: Verdict) -> None:
    sign = 1 if verdict is Verdict.COMPOSES else -1
    for p_value, expected in ((0.05, verdict), (0.05 + 1e-12, verdict), (0.05 + 1e-11, Verdict.NO_EVIDENCE)):
        assert judge(replace(evidence, over_zero_shot=gain(sign * 0.2, p_value))).verdict is expected


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"sees_target": True}, "the target's own data are part of training or prompt, so that nothing is held out"),
        *(({comparison: None}, "the design has no unrelated or no blind arm here") for comparison in COMPARISONS),
        (
            {"fully_covered": False},
            "an element of the target is covered by no related subset, so a gain is transfer, not recombination",
        ),
        (
            {"whole_sources": ("one", "other")},
            "each of one, other alone shows the whole combination, so a gain is transfer, not recombination",
        ),
        *(
            (
                {"ceiling_over_zero_shot": ceiling},
                "even training on the target itself does not lift the model above the untouched backbone",
            )
            for ceiling in (gain(0.4, low=0.0), gain(0.4, low=-0.1))
        ),
        (
            {"ceiling_over_zero_shot": None},
            "no model was trained on the target itself (the arm ceiling), so it is not known whether that lifts any",
        ),
        ({"num_seeds": 1}, "one seed: numbers are about that very model; a verdict takes 3 seeds"),
        ({"num_seeds": 2}, "two seeds tell too little about how trainings differ; a third makes a verdict possible"),
    ],
)
def test_what_keeps_a_question_from_being_tested_is_told_and_costs_the_others_nothing(
    parts: dict[str, object], reason: str
) -> None:
    other = replace(GOOD, over_blind=gain(0.2, 0.03))
    decisions = decide([[replace(GOOD, **parts), other]], RULES)  # type: ignore[arg-type]
    assert decisions[0] == Decision(verdict=Verdict.CANNOT_SAY, reason=reason, p_holm=None)
    assert decisions[1].p_holm == 0.03


def test_a_question_whose_cells_are_missing_keeps_its_share_of_the_level() -> None:
    decisions = decide([[replace(GOOD, complete=False), replace(GOOD, over_blind=gain(0.2, 0.03))]], RULES)
    assert decisions[0] == Decision(verdict=Verdict.CANNOT_SAY, reason="cells are missing", p_holm=None)
    assert decisions[1].p_holm == pytest.approx(0.06)


def test_questions_of_the_family_that_are_not_asked_any_more_keep_their_share() -> None:
    weak = replace(GOOD, over_unrelated=gain(0.6, 0.03))
    assert judge(weak).verdict is Verdict.COMPOSES
    decision = judge(weak, Rules(level=0.05, further=3))
    assert (decision.verdict, decision.p_holm) == (Verdict.NO_EVIDENCE, pytest.approx(0.12))
    assert decision.unresolved[0].is_resolved_alone
    assert "resolved by itself, but not among 4 questions: over unrelated (+60 points, p = 0.03)" in decision.reason


def test_a_question_hands_its_share_on_only_once_its_last_claim_is_made() -> None:
    """At .05 / 2 both first claims fail but one; the other's needs the whole level."""
    other = replace(GOOD, over_unrelated=gain(0.2, 0.04))
    composing, transferring = GOOD, replace(GOOD, over_alone={"a": gain(0.1), "b": gain(0.1, 0.5)})
    assert decide([[composing, other]], RULES)[1].verdict is Verdict.COMPOSES
    assert decide([[transferring, other]], RULES)[1].verdict is Verdict.NO_EVIDENCE


def test_looks_share_the_level_and_an_early_claim_stays() -> None:
    looks = Rules(level=0.05, looks=(3, 5, 8, 12))
    early, late = replace(GOOD, num_seeds=3), replace(GOOD, over_unrelated=gain(0.2, 0.02))
    assert decide([[early], [replace(late, num_seeds=5)]], looks)[0].verdict is Verdict.COMPOSES
    again = [[replace(late, num_seeds=seeds)] for seeds in looks.looks]
    assert [decide(again[:count], looks)[0].verdict for count in (1, 2, 3, 4)] == [
        Verdict.NO_EVIDENCE, Verdict.NO_EVIDENCE, Verdict.NO_EVIDENCE, Verdict.COMPOSES,
    ]  # fmt: skip


def test_what_a_look_leaves_unresolved_is_told_as_such() -> None:
    decision = judge(replace(GOOD, over_blind=gain(0.2, 0.03)), Rules(level=0.05, looks=(5, 8)))
    assert "resolved by itself, but not at this look: over zero-shot (+20 points, p = 0.001)" in decision.reason
    assert [part.over for part in decision.unresolved] == ["zero-shot", "unrelated", "blind"]


@pytest.mark.parametrize("missing", [COMPARISONS, *((comparison,) for comparison in COMPARISONS)])
def test_a_look_at_which_a_control_had_no_answers_yet_claims_nothing(missing: tuple[str, ...]) -> None:
    looks = Rules(level=0.05, looks=(3, 5))
    before = replace(GOOD, num_seeds=3, **dict.fromkeys(missing))  # type: ignore[arg-type]
    now = replace(GOOD, num_seeds=5, over_blind=gain(0.2, 0.3))
    assert decide([[before], [now]], looks)[0].verdict is Verdict.NO_EVIDENCE
    assert decide([[before], [replace(GOOD, num_seeds=5)]], looks)[0].verdict is Verdict.COMPOSES


def test_p_values_of_looks_are_never_above_1() -> None:
    assert combine_looks([np.array(0.9), np.array(0.4)], share_level(4)).item() == 1.0


def test_the_second_claims_p_value_is_told_before_and_after_adjustment() -> None:
    alone = replace(GOOD, over_alone={"a": gain(0.1, 0.004), "b": gain(0.1, 0.002)})
    decisions = decide([[alone, GOOD]], RULES)
    assert [decision.p_composes_alone for decision in decisions] == [0.004, 0.001]
    assert [decision.p_composes for decision in decisions] == [pytest.approx(0.004), pytest.approx(0.002)]


def test_a_look_whose_seeds_a_question_does_not_have_leaves_it_as_it_was() -> None:
    looks = Rules(level=0.05, looks=(3, 5, 8, 12))
    first = replace(GOOD, over_unrelated=gain(0.2, 0.02), num_seeds=3)
    later = replace(GOOD, is_counted=False)
    assert decide([[first], [later], [later]], looks) == decide([[first]], looks)
    assert decide([[first], [replace(later, is_counted=True)]], looks)[0].verdict is Verdict.COMPOSES


def test_the_share_of_false_claims_may_be_held_in_the_place_of_any() -> None:
    weak = [replace(GOOD, over_unrelated=gain(0.2, p_value)) for p_value in (0.01, 0.02, 0.03, 0.04)]
    strict = [decision.verdict for decision in decide([weak], Rules(level=0.05))]
    assert strict == [Verdict.COMPOSES, Verdict.NO_EVIDENCE, Verdict.NO_EVIDENCE, Verdict.NO_EVIDENCE]
    spread = decide([weak], Rules(level=0.05, family="false_discovery_rate"))
    assert {decision.verdict for decision in spread} == {Verdict.COMPOSES}


def test_a_single_claim_of_a_single_question_is_adjusted_by_nothing() -> None:
    assert adjust_sequences(np.array([[0.02]])).tolist() == [[0.02]]
    assert adjust_steps(np.array([0.02])).tolist() == [0.02]


def test_p_values_of_the_share_of_false_claims_are_never_above_1() -> None:
    given = np.array([[0.9, 0.9], [0.95, 0.97]])
    assert adjust_sequences(given, "false_discovery_rate", 5).tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (
            {"over_zero_shot": gain(0.2, 0.2), "over_unrelated": gain(0.1, 0.3), "over_blind": gain(0.2, 0.03)},
            "not resolved: over zero-shot (+20 points, p = 0.2), over unrelated (+10 points, p = 0.3); resolved by "
            "itself, but not among 2 questions: over blind (+20 points, p = 0.03); adjusted p = 0.6",
        ),
        (
            {"over_unrelated": gain(0.2, 0.04), "over_blind": gain(0.2, 0.03), "over_alone": {"a": gain(0.1, 0.2)}},
            "resolved by itself, but not among 2 questions: over unrelated (+20 points, p = 0.04), over blind "
            "(+20 points, p = 0.03); adjusted p = 0.08",
        ),
        (
            {"over_alone": {"a": gain(0.1), "b": gain(0.1, 0.5)}},
            "above zero-shot, unrelated and blind, adjusted p = 0.002; not resolved: over b alone (+10 points, "
            "p = 0.5)",
        ),
        (
            {"sources": ()},
            "above zero-shot, unrelated and blind, adjusted p = 0.002; with so many sources none can be taken alone, "
            "so that no more can be said",
        ),
    ],
)
def test_a_reason_names_each_comparison_that_is_not_resolved(parts: dict[str, object], reason: str) -> None:
    """Beside a question that only transfers, which keeps its half of the level."""
    transferring = replace(GOOD, over_alone={"a": gain(0.1), "b": gain(0.1, 0.5)})
    assert decide([[replace(GOOD, **parts), transferring]], RULES)[0].reason == reason  # type: ignore[arg-type]


def test_a_comparison_at_the_very_level_is_resolved_alone_and_among_one_question() -> None:
    decision = judge(replace(GOOD, over_zero_shot=gain(0.2, 0.3), over_unrelated=gain(0.2, 0.05)))
    assert [part.over for part in decision.unresolved] == ["zero-shot"]


def test_what_is_neither_above_nor_below_is_told_by_the_claim_of_above() -> None:
    decision = judge(replace(GOOD, over_zero_shot=gain(0.0)))
    assert (decision.verdict, decision.p_holm, decision.p_composes) == (Verdict.NO_EVIDENCE, 1.0, 1.0)
