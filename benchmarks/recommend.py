"""What recommendations are worth: each subset of a world in turn is the target, nothing about it is looked at.

    python benchmarks/recommend.py [WORLD ...]

Reads benchmarks/transfer_tables/ (see transfer_table.py). For each world and way of choosing among all mixtures that
were trained: the mean regret in points below the best of them, the share of targets whose accuracy lies within the 95 %
interval, the share of targets for which it abstains, and how many fine-tunes its evidence took. Ways with "validation"
see the first half of the target's questions, and all ways are judged by the second.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import BayesianRidge
from transfer_table import AREAS, MODALITIES, SAMPLES, SUBSETS, TABLES, TASKS, Answers, read_table

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.planning.build import build_graph
from cg_lab.planning.mixture import Spreader
from cg_lab.recommendation.calibration import calibrate
from cg_lab.recommendation.finished_answers import Evidence
from cg_lab.recommendation.ranked_mixtures import rank_mixtures, score_structure
from cg_lab.recommendation.subset_relations import FloatArray, SubsetRelations, relate_subsets
from cg_lab.recommendation.transfer_model import Observations, TransferModel, describe_mixtures


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The fine-tunes of a world as they are looked at."""

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


def open_world(name: str) -> World:
    """Read a world's table; seeds of a mixture are taken together."""
    values = (
        f"data.{key}=[{','.join(given)}]"
        for key, given in (("modalities", MODALITIES), ("areas", AREAS), ("tasks", TASKS))
    )
    study = read_study([f"data.world={name}", "data.targets=null", *values])
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


def choose_by_model(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Score as `recommend` does."""
    rest = world.whole.hide([target])
    known = calibrate(world.relations, rest)
    if known is not None and known.prefers_all_related:
        return choose_all_related(world, target, asked_N)
    return predict(world, target, asked_N)


def predict(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Predict the skill of each mixture that was asked about a target."""
    model = TransferModel(world.relations, world.whole.hide([target]))
    return model.predict(world.relations, world.whole.counts_NS[asked_N], world.whole.targets_N[asked_N])


def choose_by_structure(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Score as `recommend` does without any fine-tune."""
    described = describe_mixtures(world.relations, world.whole.counts_NS[asked_N], world.whole.targets_N[asked_N])
    return score_structure(described)


def choose_by_validation(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Score by the target's validation part alone."""
    return world.first_N[asked_N]


def choose_by_mixture_regression(world: World, target: int, asked_N: NDArray[np.bool_]) -> FloatArray:
    """Regress the validation part on the shares of subsets, as RegMix does (arXiv 2407.01492); here linearly."""
    shares = world.whole.counts_NS[asked_N] / SAMPLES
    regression = BayesianRidge().fit(shares, world.first_N[asked_N])
    return np.asarray(regression.predict(shares))


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
    "recommend": choose_by_model,
    "recommend, elements alone": choose_by_structure,
    "nearest by elements": choose_nearest,
    "all related": choose_all_related,
    "all data": choose_all_data,
    "single best for others": choose_single,
    "any": choose_any,
    "validation": choose_by_validation,
    "validation, RegMix-like": choose_by_mixture_regression,
}
COSTLY = {"recommend", "single best for others", "validation", "validation, RegMix-like"}


def measure_regret(world: World, choose: Choose) -> float:
    """Give the mean regret of a way over all targets, in points of accuracy; of equals the mean."""
    regrets: list[float] = []
    for target in range(len(SUBSETS)):
        asked_N = world.whole.targets_N == target
        scores, judged = choose(world, target, asked_N), world.second_N[asked_N]
        first = judged[scores >= scores.max() - 1e-12].mean()
        regrets.append(float(judged.max() - first) * (1 - world.relations.graph.subsets[target].chance))
    return 100 * float(np.mean(regrets))


def measure_trust(world: World) -> tuple[float, float]:
    """Give the shares of targets whose accuracy was covered, and for which `recommend` abstains."""
    covered: list[bool] = []
    abstains: list[bool] = []
    for target, subset in enumerate(world.relations.graph.subsets):
        rest = world.whole.hide([target])
        known = calibrate(world.relations, rest)
        assert known is not None
        asked_N = world.whole.targets_N == target
        predicted = predict(world, target, asked_N)
        first = int(np.argmax(choose_by_model(world, target, asked_N)))
        low, high = known.accuracy.bound(float(predicted[first]), 0.95)
        covered.append(low <= world.second_N[asked_N][first] <= high)
        evidence = Evidence(observed=rest, studies=(), num_finetunes=0, num_left_out=0, num_foreign=0)
        found = rank_mixtures(world.relations, evidence, subset.name, SAMPLES, most=1, confidence=0.95)
        abstains.append(found.outlook != "likely")
    return float(np.mean(covered)), float(np.mean(abstains))


def main() -> None:
    """Print the table."""
    worlds = sys.argv[1:] or sorted(path.stem for path in TABLES.glob("*.csv"))
    opened = {name: open_world(name) for name in worlds}
    table = Table("way of choosing", *worlds, "fine-tunes", box=None)
    for name, choose in WAYS.items():
        cost = str(next(iter(opened.values())).num_finetunes) if name in COSTLY else "0"
        table.add_row(name, *(f"{measure_regret(world, choose):.1f}" for world in opened.values()), cost)
    trust = [measure_trust(world) for world in opened.values()]
    table.add_section()
    table.add_row("95 % intervals cover", *(f"{covered:.0%}" for covered, _ in trust), "")
    table.add_row("abstains", *(f"{abstains:.0%}" for _, abstains in trust), "")
    console = Console()
    console.print("Regret in points below the best mixture that was trained, mean over all subsets as targets")
    console.print(table)


if __name__ == "__main__":
    main()
