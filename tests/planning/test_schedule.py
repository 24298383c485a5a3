"""Epochs are those that were asked for, and jobs that this changed have ids of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from cg_lab.catalog import PhantomData
from cg_lab.config import read_study
from cg_lab.planning.jobs import JobFactory
from cg_lab.planning.schedule import fit_floor, has_changed, schedule_epochs
from cg_lab.planning.work import JOB_SCHEMA, FinetuneJob, Mixture, MixturePart
from cg_lab.questions import AnswerForm
from cg_lab.recipe import Recipe
from cg_lab.serialize import content_id, omit_defaults
from cg_lab.study import Backbone

DATA = PhantomData(version=1, world="compositional", seed=0, image_size=48, train_per_subset=1, test_per_subset=1)
RECIPE = read_study([]).finetune
TINY = Backbone(name="tiny_llava", path="package:tiny_llava", revision="0" * 16, answer=AnswerForm.TEXT)


def make_recipe(epochs: float, batch_size: int) -> Recipe:
    return replace(RECIPE, epochs=epochs, batch_size=batch_size)


def make_job(
    num_samples: int, epochs: float, batch_size: int, backbone: Backbone = TINY, **changes: Any
) -> FinetuneJob:
    return FinetuneJob(
        data=DATA,
        backbone=backbone,
        mixture=Mixture(parts=(MixturePart(subset="a", count=num_samples),), seed=0),
        recipe=replace(make_recipe(epochs, batch_size), **changes),
        seed=0,
    )


@given(st.integers(1, 300), st.floats(0.05, 9), st.integers(1, 64), st.integers(0, 400))
def test_a_floor_of_steps_is_reached_just_and_each_sample_is_seen_as_often_as_the_others(
    num_samples: int, epochs: float, batch_size: int, min_steps: int
) -> None:
    free = schedule_epochs(make_recipe(epochs, batch_size), num_samples)
    held = schedule_epochs(replace(make_recipe(epochs, batch_size), min_steps=min_steps), num_samples)
    assert held.steps == max(free.steps, min_steps)
    assert 0 <= held.rest < num_samples
    assert held == free or held.steps == min_steps > free.steps


def test_a_floor_gives_work_that_it_lengthens_another_id_and_leaves_all_other_work_its_own() -> None:
    for num_samples in (33, 1536):
        free, held = (make_job(num_samples, 1, 32, min_steps=floor) for floor in (0, 48))
        made = JobFactory(DATA, TINY, held.recipe).make_finetune(held.mixture, 0)
        assert made.id == replace(made).id, "as its own fields say"
        assert (made.id == free.id) == (num_samples == 1536)
        assert made.recipe.epochs == 1, "that were asked for"
        assert made.recipe.min_steps == (48 if num_samples == 33 else 0)
        assert made.schedule.steps == 48
    assert fit_floor(replace(RECIPE, min_steps=2), 33) == replace(RECIPE, min_steps=0)


def name_as_before(job: FinetuneJob) -> str:
    return content_id("finetune", JOB_SCHEMA, omit_defaults(job))


@pytest.mark.parametrize(
    ("num_samples", "epochs", "batch_size", "samples", "steps"),
    [
        (33, 5, 32, 165, 10), (10, 5, 32, 50, 5), (64, 5, 32, 320, 10), (9, 1, 8, 9, 2), (64, 0.75, 32, 48, 2),
        (10, 2.5, 4, 25, 8), (4, 0.1, 8, 1, 1), (3, 0.01, 1, 1, 1), (1, 3, 8, 3, 3),
    ],
)  # fmt: skip
def test_steps_give_the_epochs_that_were_asked_for(
    num_samples: int, epochs: float, batch_size: int, samples: int, steps: int
) -> None:
    schedule = schedule_epochs(make_recipe(epochs, batch_size), num_samples)
    assert (schedule.samples, schedule.steps) == (samples, steps)


@given(st.integers(1, 300), st.floats(0.05, 9), st.integers(1, 64))
def test_samples_are_the_nearest_number_and_no_step_is_without_any(
    num_samples: int, epochs: float, batch_size: int
) -> None:
    schedule = schedule_epochs(make_recipe(epochs, batch_size), num_samples)
    assert schedule.samples == max(1, round(num_samples * epochs))
    assert 0 <= schedule.rest < num_samples
    batches = [batch_size] * (num_samples // batch_size) + [num_samples % batch_size] * (num_samples % batch_size > 0)
    last = [batch_size] * (schedule.rest // batch_size) + [schedule.rest % batch_size] * (
        schedule.rest % batch_size > 0
    )
    assert schedule.steps == schedule.whole_epochs * len(batches) + len(last)


@given(st.integers(1, 300), st.integers(1, 64))
def test_one_epoch_is_what_it_was(num_samples: int, batch_size: int) -> None:
    """So that no job of the embedded model's recipe is run again."""
    assert not has_changed(make_recipe(1, batch_size), num_samples)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 64))
def test_full_batches_are_what_they_were(num_batches: int, epochs: int, batch_size: int) -> None:
    assert not has_changed(make_recipe(epochs, batch_size), num_batches * batch_size)


@pytest.mark.parametrize(
    ("num_samples", "epochs", "is_changed"),
    [(33, 5, True), (10, 5, True), (64, 5, False), (64, 0.75, True), (31, 5, False)],
)
def test_only_jobs_that_saw_other_samples_get_another_id(num_samples: int, epochs: float, is_changed: bool) -> None:
    job = make_job(num_samples, epochs, 32)
    assert has_changed(job.recipe, num_samples) == is_changed
    assert (job.id != name_as_before(job)) == is_changed
    made = JobFactory(job.data, job.backbone, job.recipe).make_finetune(job.mixture, job.seed)
    assert made.id == job.id


def test_a_model_whose_answers_had_no_end_is_trained_again() -> None:
    llava = replace(TINY, path="llava-hf/llava-1.5-7b-hf", revision="main")
    for job in (make_job(64, 1, 32, llava), make_job(33, 5, 32, llava)):
        assert job.id != name_as_before(job)
        assert JobFactory(job.data, job.backbone, job.recipe).make_finetune(job.mixture, job.seed).id == job.id
    other = replace(llava, path="Qwen/Qwen2-VL-7B-Instruct")
    assert make_job(64, 1, 32, other).id == name_as_before(make_job(64, 1, 32, other))
