"""Small catalogues and studies for the planner's tests."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st

from cg_lab.arms import Arm
from cg_lab.catalog import Catalog, PhantomData, build_catalog
from cg_lab.cli.runs import open_runs
from cg_lab.config import Request, read_studies, read_study
from cg_lab.mat import Subset
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.designs import parse_design
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Plan
from cg_lab.questions import AnswerForm
from cg_lab.study import Backbone, Study

DATA = PhantomData(version=1, world="compositional", seed=0, image_size=48, train_per_subset=100, test_per_subset=10)
BACKBONE = Backbone(name="m", path="p", revision="r", answer=AnswerForm.LETTER)
STUDY = replace(read_study(["data.targets=null", "seeds=[0,1]"]), targets=None)
DEFAULTS: dict[str, dict[str, Any]] = {
    "two_source": {"directions": ["modality", "area", "task"], "combinations": 2},
    "three_source": {"combinations": 2},
    "all_related": {"asks_sources": True},
    "disrupt": {},
    "multi_task": {"in_distribution": None, "tests_in_distribution": True},
    "size_curve": {"sizes": [8, 16, 32], "directions": ["task"], "combinations": 1},
    "target_curve": {"target_samples": [0, 8], "directions": ["task"], "combinations": 1},
    "backbones": {"directions": ["modality", "area", "task"], "per_direction": 2, "seed": 42},
    "few_shot": {"shots": [0, 2], "directions": ["task"], "combinations": 1},
    "cross_kind": {"directions": ["modality", "area", "task"], "combinations": 1, "target_samples": 4},
    "crossmed": {},
    "coverage": {"factors": ["modality", "area"], "values": [2, 3], "shown": [1, 2]},
    "divergence": {"divergences": [0.0, 0.5], "test_share": 0.2, "seed": 0},
    "distance": {"nodes": None, "num_nodes": 2, "num_sets": 1, "per_shell": 2},
    "folds": {"folds": None},
    "recommended_mixture": {"rows": [{"target": "a-x-k", "sources": ["a-y-k", "b-x-k"], "single": "a-y-k"}]},
    "transfer": {"sizes": [1], "per_size": None, "mixtures": []},
    "checkpoints": {
        "table": "trained.csv",
        "rows": [
            {
                "target": "a-x-k",
                "arm": "related",
                "checkpoint": {
                    "seed": 0,
                    "weights": "/models/both@0123",
                    "parts": [{"subset": "a-y-k", "count": 8}, {"subset": "b-x-k", "count": 8}],
                },
            }
        ],
    },
    "attribute_split": {
        "attribute": "modality",
        "object": "area",
        "validation_share": 0.2,
        "test_share": 0.2,
        "worlds": ["closed", "open"],
    },
}


def make_subset(own: tuple[str, ...], num_train: int = 40, **more: Any) -> Subset:
    return Subset(
        name="-".join(own).lower(),
        elements=tuple((value,) for value in own),
        labels=("no", "yes"),
        num_options=2,
        num_train=num_train,
        num_test=10,
        **more,
    )


def make_catalog(subsets: list[Subset], **more: Any) -> Catalog:
    return build_catalog(DATA, subsets, **more)


def cube() -> Catalog:
    return make_catalog([make_subset(cell) for cell in product("ABC", "XYZ", "KLM")])


def with_design(name: str, study: Study = STUDY, *, max_samples: int = 64, **settings: Any) -> Study:
    kinds = ["classification", "detection"] if name == "cross_kind" else ["classification"]
    raw = {"name": name, "kinds": kinds, "max_samples": max_samples, **DEFAULTS[name], **settings}
    return replace(study, design=parse_design(raw, where="test"))


def assert_same_jobs(experiment: str) -> None:
    """Compare the related fine-tunes of an experiment with those that its published table was made from."""
    runs = open_runs(read_studies(Request(overrides=(f"experiment={experiment}",), multirun=False)))
    planned = {cell.key: cell.finetune_job for cell in build_plan([run.to_run() for run in runs]).cells}
    path = Path(__file__).resolve().parents[2] / "experiments" / experiment / "cells.csv"
    with path.open(encoding="utf-8", newline="") as file:
        published = {row["cell"]: row["finetune_job"] for row in csv.DictReader(file) if row["arm"] == Arm.RELATED}
    assert published
    assert published == {key: planned.get(key) for key in published}


def plan_one(study: Study, catalog: Catalog) -> Plan:
    return build_plan([Run(name="", study=study, catalog=catalog, backbone=BACKBONE)])


@st.composite
def graphs(draw: st.DrawFn, *, sizes: tuple[int, int], values: tuple[int, ...], is_filled: bool = False) -> MatGraph:
    """Subsets of two to four factors, with tags and equals among them, and sides without samples unless filled.

    Parameters
    ----------
    sizes
        Fewest and most subsets.
    values
        Values of each factor.
    is_filled
        Whether all sides have samples.

    """
    num_factors = draw(st.integers(2, len(values)))
    pools = [[f"{'abcd'[factor]}{number}" for number in range(values[factor])] for factor in range(num_factors)]
    random = Random(draw(st.integers(0, 2**32)))
    cells = list(product(*pools))
    random.shuffle(cells)
    size = draw(st.integers(*sizes))
    cells = (cells * (1 + size // len(cells)))[:size] if draw(st.booleans()) else random.choices(cells, k=size)
    tagged, share = draw(st.integers(0, num_factors - 1)), draw(st.sampled_from([0.0, 0.3, 0.6, 1.0]))
    tags = [*pools[tagged], "tag"]
    sides = [(40, 10)] if is_filled else [(40, 10), (40, 10), (40, 10), (40, 10), (3, 10), (0, 10), (40, 0)]
    subsets: list[Subset] = []
    for number, cell in enumerate(cells):
        elements: list[tuple[str, ...]] = [(value,) for value in cell]
        if random.random() < share:
            elements[tagged] = tuple(dict.fromkeys((cell[tagged], random.choice(tags))))
        num_train, num_test = random.choice(sides)
        subset = replace(make_subset(cell, num_train), name=f"s{number:02d}", num_test=num_test)
        subsets.append(replace(subset, elements=tuple(elements)))
    return MatGraph(tuple(subsets), tuple("abcd"[:num_factors]), strict=draw(st.booleans()))


def are_twins(graph: MatGraph, one: Subset, other: Subset) -> bool:
    """Tell whether one subset may not be trained on when the other is held out, without asking the graph."""
    pairs = [(set(first), set(second)) for first, second in zip(one.elements, other.elements, strict=True)]
    return all(first & second if graph.strict else first == second for first, second in pairs)
