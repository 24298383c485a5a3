"""Made-up answers of fine-tunes over a small catalogue, in worlds in which it is known what helps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product

import numpy as np

from cg_lab.planning.graph import MatGraph
from cg_lab.recommendation.finished_answers import Evidence
from cg_lab.recommendation.subset_relations import SubsetRelations, relate_subsets
from cg_lab.recommendation.transfer_model import Observations
from tests.planning.cases import make_subset

World = Callable[[SubsetRelations, tuple[int, ...], int], float]
"""Skill that a mixture of some subsets, by position, reaches on a target."""
SAMPLES = 96


def make_relations(num_train: int = SAMPLES) -> SubsetRelations:
    """Relate the subsets of three modalities, two areas and two tasks."""
    cells = [make_subset(cell, num_train) for cell in product("ABC", "XY", "KL")]
    return relate_subsets(MatGraph(tuple(sorted(cells, key=lambda subset: subset.name)), ("modality", "area", "task")))


def needs_all_elements(relations: SubsetRelations, mixture: tuple[int, ...], target: int) -> float:
    """Skill comes with every element being shown."""
    return float(relations.shared_STF[list(mixture), target].any(axis=0).all())


def helps_nowhere(_: SubsetRelations, __: tuple[int, ...], ___: int) -> float:
    """No training helps."""
    return 0.0


def observe(relations: SubsetRelations, world: World, *, noise: float = 0.03) -> Observations:
    """Train on all single subsets, all pairs and all but each one, and ask about everything that is held out."""
    places = range(relations.num_subsets)
    mixtures = [*combinations(places, 1), *combinations(places, 2), *combinations(places, relations.num_subsets - 1)]
    rows = [(mixture, target) for mixture in mixtures for target in places if target not in mixture]
    counts_NS = np.zeros((len(rows), relations.num_subsets), np.int64)
    for row, (mixture, _) in enumerate(rows):
        counts_NS[row, list(mixture)] = SAMPLES // len(mixture)
    random = np.random.default_rng(0)
    return Observations(
        counts_NS=counts_NS,
        targets_N=np.array([target for _, target in rows]),
        skills_N=np.array([world(relations, *row) for row in rows]) + random.normal(0, noise, len(rows)),
        seeds_N=np.ones(len(rows), np.int64),
    )


def make_evidence(observed: Observations) -> Evidence:
    """Give observations as they are read from a results folder."""
    return Evidence(observed=observed, studies=("s",), num_finetunes=1, num_left_out=0, num_foreign=0)
