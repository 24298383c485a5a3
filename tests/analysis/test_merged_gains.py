"""What merging adapters keeps of joint training's gain, beside the best source alone and unrelated merges."""

from __future__ import annotations

from pathlib import Path

import pytest

from cg_lab.analysis.merged_gains import MERGES, MergedGain
from cg_lab.arms import Arm
from cg_lab.planning.plan import Cell, Plan
from cg_lab.questions import AnyQuestion
from cg_lab.reporting.write import write_report
from cg_lab.results import Layout
from tests.analysis.test_study_verdicts import answer, judge
from tests.reporting.answering import Row, choose, plan_study, write_answers

SHARES = {
    Arm.UNRELATED: 0.3, Arm.RELATED: 0.9, Arm.ALONE: 0.4, Arm.COMPOSED: 0.75, Arm.COMPOSED_ALONE: 0.6,
    Arm.COMPOSED_UNRELATED: 0.35,
}  # fmt: skip


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return Layout(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def plan(layout: Layout) -> Plan:
    arms = ",".join(SHARES)
    return plan_study(layout, "finetune=lora", "targets=[us-breast-mass]", f"arms=[{arms}]")


def measure(plan: Plan, shares: dict[Arm, float]) -> dict[Arm, MergedGain]:
    (effect,) = judge(plan, answer(plan, lambda cell: shares.get(cell.arm, 0.3))).contrasts
    return {merge.arm: merge for merge in effect.merges}


def test_a_merge_is_compared_with_joint_training_its_parts_and_an_unrelated_merge(plan: Plan) -> None:
    found = measure(plan, SHARES)
    assert list(found) == list(MERGES) == [Arm.COMPOSED, Arm.COMPOSED_ALONE]
    composed = found[Arm.COMPOSED]
    assert composed.accuracy.estimate == pytest.approx(0.75, abs=0.06)
    assert composed.over_main.estimate == pytest.approx(-0.15, abs=0.06)
    assert composed.over_main.high < 0
    assert composed.over_alone is not None
    assert composed.over_alone.estimate == pytest.approx(0.35, abs=0.09)
    assert composed.over_unrelated is not None
    assert composed.over_unrelated.estimate == pytest.approx(0.4, abs=0.09)


def test_the_share_that_is_kept_is_of_the_gain_over_unrelated_training(plan: Plan) -> None:
    found = measure(plan, SHARES)
    for arm, share in ((Arm.COMPOSED, 0.75), (Arm.COMPOSED_ALONE, 0.5)):
        kept = found[arm].kept
        assert kept is not None
        assert kept.estimate == pytest.approx(share, abs=0.12)
        assert kept.low < kept.estimate < kept.high


def test_nothing_is_kept_of_a_gain_that_is_not_there(plan: Plan) -> None:
    assert measure(plan, SHARES | {Arm.RELATED: 0.3})[Arm.COMPOSED].kept is None


def test_what_was_not_planned_is_not_told(layout: Layout) -> None:
    lone = plan_study(layout, "finetune=lora", "targets=[us-breast-mass]", "arms=[related,composed]", "study=lone")
    merge = measure(lone, SHARES)[Arm.COMPOSED]
    assert (merge.over_alone, merge.over_unrelated, merge.kept) == (None, None, None)
    plain = plan_study(layout, "targets=[us-breast-mass]", "study=plain")
    assert measure(plain, SHARES) == {}


def test_the_report_tells_it_in_a_table_in_words_and_as_numbers(layout: Layout, plan: Plan) -> None:
    def pick(cell: Cell, number: int, question: AnyQuestion) -> Row:
        is_right = (number * 7 + (cell.seed or 0)) % 20 < 20 * SHARES[cell.arm]
        right = question.answer  # type: ignore[union-attr]
        return choose(question, right if is_right else (right + 1) % 2)  # type: ignore[arg-type]

    write_answers(layout, plan, pick)
    files = write_report(layout, plan.study, images=False)
    for path in (files.markdown, files.html):
        told = Path(path).read_text(encoding="utf-8")
        assert "What merging adapters keeps" in told
        assert "composed alone" in told.split("What merging adapters keeps", 1)[1][:1500]
        assert "merged (composed) it is" in told
        assert "add_weighted_adapter (cat, weights 0.5 and 0.5)" in told
    effects = (layout.study(plan.study) / "effects.csv").read_text(encoding="utf-8")
    assert "share_of_gain_kept_low" in effects.splitlines()[0]
    cells = (layout.study(plan.study) / "cells.csv").read_text(encoding="utf-8").splitlines()
    (line, *_) = [line for line in cells if "/composed/" in line]
    assert ":768;" in line
