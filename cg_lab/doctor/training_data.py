"""A study's own first questions and images, or one of ours where it has none that can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cg_lab.data.asking import pose_training
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.doctor.check_result import CheckResult, Status
from cg_lab.errors import UserError
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import FinetuneJob
from cg_lab.questions import AnyQuestion, Question
from cg_lab.results import Layout
from cg_lab.study import AnyBackbone, Study

OURS = Question(text="What is shown?", options=("mass", "no mass", "cyst", "left lung"), answer=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a study would train on first."""

    check: CheckResult
    plan: Plan | None
    """None if there is nothing to plan."""
    job: FinetuneJob | None
    """The first fine-tune."""
    questions: tuple[AnyQuestion, ...]
    """Of its first training samples, at most a batch; empty if they can't be read."""
    images: tuple[Any, ...]
    """Of these questions."""

    @property
    def question(self) -> Question:
        """One to show how the model is asked; ours where the study's are not of single choice."""
        first = next(iter(self.questions), OURS)
        return first if isinstance(first, Question) else OURS


def find_lesson(study: Study, backbone: AnyBackbone | None, layout: Layout, tell: Callable[[int, int], None]) -> Lesson:
    """Read a study's catalogue, plan it, and read the first batch of its first fine-tune.

    Parameters
    ----------
    study, layout
        Whose tables of images are kept in the results folder.
    backbone
        None if it can't be identified; then nothing is planned.
    tell
        Told how many images of how many have been opened.

    """
    plan: Plan | None = None
    job: FinetuneJob | None = None
    try:
        catalog = read_catalog(study.data, layout.data, tell)
        if backbone is None:
            return _end(CheckResult(name="data", found=f"{len(catalog.subsets)} subsets; not planned without a model"))
        plan = build_plan([Run(name="", study=study, catalog=catalog, backbone=backbone)])
        told = f"{len(catalog.subsets)} subsets; {len(plan.finetunes)} fine-tunes, {len(plan.evals)} evaluations"
        job = next(iter(plan.finetunes), None)
        if job is None:
            return _end(CheckResult(name="data", found=f"{told}; nothing is trained"), plan)
        planned = plan.catalog_of(job.data)
        source = open_source(planned, layout.data)
        first = job.mixture.parts[0]
        few = replace(first, count=min(first.count, job.recipe.batch_size))
        subsets = {subset.name: subset for subset in planned.subsets}
        exam = pose_training(source, subsets, replace(job.mixture, parts=(few,)))
        images = tuple(source.read_images(exam.samples))
    except UserError as error:
        return _end(CheckResult(name="data", status=Status.FAULT, found=str(error)), plan, job)
    return Lesson(
        check=CheckResult(name="data", found=told), plan=plan, job=job, questions=exam.questions, images=images
    )


def _end(check: CheckResult, plan: Plan | None = None, job: FinetuneJob | None = None) -> Lesson:
    return Lesson(check=check, plan=plan, job=job, questions=(), images=())
