"""What recommendations are worth: each subset of a world in turn is the target, nothing about it is looked at.

    python benchmarks/recommend.py [WORLD ...]

Reads benchmarks/transfer_tables/ (see transfer_table.py) and merged_tables/ (see merge_table.py). What the untouched
model sees of training images is computed once, and kept in results/features. For each world and way of choosing among
all mixtures that were trained: the mean regret in points below the best of them, the share of targets whose accuracy
lies within the 95 % interval, the share of targets for which it abstains, and how many fine-tunes its evidence took.
Ways with "validation" see the first half of the target's questions, and all ways are judged by the second; ways with
"images of the target" see 128 of its training images with their labels.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from merge_table import read_merged
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import BayesianRidge
from transfer_table import AREAS, MODALITIES, SAMPLES, SUBSETS, TABLES, TASKS, Answers, read_table

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.execution.subset_views import NUM_IMAGES, SubsetViews
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import build_graph
from cg_lab.planning.mixture import Spreader
from cg_lab.recommendation.calibration import Calibration, calibrate
from cg_lab.recommendation.finished_answers import Evidence
from cg_lab.recommendation.mixture_scores import score_structure
from cg_lab.recommendation.ranked_mixtures import rank_mixtures
from cg_lab.recommendation.subset_features import SubsetFeatures, add_features
from cg_lab.recommendation.subset_relations import FloatArray, SubsetRelations, relate_subsets
from cg_lab.recommendation.transfer_model import Observations, TransferModel, describe_mixtures
from cg_lab.results import Layout
from cg_lab.study import ModelSettings, Study

RESULTS = Path("results")
REGRESSED = 38
"""Mixtures of the 114 that a regression on shares is given; it then picks among all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The fine-tunes of a world as they are looked at."""

    name: str
    relations: SubsetRelations
    whole: Observations
    """Skills by all questions: the evidence about other targets."""
    first_N: FloatArray
    """By the first half of the questions, which a target may give for validation."""
    second_N: FloatArray
    """By the second half, which judges."""
    num_finetunes: int


Choose = Callable[[World, int, NDArray[np.bool_]], FloatArray]
"""Scores of the rows that were asked about a target, given the world, the target and a mask of those rows."""


def read_world(name: str) -> Study:
    """Read the settings of a world."""
    values = (
        f"data.{key}=[{','.join(given)}]"
        for key, given in (("modalities", MODALITIES), ("areas", AREAS), ("tasks", TASKS))
    )
    return read_study([f"data.world={name}", "data.targets=null", *values])


@cache
def read_features(name: str) -> dict[str, SubsetFeatures]:
    """Read, or compute, what the untouched model sees of each subset's training images."""
    study = read_world(name)
    assert isinstance(study.model, ModelSettings)
    views = SubsetViews(
        catalog=read_catalog(study.data),
        identity=identify_backbone(study.model),
        layout=Layout(RESULTS),
        batch_size=study.evaluation.batch_size,
    )
    return views.view(dict.fromkeys(SUBSETS, NUM_IMAGES), lambda _: None)


@cache
def open_world(name: str) -> World:
    """Read a world's table; seeds of a mixture are taken together."""
    study = read_world(name)
    relations = relate_subsets(build_graph(read_catalog(study.data), study))
    assert tuple(relations.graph.index) == SUBSETS
    by_row: defaultdict[tuple[tuple[str, ...], str], list[Answers]] = defaultdict(list)
    for part in read_table(name):
        by_row[part.mixture, part.target].append(part)
    spreader = Spreader(relations.graph.subsets)
    counts_NS = np.zeros((len(by_row), len(SUBSETS)), np.int64)
    for row, (mixture, _) in enumerate(by_row):
        for part in spreader.build_mixture(mixture, SAMPLES, seed=0).parts:
            counts_NS[row, relations.graph.index[part.subset]] = part.count
    targets_N = np.array([relations.graph.index[target] for _, target in by_row])
    chances_N = np.array([relations.graph.subsets[target].chance for target in targets_N])

    def measure(right: Callable[[Answers], float]) -> FloatArray:
        shares = np.array([np.mean([right(part) for part in parts]) for parts in by_row.values()])
        return (shares - chances_N) / (1 - chances_N)

    return World(
        name=name,
        relations=relations,
        whole=Observations(
            counts_NS=counts_NS,
            targets_N=targets_N,
            skills_N=measure(lambda part: (part.right_first + part.right_second) / part.questions),
            seeds_N=np.array([len(parts) for parts in by_row.values()]),
        ),
        first_N=measure(lambda part: part.right_first / (part.questions // 2)),
        second_N=measure(lambda part: part.right_second / (part.questions - part.questions // 2)),
        num_finetunes=len({(part.mixture, part.seed) for parts in by_row.values() for part in parts}),
    )


Looked = Literal["nothing", "sources", "target"]
"""Whose training images the untouched model is shown: nobody's, those of all but the target, or of all."""


@cache
def relate(name: str, target: int, looked: Looked) -> SubsetRelations:
    """Relate the subsets of a world as a recommendation for a target does."""
    relations = open_world(name).relations
    if looked == "nothing":
        return relations
    features = read_features(name)
    if looked == "sources":
        features = {subset: part for subset, part in features.items() if subset != SUBSETS[target]}
    return add_features(relations, features, sees_target=looked == "target")


@cache
def calibrate_for(name: str, target: int, looked: Looked) -> tuple[SubsetRelations, Calibration]:
    """Hold out other targets as a recommendation for a target does."""
    relations = relate(name, target, looked)
    known = calibrate(relations, open_world(name).whole.hide([target]))
    assert known is not None
    return relations, known


def choose_as_recommended(looked: Looked) -> Choose:
    """Score as `recommend` does."""

    def choose(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
        relations, known = calibrate_for(world.name, target, looked)
        if known.prefers_all_related:
            return choose_all_related(world, target, asked_N)
        if known.prefers_structure:
            return order_structure(relations, world, asked_N)
        return predict(relations, world, target, asked_N)

    return choose


def predict(relations: SubsetRelations, world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Predict the skill of each mixture that was asked about a target."""
    model = TransferModel(relations, world.whole.hide([target]))
    return model.predict(relations, world.whole.counts_NS[asked_N], world.whole.targets_N[asked_N])


def order_structure(relations: SubsetRelations, world: World, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Order without any fine-tune."""
    counts_NS, targets_N = world.whole.counts_NS[asked_N], world.whole.targets_N[asked_N]
    return score_structure(describe_mixtures(relations, counts_NS, targets_N))


def choose_without_finetunes(looked: Looked) -> Choose:
    """Score as `recommend` does in an empty results folder."""

    def choose(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
        return order_structure(relate(world.name, target, looked), world, asked_N)

    return choose


def choose_by_validation(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Score by the target's validation part alone."""
    return world.first_N[asked_N]


def choose_by_mixture_regression(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Regress the validation part of some mixtures on shares, and predict all, as RegMix does (arXiv 2407.01492)."""
    shares, first_M = world.whole.counts_NS[asked_N] / SAMPLES, world.first_N[asked_N]
    tried = np.random.default_rng(target).permutation(len(first_M))[:REGRESSED]
    return np.asarray(BayesianRidge().fit(shares[tried], first_M[tried]).predict(shares))


def choose_by_merging(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Ask averages of models of single subsets the validation part, as Merge to Mix does (arXiv 2505.16066)."""
    merged = read_merged(world.name)
    mixtures = [tuple(np.array(SUBSETS)[row > 0].tolist()) for row in world.whole.counts_NS[asked_N]]
    return np.array([float(merged.get((mixture, SUBSETS[target]), -1)) for mixture in mixtures])


def choose_nearest(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Take what shares most elements in the mean over its samples."""
    return world.whole.counts_NS[asked_N] @ world.relations.shared_STF[:, target].sum(axis=1) / SAMPLES


def choose_all_related(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Take all that shares an element."""
    related_S = world.relations.shared_STF[:, target].any(axis=1) & (np.arange(len(SUBSETS)) != target)
    return -np.abs((world.whole.counts_NS[asked_N] > 0) ^ related_S).sum(axis=1).astype(float)


def choose_all_data(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Take all but the target."""
    return (world.whole.counts_NS[asked_N] > 0).sum(axis=1).astype(float)


def choose_single(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Take the single subset that did most for the other targets."""
    rest = world.whole.hide([target])
    is_single_N = (rest.counts_NS > 0).sum(axis=1) == 1
    worth_S = np.array(
        [
            rest.skills_N[is_single_N & (rest.counts_NS[:, source] > 0)].mean() if source != target else -np.inf
            for source in range(len(SUBSETS))
        ]
    )
    is_in_MS = world.whole.counts_NS[asked_N] > 0
    return np.where(is_in_MS.sum(axis=1) == 1, np.where(is_in_MS, worth_S, -np.inf).max(axis=1), -np.inf)


def choose_any(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Take any."""
    return np.zeros(int(asked_N.sum()))


WAYS: dict[str, Choose] = {
    "recommend": choose_as_recommended("nothing"),
    "recommend, features": choose_as_recommended("sources"),
    "recommend, features, images of the target": choose_as_recommended("target"),
    "elements alone": choose_without_finetunes("nothing"),
    "elements and features": choose_without_finetunes("sources"),
    "elements, features, images of the target": choose_without_finetunes("target"),
    "nearest by elements": choose_nearest,
    "all related": choose_all_related,
    "all data": choose_all_data,
    "single best for others": choose_single,
    "any": choose_any,
    "validation, all mixtures": choose_by_validation,
    "validation, RegMix-like": choose_by_mixture_regression,
    "validation, Merge to Mix": choose_by_merging,
}
COSTS = {
    "single best for others": len(SUBSETS),
    "validation, RegMix-like": REGRESSED,
    "validation, Merge to Mix": len(SUBSETS),
}
"""Fine-tunes that a way needs; others need none, or all."""
TRUSTED: dict[str, Looked] = {
    "recommend": "nothing",
    "recommend, features": "sources",
    "recommend, features, images of the target": "target",
}


def measure_regrets(world: World, choose: Choose) -> FloatArray:
    """Give the regret of a way for each target, in points of accuracy; of equals the mean."""
    regrets: list[float] = []
    for target in range(len(SUBSETS)):
        asked_N = world.whole.targets_N == target
        scores, judged = choose(world, target, asked_N), world.second_N[asked_N]
        first = judged[scores >= scores.max() - 1e-12].mean()
        regrets.append(100 * float(judged.max() - first) * (1 - world.relations.graph.subsets[target].chance))
    return np.array(regrets)


def measure_trust(world: World, looked: Looked) -> tuple[float, float]:
    """Give the shares of targets whose accuracy was covered, and for which `recommend` abstains."""
    covered: list[bool] = []
    abstains: list[bool] = []
    choose = choose_as_recommended(looked)
    for target, subset in enumerate(world.relations.graph.subsets):
        relations, known = calibrate_for(world.name, target, looked)
        asked_N = world.whole.targets_N == target
        first = int(np.argmax(choose(world, target, asked_N)))
        low, high = known.accuracy.bound(float(predict(relations, world, target, asked_N)[first]), 0.95)
        covered.append(low <= world.second_N[asked_N][first] <= high)
        rest = world.whole.hide([target])
        evidence = Evidence(observed=rest, studies=(), num_finetunes=0, num_left_out=0, num_foreign=0)
        found = rank_mixtures(relations, evidence, subset.name, SAMPLES, most=1, confidence=0.95)
        abstains.append(found.outlook != "likely")
    return float(np.mean(covered)), float(np.mean(abstains))


def main() -> None:
    """Print the table."""
    worlds = sys.argv[1:] or sorted(path.stem for path in TABLES.glob("*.csv"))
    opened = {name: open_world(name) for name in worlds}
    table = Table("way of choosing", *worlds, "fine-tunes", box=None)
    for name, choose in WAYS.items():
        cost = COSTS.get(name, next(iter(opened.values())).num_finetunes if "mend" in name or "valid" in name else 0)
        has_all = [choose is not choose_by_merging or bool(read_merged(world)) for world in worlds]
        regrets = [
            f"{measure_regrets(world, choose).mean():.1f}" if is_there else "-"
            for world, is_there in zip(opened.values(), has_all, strict=True)
        ]
        table.add_row(name, *regrets, str(cost))
    for name, looked in TRUSTED.items():
        trust = [measure_trust(world, looked) for world in opened.values()]
        table.add_section()
        table.add_row(f"{name}: 95 % intervals cover", *(f"{covered:.0%}" for covered, _ in trust), "")
        table.add_row(f"{name}: abstains", *(f"{abstains:.0%}" for _, abstains in trust), "")
    console = Console(width=140)
    console.print("Regret in points below the best mixture that was trained, mean over all subsets as targets")
    console.print(table)


if __name__ == "__main__":
    main()
