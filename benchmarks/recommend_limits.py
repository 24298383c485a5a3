"""Why recommendations are not better: how much of what a mixture does for a target its description can tell.

    python benchmarks/recommend_limits.py [WORLD ...]

Over the tables that benchmarks/recommend.py reads; all rows are judged by the second
half of the questions. Regressions "on the target itself" are fitted to the target's own answers about nine tenths of
the mixtures and foretell the last tenth, which no recommendation could: what they miss is not in the description.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recommend import World, open_world, relate
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from transfer_table import SUBSETS, TABLES

from cg_lab.recommendation.subset_relations import FloatArray
from cg_lab.recommendation.transfer_model import describe_mixtures

NEAR = 10
"""Points below the best mixture within which another is as good."""
PARTS = 10
"""Of the mixtures, each of which is foretold from the others."""


def main() -> None:
    """Print a row for each measure, a column for each world."""
    worlds = sys.argv[1:] or sorted(path.stem for path in TABLES.glob("*.csv"))
    measured = [measure_world(open_world(name)) for name in worlds]
    table = Table("measured", *worlds)
    for name in measured[0]:
        table.add_row(
            name, *(f"{found[name]:.2f}" if name.startswith("rank") else f"{found[name]:.1f}" for found in measured)
        )
    Console(width=160).print(table)


def measure_world(world: World) -> dict[str, float]:
    """Measure one world; accuracies in points, shares in percent."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for target in range(len(SUBSETS)):
        for measure, value in _measure_target(world, target).items():
            found[measure].append(value)
    return {measure: float(np.mean(values)) for measure, values in found.items()} | _spread_of_likes(world)


def _measure_target(world: World, target: int) -> dict[str, float]:
    mine = world.whole.targets_N == target
    first, second, counts = world.first_N[mine], world.second_N[mine], world.whole.counts_NS[mine]
    scale = 100 * (1 - world.relations.graph.subsets[target].chance)
    described = describe_mixtures(world.relations, counts, world.whole.targets_N[mine])

    def regret(scores: FloatArray) -> float:
        return float(second.max() - second[np.argmax(scores)]) * scale

    return {
        f"mixtures within {NEAR} points of the best, %": 100 * float(np.mean(second >= second.max() - NEAR / scale)),
        "rank correlation of the two halves of the questions": float(np.asarray(spearmanr(first, second))[0]),
        "regret of the first half of the questions": regret(first),
        "regret of the regression on the target itself": regret(_foretell(_make_regression, described, first)),
        "regret of a forest on the target itself, which knows subsets by name": regret(
            _foretell(_make_forest, np.column_stack([described, (counts > 0).astype(np.float64)]), first)
        ),
        "regret of a forest on other targets, with features of images": regret(
            _foretell_from_others(world, target, mine)
        ),
    }


def _make_regression() -> Any:  # noqa: ANN401 - scikit-learn's estimators have no common type
    return make_pipeline(
        PolynomialFeatures(2, interaction_only=True, include_bias=False), StandardScaler(), BayesianRidge()
    )


def _make_forest() -> Any:  # noqa: ANN401
    return RandomForestRegressor(200, random_state=0, min_samples_leaf=2)


def _foretell(make: Callable[[], Any], described: FloatArray, skills: FloatArray) -> FloatArray:
    """Foretell each mixture from the others, a tenth at a time."""
    parts = np.random.default_rng(0).integers(0, PARTS, len(skills))
    foretold = np.zeros(len(skills))
    for part in range(PARTS):
        out = parts == part
        foretold[out] = make().fit(described[~out], skills[~out]).predict(described[out])
    return foretold


def _foretell_from_others(world: World, target: int, mine: NDArray[np.bool_]) -> FloatArray:
    """Foretell a target's mixtures by a forest that other targets are told to, with all that features of images say."""
    relations = relate(world.name, target, "target")
    rest = world.whole.hide([target])

    def describe(counts: NDArray[np.int64], targets: NDArray[np.int64]) -> FloatArray:
        shares = counts / counts.sum(axis=1, keepdims=True)
        shared = world.relations.shared_STF[:, targets].swapaxes(0, 1)
        shown = ((shares[:, :, None] > 0) & shared).any(axis=1)
        weight = np.einsum("ns,nsf->nf", shares, shared)
        return np.column_stack([describe_mixtures(relations, counts, targets), weight, shown.astype(np.float64)])

    forest = RandomForestRegressor(300, random_state=0, min_samples_leaf=3)
    forest.fit(describe(rest.counts_NS, rest.targets_N), rest.skills_N)
    return forest.predict(describe(world.whole.counts_NS[mine], world.whole.targets_N[mine]))


def _spread_of_likes(world: World) -> dict[str, float]:
    """Measure how mixtures differ that the regression can't tell apart."""
    targets = world.whole.targets_N
    described = np.round(describe_mixtures(world.relations, world.whole.counts_NS, targets), 4)
    scales = 100 * np.array([1 - world.relations.graph.subsets[target].chance for target in targets])
    accuracy = world.second_N * scales
    alike = _group(map(tuple, described.tolist()))
    together = np.concatenate(alike)
    within = _pool(alike, accuracy)
    of_target = _group(map(tuple, np.column_stack([described, targets]).tolist()))
    return {
        "variance among mixtures that look alike, % of all": 100 * within / float(np.var(accuracy[together])),
        "standard deviation of mixtures that look alike for one target": float(np.sqrt(_pool(of_target, accuracy))),
    }


def _group(keys: Iterable[tuple[float, ...]]) -> list[NDArray[np.int64]]:
    """Give the rows of each key that more than one row has."""
    rows: defaultdict[tuple[float, ...], list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    return [np.array(found) for found in rows.values() if len(found) > 1]


def _pool(groups: Sequence[NDArray[np.int64]], values: FloatArray) -> float:
    """Pool the variances within groups."""
    return sum(float(np.var(values[rows])) * len(rows) for rows in groups) / sum(map(len, groups))


if __name__ == "__main__":
    main()
