"""What a study's fine-tunes took, told once each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cg_lab.arms import Arm
from cg_lab.journal import append_event
from cg_lab.planning.plan import Plan
from cg_lab.reporting.svg import to_svg
from cg_lab.reporting.trainings import MOST_LINES, MOST_POINTS, list_trained, plot_training
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


def test_losses_are_drawn_along_each_fine_tune_as_its_last_attempt_logged_them(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plan = plan_study(layout, ARMS, "targets=[ct-brain-mass]")
    assert plot_training(plan, layout) is None
    first, second = (job for job in plan.finetunes if job.id in _list_jobs(plan, Arm.RELATED))
    for step in range(1, 97):
        append_event(layout.journal(first.id), "log", step=step, loss=96 / step)
    for steps in (range(1, 40), range(20, 41)):  # the second goes on from a checkpoint
        for step in steps:
            append_event(layout.journal(second.id), "log", step=step, loss=1.0 if step < 20 else 0.5)
    figure = plot_training(plan, layout)
    assert figure is not None
    panels = [axes for axes in figure.axes if axes.lines]
    assert [axes.get_title(loc="left") for axes in panels] == ["related"]
    (whole, resumed) = panels[0].lines
    assert len(whole.get_xdata()) == MOST_POINTS  # type: ignore[arg-type]
    assert all(0 < share <= 1 for share in whole.get_xdata())  # type: ignore[union-attr]
    assert np.all(np.diff(np.asarray(whole.get_ydata())) < 0)
    assert set(resumed.get_ydata()) == {1.0, 0.5}  # type: ignore[arg-type] - no mean of both attempts
    assert first.id in str(whole.get_gid())
    low, high = panels[0].get_ylim()
    assert (low, high > max(whole.get_ydata())) == (0, True)  # type: ignore[arg-type]


@pytest.mark.parametrize(("step", "loss", "is_drawn"), [(0, 0.5, True), (3, float("nan"), True), (3, "low", False)])
def test_what_a_trainer_logs_oddly_spoils_no_report(tmp_path: Path, step: int, loss: object, is_drawn: bool) -> None:
    layout = Layout(tmp_path)
    plan = plan_study(layout, ARMS, "targets=[ct-brain-mass]")
    append_event(layout.journal(plan.finetunes[-1].id), "log", step=step, loss=loss)
    figure = plot_training(plan, layout)
    assert (figure is not None) == is_drawn
    if figure is not None:
        assert to_svg(figure).startswith("<svg")


def test_of_many_fine_tunes_some_are_drawn(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plan = plan_study(layout, ARMS, "targets=[ct-brain-mass]", f"seeds={list(range(9))}")
    for job in plan.finetunes:
        append_event(layout.journal(job.id), "log", step=3, loss=0.5)
    figure = plot_training(plan, layout)
    assert figure is not None
    assert max(len(axes.lines) for axes in figure.axes) == MOST_LINES
    assert len({axes.get_ylim() for axes in figure.axes if axes.lines}) == 1


def _list_jobs(plan: Plan, arm: Arm) -> set[str]:
    return {job for cell in plan.cells if cell.arm is arm for job in cell.finetunes}
