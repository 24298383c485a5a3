"""What a study's fine-tunes took, told once each."""

from __future__ import annotations

from pathlib import Path

from cg_lab.arms import Arm
from cg_lab.reporting.trainings import list_trained
from cg_lab.results import FinetuneResult, Layout, write_result
from tests.reporting.answering import STARTED, plan_study

ARMS = "arms=[zero_shot,unrelated,related,ceiling,blind]"


def test_each_finished_fine_tune_stands_under_the_first_arm_that_asks_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plan = plan_study(layout, ARMS, "targets=[ct-brain-mass]")
    assert list_trained(plan, layout) == ()
    related = {cell.finetune_job for cell in plan.cells if cell.arm is Arm.RELATED}
    assert related == {cell.finetune_job for cell in plan.cells if cell.arm is Arm.BLIND}
    jobs = [job for job in plan.finetunes if job.id in related]
    for number, job in enumerate(jobs):
        layout.job(job.id).mkdir(parents=True)
        write_result(
            layout,
            FinetuneResult(
                job=job, steps=48, samples=1536, loss_first=4.0, loss_last=0.1 + number, seconds=90, host="h",
                started=STARTED,
            ),
        )  # fmt: skip
    (row,) = list_trained(plan, layout)
    assert (row.arm, row.num_finetunes, row.num_samples, row.time) == ("related", 2, 3072, "3 min")
    assert (row.losses, row.worst) == ("4.00 to 0.60", "1.10")


def test_losses_and_samples_that_a_trainer_does_not_say_are_left_open(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plan = plan_study(layout, ARMS, "targets=[ct-brain-mass]")
    job = plan.finetunes[0]
    layout.job(job.id).mkdir(parents=True)
    result = FinetuneResult(
        job=job, steps=None, samples=None, loss_first=None, loss_last=None, seconds=90, host="h", started=STARTED
    )
    write_result(layout, result)
    (row,) = list_trained(plan, layout)
    assert (row.num_samples, row.losses, row.worst, row.time) == (None, "", "", "90 s")
