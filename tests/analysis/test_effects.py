"""Intervals against independent computations, and the rule's every verdict."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cg_lab.analysis.bootstrap import Interval, Resampling, Scores, adjust_holm, resample_means, subtract, summarize
from cg_lab.analysis.verdict import Evidence, Verdict, decide

RESAMPLING = Resampling(num_resamples=4000, seed=0, confidence=0.95)


def make_scores(correct_SQ: np.ndarray, groups: tuple[str, ...] | None = None) -> Scores:
    questions = tuple(f"q{number}" for number in range(correct_SQ.shape[1]))
    return Scores(questions=questions, groups=groups or questions, correct_SQ=correct_SQ.astype(np.float64))


def test_one_seed_without_groups_agrees_with_scipys_bootstrap() -> None:
    correct_Q = np.random.default_rng(0).random(120) < 0.7
    ours = summarize(0.0, resample_means([make_scores(correct_Q[None])], RESAMPLING)[0], 0.95)
    theirs = stats.bootstrap((correct_Q,), np.mean, n_resamples=4000, method="percentile", random_state=1)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.015)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.015)


def test_groups_are_drawn_whole_so_that_copies_of_a_question_add_no_certainty() -> None:
    correct_Q = np.random.default_rng(0).random(50) < 0.6
    once = summarize(0.0, resample_means([make_scores(correct_Q[None])], RESAMPLING)[0], 0.95)
    copied = make_scores(np.repeat(correct_Q, 4)[None], tuple(f"g{number // 4}" for number in range(200)))
    grouped = summarize(0.0, resample_means([copied], RESAMPLING)[0], 0.95)
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.1)


def test_seeds_that_disagree_widen_the_interval() -> None:
    generator = np.random.default_rng(0)
    same = np.repeat((generator.random((1, 200)) < 0.5), 3, axis=0)
    apart = np.stack([generator.random(200) < share for share in (0.2, 0.5, 0.8)])
    width = [
        np.ptp(np.quantile(resample_means([make_scores(part)], RESAMPLING)[0], [0.025, 0.975]))
        for part in (same, apart)
    ]
    assert width[1] > 2 * width[0]


def test_pairing_is_question_by_question_and_one_row_meets_every_seed() -> None:
    first = make_scores(np.array([[1, 1, 0], [0, 1, 0]]))
    second = make_scores(np.array([[1, 0, 0]]))
    assert subtract(first, second).correct_SQ.tolist() == [[0, 1, 0], [-1, 1, 0]]


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    few = Resampling(num_resamples=400, seed=0, confidence=0.95)
    covered = 0
    for _ in range(300):
        correct_SQ = generator.random((1, 150)) < 0.4
        interval = summarize(0.0, resample_means([make_scores(correct_SQ)], few)[0], 0.95)
        covered += interval.low <= 0.4 <= interval.high
    assert 0.90 <= covered / 300 <= 0.98


def test_holm_agrees_with_a_case_worked_by_hand() -> None:
    assert adjust_holm((0.01, 0.04, 0.03, 0.005)) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def gain(estimate: float, p_value: float) -> Interval:
    low = 0.01 if estimate > 0 and p_value < 0.05 else -0.1
    return Interval(estimate=estimate, low=low, high=estimate + 0.1, p_value=p_value)


GOOD = Evidence(
    fully_covered=True,
    sees_target=False,
    complete=True,
    num_seeds=3,
    over_zero_shot=gain(0.2, 0.001),
    over_unrelated=gain(0.2, 0.002),
    over_blind=gain(0.2, 0.001),
    ceiling_over_zero_shot=gain(0.4, 0.001),
)


def change(**parts: object) -> Evidence:
    from dataclasses import replace

    return replace(GOOD, **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("evidence", "verdict", "reason"),
    [
        (GOOD, Verdict.COMPOSES, "above"),
        (change(over_unrelated=gain(0.02, 0.4)), Verdict.NO_EVIDENCE, "not all resolved"),
        (change(over_blind=gain(0.0, 1.0)), Verdict.NO_EVIDENCE, "not all resolved"),
        (
            change(over_zero_shot=gain(-0.2, 0.001), over_unrelated=gain(-0.2, 0.001), over_blind=gain(-0.1, 0.5)),
            Verdict.HARMS,
            "below",
        ),
        (change(complete=False), Verdict.CANNOT_SAY, "missing"),
        (change(sees_target=True), Verdict.CANNOT_SAY, "nothing is held out"),
        (change(fully_covered=False), Verdict.CANNOT_SAY, "no related subset"),
        (change(ceiling_over_zero_shot=gain(0.01, 0.6)), Verdict.CANNOT_SAY, "even training on the target"),
        (change(over_unrelated=None), Verdict.CANNOT_SAY, "no unrelated"),
        (change(num_seeds=2), Verdict.CANNOT_SAY, "a third"),
        (change(num_seeds=1), Verdict.COMPOSES, "above"),
    ],
)
def test_each_verdict_has_its_case(evidence: Evidence, verdict: Verdict, reason: str) -> None:
    decision = decide([evidence], 0.95)[0]
    assert decision.verdict is verdict
    assert reason in decision.reason


def test_the_more_questions_are_asked_the_stronger_the_evidence_must_be() -> None:
    weak = change(over_unrelated=gain(0.2, 0.03))
    assert decide([weak], 0.95)[0].verdict is Verdict.COMPOSES
    assert all(decision.verdict is Verdict.NO_EVIDENCE for decision in decide([weak] * 4, 0.95))


def test_gains_of_mixed_sign_claim_nothing_and_leave_the_others_their_place() -> None:
    mixed = change(over_zero_shot=gain(0.2, 0.001), over_unrelated=gain(-0.2, 0.001))
    decisions = decide([mixed, change(over_unrelated=gain(0.2, 0.03))], 0.95)
    assert [decision.verdict for decision in decisions] == [Verdict.NO_EVIDENCE, Verdict.NO_EVIDENCE]
    assert decisions[1].p_holm == pytest.approx(0.06)
