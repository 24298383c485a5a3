"""Names of held-out questions, as short as tells them apart."""

from __future__ import annotations

from dataclasses import replace

from cg_lab.reporting.names import name_questions
from tests.planning.cases import STUDY, cube, plan_one, with_design


def test_a_detail_that_all_have_alike_stands_in_no_name() -> None:
    plan = plan_one(with_design("folds", replace(STUDY, targets=("a-x-k",))), cube())
    (contrast,) = plan.contrasts
    in_two = [replace(contrast, id=name, setting=name, direction="task", level=96.0) for name in ("world=a", "world=b")]
    assert set(name_questions(replace(plan, contrasts=tuple(in_two))).values()) == {
        "A X K, world=a", "A X K, world=b",
    }  # fmt: skip
    at_two = [replace(contrast, id=f"{level}", direction="task", level=level) for level in (96.0, 192.0)]
    assert list(name_questions(replace(plan, contrasts=tuple(at_two))).values()) == ["A X K at 96", "A X K at 192"]
