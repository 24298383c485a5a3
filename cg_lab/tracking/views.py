"""Saved views of MLflow's run table: a filter, an order and columns under a name."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any

from cg_lab.arms import CONTROLS, Arm

KIND_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Has the UI open an experiment as model training, with its run table, not as traces of an application."""
SHARE_TAG = "mlflow.sharedViewState."
CELL_COLUMNS = ("params.target", "params.arm", "params.seed")
NAME_COLUMN, NAME_WIDTH = "attributes.`Run Name`", 330
"""A run's name, and the pixels in which names and groups can be told apart."""
GAIN_COLUMNS = ("metrics.accuracy", *(f"metrics.gain_over_{over}" for over in CONTROLS))


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One entry of the UI's menu "Views"."""

    key: str
    """Part of its address."""
    name: str
    filter: str
    order: str
    is_ascending: bool = False
    columns: tuple[str, ...]
    group_by: tuple[str, ...] = ()
    """Parameters or tags whose equal runs make one row, or one line of a chart, with their means."""
    charts: str = ""
    """Words in the names of the charts that it begins with; empty where it is a table."""


VIEWS = (
    View(
        key="means",
        name="Means over seeds",
        filter=" AND ".join(
            ["tags.kind = 'cell'", *(f"tags.arm != '{arm}'" for arm in Arm if not arm.traits.asks_target)]
        ),
        order="attributes.start_time",
        columns=(*GAIN_COLUMNS, "metrics.num_questions"),
        group_by=("tags.seeds_of",),
    ),
    View(
        key="questions",
        name="Verdicts",
        filter="tags.kind = 'question'",
        order="attributes.start_time",
        columns=("tags.verdict", *GAIN_COLUMNS, "metrics.synergy", "metrics.p_holm", "tags.sources"),
    ),
    View(
        key="cells",
        name="Cells",
        filter="tags.kind = 'cell'",
        order="params.target",
        is_ascending=True,
        columns=(*GAIN_COLUMNS, *CELL_COLUMNS, "metrics.num_questions", "params.subset", "params.sources"),
    ),
    View(
        key="related",
        name="Related arm, largest gain first",
        filter="tags.arm = 'related' AND tags.fully_covered = 'true'",
        order="metrics.gain_over_zero_shot",
        columns=(*GAIN_COLUMNS, "params.target", "params.seed", "params.direction", "params.sources"),
    ),
    View(
        key="finetunes",
        name="Fine-tunes",
        filter="tags.kind = 'finetune'",
        order="attributes.start_time",
        columns=(
            "params.sources",
            "params.seed",
            "params.num_samples",
            "metrics.last_loss",
            "metrics.seconds",
            "metrics.mean_samples_per_s",
            "tags.host",
        ),
    ),
    View(
        key="losses",
        name="Loss by arm",
        filter="tags.kind = 'finetune'",
        order="attributes.start_time",
        columns=("params.sources", "params.seed", "metrics.last_loss"),
        group_by=("tags.arms",),
        charts="loss",
    ),
    View(
        key="unfinished",
        name="Not finished",
        filter="attributes.status != 'FINISHED'",
        order="attributes.start_time",
        columns=("tags.kind", "tags.failure", "tags.failure_message", "tags.host"),
    ),
)


def build_view_tags() -> dict[str, str]:
    """Give the tags of an experiment that hold its views, as the UI's "Save as new view" writes them."""
    return {
        f"{SHARE_TAG}{view.key}": json.dumps(
            {"name": view.name, "createdAt": 0, "updatedAt": 0, "state": _pack(_describe(view))}
        )
        for view in VIEWS
    }


def _describe(view: View) -> dict[str, Any]:
    columns = [_quote(column) for column in view.columns]
    parts = [column.split(".", 1) for column in view.group_by]
    keys = [{"mode": kind.removesuffix("s"), "groupByData": name} for kind, name in parts]
    return {
        "searchFilter": view.filter,
        "orderByKey": _quote(view.order) if not view.order.startswith("attributes.") else view.order,
        "orderByAsc": view.is_ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": [NAME_COLUMN, *columns],
        "columnWidths": {NAME_COLUMN: NAME_WIDTH} | {_quote(column): 170 for column in GAIN_COLUMNS[1:]},
        "chartsSearchFilter": view.charts,
        "runsHiddenMode": "FIRST_20_RUNS",
        "groupBy": {"aggregateFunction": "average", "groupByKeys": keys} if keys else None,
    }


def _quote(column: str) -> str:
    """Write a column as the UI does.

    >>> _quote("params.arm")
    'params.`arm`'
    """
    kind, _, name = column.partition(".")
    return f"{kind}.`{name}`"


def _pack(state: dict[str, Any]) -> str:
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
