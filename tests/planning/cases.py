"""Small catalogues and studies for the planner's tests."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

from cg_lab.catalog import Catalog, PhantomData, build_catalog
from cg_lab.config import read_study
from cg_lab.mat import Subset
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.designs import parse_design
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
    "attribute_split": {
        "attribute": "modality",
        "object": "area",
        "validation_share": 0.2,
        "test_share": 0.2,
        "worlds": ["closed", "open"],
    },
}
HELD_OUT = tuple(name for name in DEFAULTS if name not in {"cross_kind", "attribute_split"})
"""Designs that work on any catalogue of classification subsets."""


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


def plan_one(study: Study, catalog: Catalog) -> Plan:
    return build_plan([Run(name="", study=study, catalog=catalog, backbone=BACKBONE)])
