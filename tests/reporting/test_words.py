"""What a report says first."""

from __future__ import annotations

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.summary import Summary
from cg_lab.arms import Arm
from cg_lab.reporting.rows import list_told
from cg_lab.reporting.words import tell_story
from tests.analysis.test_study_verdicts import SHARES, answer, judge, plan_study


def test_ceilings_at_a_guess_are_told_before_the_verdicts_and_others_not_at_all() -> None:
    plan = plan_study()
    low = {part.id for part in plan.contrasts if part.target in {"ct-brain-mass", "us-breast-mass"}}

    def share(ceiling: float) -> str:
        told = judge(
            plan,
            answer(
                plan, lambda cell: ceiling if cell.arm is Arm.CEILING and cell.contrast in low else SHARES[cell.arm]
            ),
        )
        return tell_story(told).answer

    start = f"Training too short or too little data: in 2 of {len(plan.contrasts)} held-out questions"
    assert share(0.33).startswith(start)
    assert f"Try finetune.min_steps=200 study={plan.study}_200_steps" in share(0.33)
    assert "Training too short" not in share(0.9)


def test_what_one_model_reached_has_no_interval_over_its_trainings() -> None:
    def tell(low: float) -> str:
        value = Interval(estimate=0.4, low=low, high=0.4, p_value=1.0)
        part = Summary(
            measure="iqm", arm="related", group="all", num_questions=4, method="bootstrap of seeds", value=value
        )
        return list_told([part])[0].interval

    assert tell(0.4) == ""
    assert tell(0.3) == "30 % to 40 %"
