"""The rule of the verdicts at its edges: which comparison decides, which sign, which side of the level."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.verdict import Decision, Evidence, Verdict, decide

COMPARISONS = ("over_zero_shot", "over_unrelated", "over_blind")
LEVEL = 1 - 0.95


def gain(estimate: float, p_value: float = 0.001, *, low: float = 0.01) -> Interval:
    return Interval(estimate=estimate, low=low, high=estimate + 0.1, p_value=p_value)


GOOD = Evidence(
    fully_covered=True,
    sees_target=False,
    complete=True,
    num_seeds=3,
    over_zero_shot=gain(0.2),
    over_unrelated=gain(0.2),
    over_blind=gain(0.2),
    ceiling_over_zero_shot=gain(0.4),
)
BAD = replace(GOOD, over_zero_shot=gain(-0.2), over_unrelated=gain(-0.2), over_blind=gain(-0.2))


def judge(evidence: Evidence, confidence: float = 0.95) -> Decision:
    return decide([evidence], confidence)[0]


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_the_worst_of_the_three_p_values_is_that_of_composing(comparison: str) -> None:
    decision = judge(replace(GOOD, **{comparison: gain(0.2, 0.2)}))
    assert (decision.verdict, decision.p_holm) == (Verdict.NO_EVIDENCE, 0.2)


@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("estimate", [0.0, -0.2])
def test_a_comparison_that_is_not_above_zero_leaves_no_claim_at_any_level(comparison: str, estimate: float) -> None:
    evidence = replace(GOOD, **{comparison: gain(estimate)})
    for confidence in (0.95, 0.0):
        decision = judge(evidence, confidence)
        assert (decision.verdict, decision.p_holm) == (Verdict.NO_EVIDENCE, 1.0)


@pytest.mark.parametrize("comparison", COMPARISONS[:2])
@pytest.mark.parametrize("estimate", [0.0, 0.2])
def test_harm_is_below_both_the_untouched_and_the_unrelated_model(comparison: str, estimate: float) -> None:
    evidence = replace(BAD, **{comparison: gain(estimate)})
    for confidence in (0.95, 0.0):
        decision = judge(evidence, confidence)
        assert (decision.verdict, decision.p_holm) == (Verdict.NO_EVIDENCE, 1.0)


@pytest.mark.parametrize("comparison", COMPARISONS[:2])
def test_harm_needs_both_p_values_and_not_that_over_blind(comparison: str) -> None:
    decision = judge(replace(BAD, over_blind=gain(0.1, 0.9), **{comparison: gain(-0.2, 0.02)}))
    assert (decision.verdict, decision.p_holm) == (Verdict.HARMS, 0.02)
    assert judge(replace(BAD, **{comparison: gain(-0.2, 0.4)})).verdict is Verdict.NO_EVIDENCE


@pytest.mark.parametrize(("evidence", "verdict"), [(GOOD, Verdict.COMPOSES), (BAD, Verdict.HARMS)])
def test_a_p_value_at_the_level_claims_and_rounding_takes_nothing_away(evidence: Evidence, verdict: Verdict) -> None:
    sign = 1 if verdict is Verdict.COMPOSES else -1
    for p_value, expected in ((0.05, verdict), (LEVEL + 1e-12, verdict), (LEVEL + 1e-11, Verdict.NO_EVIDENCE)):
        assert judge(replace(evidence, over_zero_shot=gain(sign * 0.2, p_value))).verdict is expected


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"complete": False}, "cells are missing"),
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
            for ceiling in (None, gain(0.4, low=0.0), gain(0.4, low=-0.1))
        ),
        ({"num_seeds": 2}, "two seeds tell too little about how trainings differ; a third makes a verdict possible"),
    ],
)
def test_what_keeps_a_question_from_being_tested_is_told_and_costs_the_others_nothing(
    parts: dict[str, object], reason: str
) -> None:
    other = replace(GOOD, over_blind=gain(0.2, 0.03))
    decisions = decide([replace(GOOD, **parts), other], 0.95)  # type: ignore[arg-type]
    assert decisions[0] == Decision(verdict=Verdict.CANNOT_SAY, reason=reason, p_holm=None)
    assert decisions[1].p_holm == 0.03


@pytest.mark.parametrize(
    ("evidence", "decision"),
    [
        (GOOD, (Verdict.COMPOSES, "above zero-shot, unrelated and blind, Holm-adjusted p = 0.001", 0.001)),
        (BAD, (Verdict.HARMS, "below zero-shot and unrelated, Holm-adjusted p = 0.001", 0.001)),
        (
            replace(GOOD, over_blind=gain(0.2, 0.256)),
            (Verdict.NO_EVIDENCE, "the gains are not all resolved from zero, Holm-adjusted p = 0.26", 0.256),
        ),
    ],
)
def test_a_verdict_tells_its_reason_with_the_adjusted_p_value(
    evidence: Evidence, decision: tuple[Verdict, str, float]
) -> None:
    verdict, reason, p_holm = decision
    assert judge(evidence) == Decision(verdict=verdict, reason=reason, p_holm=p_holm)
