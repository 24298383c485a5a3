"""Weights go with their last evaluation, as the study says, and are trained anew where one is needed again."""

from __future__ import annotations

from pathlib import Path

import pytest

from cg_lab.execution.keeping import Keeper, find_lost, reopen_lost
from cg_lab.journal import read_events
from cg_lab.results import Layout
from cg_lab.study import Keep

NEEDS = {"eval-1": ("tune",), "eval-2": ("tune",), "other-eval": ("other",)}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    for job_id in ("tune", "other"):
        Layout(tmp_path).weights(job_id).mkdir(parents=True)
    return Layout(tmp_path)


def list_weights(layout: Layout) -> set[str]:
    return {job_id for job_id in ("tune", "other") if layout.weights(job_id).exists()}


def test_weights_go_with_their_last_evaluation(layout: Layout) -> None:
    keeper = Keeper(layout, "nothing", NEEDS, done={"tune", "other"})
    keeper.note("eval-1")
    assert list_weights(layout) == {"tune", "other"}
    keeper.note("eval-2")
    assert list_weights(layout) == {"other"}


def test_an_evaluation_counts_once_and_one_that_needs_nothing_not_at_all(layout: Layout) -> None:
    keeper = Keeper(layout, "nothing", NEEDS, done={"tune", "other"})
    for told in ("eval-1", "eval-1", "zero-shot"):
        keeper.note(told)
    assert list_weights(layout) == {"tune", "other"}


def test_weights_whose_evaluations_were_all_done_before_go_at_once(layout: Layout) -> None:
    Keeper(layout, "nothing", NEEDS, done={"tune", "eval-1", "eval-2", "other"})
    assert list_weights(layout) == {"other"}
    Keeper(layout, "nothing", NEEDS, done={"other-eval"})  # of a fine-tune that is not done nothing is touched
    assert list_weights(layout) == {"other"}


@pytest.mark.parametrize(
    ("keep", "stay"), [("full", {"tune", "other"}), ("adapter", {"tune"}), ("nothing", set[str]())]
)
def test_all_weights_stay_or_adapters_alone_or_none(layout: Layout, keep: Keep, stay: set[str]) -> None:
    (layout.weights("tune") / "adapter_config.json").write_text("{}", encoding="utf-8")
    keeper = Keeper(layout, keep, NEEDS, done={"tune", "other"})
    for told in NEEDS:
        keeper.note(told)
    assert list_weights(layout) == stay
    assert not list(layout.jobs.glob("*/.model.removed"))


def test_what_an_earlier_driver_could_not_remove_to_the_end_is_removed(layout: Layout) -> None:
    left = layout.job("tune") / ".model.removed"
    left.mkdir()
    (left / "half").touch()
    layout.weights("tune").rmdir()
    Keeper(layout, "nothing", NEEDS, done={"tune", "eval-1", "eval-2"})
    assert not left.exists()


def test_lost_are_weights_of_done_fine_tunes_that_an_open_evaluation_needs(layout: Layout) -> None:
    layout.weights("tune").rmdir()
    assert find_lost(layout, NEEDS, {"tune", "other", "eval-1"}) == {"tune"}
    assert find_lost(layout, NEEDS, {"tune", "other", "eval-1", "eval-2"}) == frozenset()
    assert find_lost(layout, NEEDS, {"other"}) == frozenset()


def test_a_fine_tune_whose_weights_are_lost_is_asked_for_anew(layout: Layout) -> None:
    layout.weights("tune").rmdir()
    for job_id in ("tune", "other"):
        layout.result(job_id).write_text("{}", encoding="utf-8")
    reopen_lost(layout, NEEDS)
    assert layout.list_done() == {"other"}
    (event,) = read_events(layout.journal("tune"))
    assert (event["event"], event["reason"]) == ("retried", "its weights were not kept, and are needed again")
    assert not read_events(layout.journal("other"))
