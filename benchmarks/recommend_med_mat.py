"""Hold the order that is foretold of Med-MAT's published gains against the published one.

    python benchmarks/recommend_med_mat.py

Table 3 of arXiv 2412.20070 has 43 held-out combinations of LLaVA-1.5-7B. Two orders of their gains over unrelated
training are compared with the published one by Spearman's rank correlation: what `recommend` says from elements alone,
and its regression on the gains of all other targets, each target in turn left out. Intervals are from a bootstrap of
whole targets. Nothing is trained here.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.planning.build import build_graph
from cg_lab.planning.mixture import Spreader
from cg_lab.recommendation.mixture_scores import score_structure
from cg_lab.recommendation.subset_relations import FloatArray, SubsetRelations, relate_subsets
from cg_lab.recommendation.transfer_model import Observations, TransferModel, describe_mixtures

PUBLISHED = Path(__file__).parents[1] / "cg_lab" / "reporting" / "med_mat_published.csv"
SAMPLES = 6_000
"""Of each of the paper's fine-tunes."""
DRAWS = 10_000


def read_gains() -> tuple[SubsetRelations, Observations]:
    """Read the combinations of Table 3, with gains in place of skills."""
    study = read_study(["experiment=medmat_table3"])
    relations = relate_subsets(build_graph(read_catalog(study.data), study))
    graph = relations.graph
    percents: dict[tuple[str, str], dict[str, float]] = {}
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["table"] == "Table 3":
                percents.setdefault((row["target"], row["sources"]), {})[row["arm"]] = float(row["percent"])
    counts_NS = np.zeros((len(percents), relations.num_subsets), np.int64)
    spreader = Spreader(graph.subsets)
    for number, (_, sources) in enumerate(percents):
        for part in spreader.build_mixture(tuple(sorted(sources.split(";"))), SAMPLES, seed=0).parts:
            counts_NS[number, graph.index[part.subset]] = part.count
    return relations, Observations(
        counts_NS=counts_NS,
        targets_N=np.array([graph.index[target] for target, _ in percents]),
        skills_N=np.array([(found["related"] - found["unrelated"]) / 100 for found in percents.values()]),
        seeds_N=np.ones(len(percents), np.int64),
    )


def predict_each(relations: SubsetRelations, observed: Observations) -> FloatArray:
    """Predict each gain from those of other targets, by fine-tunes that were not trained on its target."""
    predicted_N = np.zeros(len(observed.skills_N))
    for target in np.unique(observed.targets_N):
        asked_N = observed.targets_N == target
        model = TransferModel(relations, observed.hide([int(target)]))
        predicted_N[asked_N] = model.predict(relations, observed.counts_NS[asked_N], observed.targets_N[asked_N])
    return predicted_N


def correlate(scores_N: FloatArray, observed: Observations) -> tuple[float, float, float]:
    """Give the rank correlation with the gains, with its 95 % interval."""
    generator, targets = np.random.default_rng(0), np.unique(observed.targets_N)
    rows = [np.flatnonzero(observed.targets_N == target) for target in targets]
    found: list[float] = []
    for _ in range(DRAWS):
        drawn = np.concatenate([rows[place] for place in generator.integers(len(rows), size=len(rows))])
        found.append(_correlate_ranks(scores_N[drawn], observed.skills_N[drawn]))
    low, high = np.nanquantile(found, [0.025, 0.975])
    return _correlate_ranks(scores_N, observed.skills_N), float(low), float(high)


def _correlate_ranks(first_N: FloatArray, second_N: FloatArray) -> float:
    return float(np.corrcoef(rankdata(first_N), rankdata(second_N))[0, 1])


def main() -> None:
    """Print the table."""
    relations, observed = read_gains()
    described = describe_mixtures(relations, observed.counts_NS, observed.targets_N)
    ways = {
        "elements alone": score_structure(described),
        "regression on the other targets' gains": predict_each(relations, observed),
    }
    table = Table("order by", "rank correlation", "95 %", box=None)
    for name, scores_N in ways.items():
        value, low, high = correlate(scores_N, observed)
        table.add_row(name, f"{value:+.2f}", f"[{low:+.2f}, {high:+.2f}]")
    console = Console()
    console.print(
        f"{len(observed.skills_N)} published gains about {len(np.unique(observed.targets_N))} targets, "
        f"{100 * observed.skills_N.min():+.0f} to {100 * observed.skills_N.max():+.0f} points"
    )
    console.print(table)


if __name__ == "__main__":
    main()
