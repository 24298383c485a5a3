"""What is told of held-out questions: the word and its numbers, as the last report has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cg_lab.reporting.tables import write_csv
from cg_lab.results import Layout
from cg_lab.tracking.record import Record
from cg_lab.tracking.records import build_records
from tests.tracking.conftest import Lab, plan_small

PLAN = plan_small(("ct-brain-mass", "us-breast-mass"), (0, 1))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(layout=Layout(tmp_path), plan=PLAN)


def leave_report(lab: Lab, *words: str) -> None:
    """Leave the table of a report: for each question the row of its main arm, and one of a control."""
    main = {
        "arm": "related", "accuracy": "0.625000", "gain_over_zero_shot": "0.25", "gain_over_unrelated": "0.250000",
        "gain_over_unrelated_low": "0.1",
        "synergy": "0.125000", "p_holm": "0.02", "p_composes": "", "sufficient_source": "ct-lung-mass",
        "over_each_alone": "ct-lung-mass 0.125000 [0.01, 0.2] p=0.04;us-brain-mass -0.25 [-0.3, 0.1] p=0.5",
    }  # fmt: skip
    rows = [
        {"contrast": contrast.id, **dict.fromkeys(main, ""), "verdict": "", "verdict_reason": "", **own}
        for contrast, word in zip(lab.plan.contrasts, words, strict=True)
        for own in (
            {"arm": "unrelated", "accuracy": "0.3"},
            main | {"verdict": word, "verdict_reason": f"since {word}"},
        )
    ]
    lab.layout.study(lab.plan.study).mkdir(parents=True, exist_ok=True)
    write_csv(lab.layout.study(lab.plan.study) / "effects.csv", rows)


def tell(lab: Lab) -> dict[str, Record]:
    return {record.key: record for record in build_records(lab.plan, lab.layout)}


def test_before_a_report_there_are_no_words(lab: Lab) -> None:
    records = tell(lab)
    assert not any(key.startswith("question:") for key in records)
    assert records["study"].tags["verdicts"] == ""


def test_a_question_has_its_word_and_the_numbers_behind_it(lab: Lab) -> None:
    leave_report(lab, "transfers", "no evidence")
    first = PLAN.contrasts[0]
    told = tell(lab)[f"question:{first.id}"]
    assert told.tags["kind"] == "question"
    assert told.tags["verdict"] == "transfers"
    assert told.tags["verdict_reason"] == "since transfers"
    assert told.tags["sufficient_source"] == "ct-lung-mass"
    assert told.metrics == {
        "accuracy": 0.625, "gain_over_zero_shot": 0.25, "gain_over_unrelated": 0.25, "gain_over_unrelated_low": 0.1,
        "synergy": 0.125, "p_holm": 0.02,
        "gain_over_alone/ct-lung-mass": 0.125, "gain_over_alone/us-brain-mass": -0.25,
    }  # fmt: skip


def test_the_study_counts_its_words(lab: Lab) -> None:
    leave_report(lab, "transfers", "no evidence")
    assert tell(lab)["study"].tags["verdicts"] == "1 transfers, 1 no evidence"


def test_a_question_stands_as_its_evaluations_do(lab: Lab) -> None:
    leave_report(lab, "transfers", "transfers")
    first, second = (f"question:{contrast.id}" for contrast in PLAN.contrasts)
    assert tell(lab)[first].status == "SCHEDULED"
    own = {cell.eval_job for cell in PLAN.cells if cell.contrast == PLAN.contrasts[0].id}
    for job in PLAN.evals:
        if job.id in own:
            lab.finish_eval(job, 0.5)
    assert (tell(lab)[first].status, tell(lab)[second].status) == ("FINISHED", "SCHEDULED")
    for job in PLAN.evals:
        if job.id not in own:
            lab.fail(job.id)
    assert tell(lab)[second].status == "FAILED"
