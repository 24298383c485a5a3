"""What a recommendation was worth: the best rule's gain over the recommended mixture."""

from dataclasses import replace
from pathlib import Path

import pytest

from cg_lab.analysis.regret import OWN_RULES, measure_regret
from cg_lab.arms import Arm
from cg_lab.planning.plan import Cell, Plan
from cg_lab.reporting.write import write_report
from cg_lab.results import Layout
from tests.analysis.test_study_verdicts import answer, judge
from tests.reporting.answering import choose, plan_study, write_answers

ROW = "{target: us-breast-mass, sources: [us-lung-mass, xray-breast-mass], single: us-lung-mass}"
SHARES = {Arm.RELATED: 0.6, Arm.ALL_RELATED: 0.5, Arm.NEAREST_SUBSETS: 0.8, Arm.SINGLE: 0.4, Arm.CEILING: 0.99}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return Layout(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def plan(layout: Layout) -> Plan:
    return plan_study(
        layout, "design=recommended_mixture", f"design.rows=[{ROW}]", "targets=[us-breast-mass]", "arms=null"
    )


def share(cell: Cell) -> float:
    return SHARES.get(cell.arm, 0.3)


def test_the_best_rule_is_told_with_its_gain_over_the_recommended_mixture(plan: Plan) -> None:
    (found,) = measure_regret(judge(plan, answer(plan, share)))
    assert found.rule is Arm.NEAREST_SUBSETS
    assert found.accuracy == pytest.approx(0.8, abs=0.05)
    assert found.recommended == pytest.approx(0.6, abs=0.05)
    assert found.gain.estimate == pytest.approx(found.accuracy - found.recommended)
    assert found.gain.low < found.gain.estimate < found.gain.high


def test_where_no_rule_does_better_the_gain_lies_below_nothing(plan: Plan) -> None:
    (found,) = measure_regret(judge(plan, answer(plan, lambda cell: 0.9 if cell.arm is Arm.RELATED else 0.3)))
    assert found.gain.high < 0


def test_the_ceiling_and_the_untouched_model_are_no_rules(plan: Plan) -> None:
    best = {Arm.CEILING: 0.99, Arm.ZERO_SHOT: 0.95, Arm.SHUFFLED: 0.9, Arm.ALL_DATA: 0.7}
    (found,) = measure_regret(judge(plan, answer(plan, lambda cell: best.get(cell.arm, 0.3))))
    assert found.rule is Arm.ALL_DATA


def test_questions_of_other_designs_have_no_regret(plan: Plan) -> None:
    kept = tuple(cell for cell in plan.cells if cell.arm not in OWN_RULES)
    other = replace(plan, cells=kept)  # the arms that all_related has
    assert measure_regret(judge(other, answer(other, share))) == ()


def test_the_report_tells_it(layout: Layout, plan: Plan) -> None:
    def pick(cell: Cell, number: int, question: object) -> dict[str, object]:
        is_right = (number * 7) % 10 < 10 * share(cell)
        right = question.answer  # type: ignore[attr-defined]
        return choose(question, right if is_right else (right + 1) % 2)  # type: ignore[arg-type]

    write_answers(layout, plan, pick)
    files = write_report(layout, plan.study, images=False)
    for path in (files.markdown, files.html):
        told: str = Path(path).read_text(encoding="utf-8")
        assert "What the recommendation was worth" in told
        assert "nearest subsets" in told.split("What the recommendation was worth", 1)[1][:900]
