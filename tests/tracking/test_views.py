"""Saved views of the run table."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

from cg_lab.tracking.views import VIEWS, View, build_view_tags
from tests.tracking.test_questions import leave_report


def unpack(tag: str) -> dict[str, Any]:
    packed = json.loads(tag)["state"]
    return json.loads(zlib.decompress(base64.b64decode(packed.removeprefix("deflate;"))))


@pytest.fixture
def mirrored(lab: Any) -> Any:
    lab.finish()
    leave_report(lab, *["composes"] * len(lab.plan.contrasts))
    lab.sync()
    return lab


def test_every_view_is_in_the_experiment_and_its_filter_finds_runs(mirrored: Any) -> None:
    experiment = mirrored.client.get_experiment_by_name(mirrored.plan.study)

    for view in VIEWS:
        state = unpack(experiment.tags[f"mlflow.sharedViewState.{view.key}"])
        order = f"{state['orderByKey']} {'ASC' if view.is_ascending else 'DESC'}"
        found = mirrored.client.search_runs([experiment.experiment_id], state["searchFilter"], order_by=[order])
        assert bool(found) == (view.key != "unfinished"), view.name


def test_every_column_of_a_view_exists_in_the_runs_that_it_shows(mirrored: Any) -> None:
    def has(run: Any, column: str) -> bool:
        kind, _, name = column.partition(".")
        return name in getattr(run.data, kind)

    for view in VIEWS:
        runs = mirrored.search(view.filter).values()
        missing = [column for column in view.columns if runs and not any(has(run, column) for run in runs)]
        assert not missing, view.name


def test_a_view_fits_the_length_of_an_experiment_tag() -> None:
    assert all(isinstance(view, View) for view in VIEWS)
    assert max(len(value) for value in build_view_tags().values()) < 5000
