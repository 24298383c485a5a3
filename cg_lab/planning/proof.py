"""The proof of a held-out split, read off what a model is really trained on: who shows what of the target."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

from cg_lab.catalog import Catalog
from cg_lab.mat import Kind, Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.members import Members
from cg_lab.planning.plan_tables import Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which training subsets show one element of the target."""

    factor: str
    value: str
    subsets: Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was found out about a cell's training before the cell was admitted."""

    target_absent: bool
    """Nothing that counts as the target is trained on or shown as an example; false only where an arm sees the target
    by intent."""
    target_samples: int = 0
    """Training samples of the target itself that are trained on."""
    target_examples: int = 0
    """Training samples of the target itself that are shown as examples in each prompt."""
    twins: Names
    """Training subsets that share an element of every factor with the target, whether or not they count as it."""
    twins_counted: Names = ()
    """Those of them that do count as the target."""
    whole_in: Names = ()
    """Training subsets that alone show every element that is asked for: then nothing needs to be recombined."""
    only: str = ""
    """The subset that is trained on beside the target itself, where it is just one."""
    coverage: tuple[Coverage, ...]
    """For each factor that is asked about."""
    shared_elements: int
    """Elements of the target that any training subset shows; 0 for unrelated arms and for the untouched backbone."""
    shared_by_each: tuple[int, int] = (0, 0)
    """The fewest and the most elements of the target that one training subset shows."""
    num_train: int
    """Training samples of one epoch."""
    budget: int
    """Samples that the arm was to get."""
    num_test: int
    chance: float
    detectable: float | None
    """Smallest gain over chance that the test set shows with 80 % power (two-sided 5 %, normal approximation); None for
    boxes, which have no chance level."""
    labels_shared: tuple[str, ...]
    """Labels of the target that also occur in the training subsets."""
    same_options: Names
    """Training subsets that ask with the very labels of the target."""
    same_datasets: tuple[str, ...]
    """Original data sets that are part of the target and of a training subset: look for shared images there."""
    overlaps: int | None
    """Samples, image hashes or groups that stand in training and test both; None where samples are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """All that a proof depends on."""

    target: str
    """Name of the held-out subset."""
    view: tuple[str, ...]
    """The element of each factor that it stands for."""
    factors: tuple[int, ...]
    """Positions of the factors that are asked about."""
    training: Members
    """Subsets that the model is trained on; none for the untouched backbone."""
    target_samples: int
    """Of the target, among `num_train`."""
    filler: str
    """Name of the filler that is mixed in, which is asked about nothing but whether tests are among it; else empty."""
    target_examples: int
    """Training samples of the target that each prompt shows."""
    num_train: int
    budget: int
    asked: str
    """The subset whose test questions are asked: the target, or one of the sources."""
    num_candidates: int
    """Options of each question where they are not the subset's own, else 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surroundings:
    """Who shares what with a target, itself left out of each set."""

    target: Subset
    others: Members
    sharing_all: Members
    twins: Members
    sharing: tuple[Members, ...]
    """For each factor."""
    at_least: tuple[Members, ...]
    """For 0, 1, ... factors, those that share an element of at least so many."""
    labels: dict[str, Members]
    datasets: dict[str, Members]
    same_options: Members


class Prover:
    """Proves splits over one catalogue; equal splits share their proof.

    Parameters
    ----------
    catalog, graph
        The subsets and who shares what.

    """

    def __init__(self, catalog: Catalog, graph: MatGraph) -> None:
        self._graph = graph
        self._overlaps = catalog.overlaps
        self._known: dict[Split, Proof] = {}
        self._around: _Surroundings | None = None
        self._with_label: defaultdict[str, Members] = defaultdict(int)
        self._with_dataset: defaultdict[str, Members] = defaultdict(int)
        self._with_options: defaultdict[frozenset[str], Members] = defaultdict(int)
        for subset in graph.subsets:
            bit = graph.bit(subset)
            self._with_options[frozenset(subset.labels)] |= bit
            for label in set(subset.labels):
                self._with_label[label] |= bit
            for dataset in set(subset.datasets):
                self._with_dataset[dataset] |= bit

    def prove(self, split: Split) -> Proof:
        """Prove one split; what an arm demands of it is checked by `cg_lab.planning.validity`."""
        proof = self._known.get(split)
        if proof is None:
            proof = self._known[split] = self._prove(split)
        return proof

    def _look_around(self, name: str) -> _Surroundings:
        """Find out who shares what with a target; the last one's are kept, whose splits come one after the other."""
        graph, around = self._graph, self._around
        if around is None or around.target.name != name:
            target = graph[name]
            others = graph.everything & ~graph.bit(target)
            around = self._around = _Surroundings(
                target=target,
                others=others,
                sharing_all=graph.sharing_all(target),
                twins=graph.twins(target),
                sharing=tuple(graph.sharing(target, number) for number in range(len(graph.factors))),
                at_least=tuple(graph.rank_by_shared(target)),
                labels={label: self._with_label[label] & others for label in sorted(set(target.labels))},
                datasets={dataset: self._with_dataset[dataset] & others for dataset in sorted(set(target.datasets))},
                same_options=self._with_options[frozenset(target.labels)] & others if target.labels else 0,
            )
        return around

    def _prove(self, split: Split) -> Proof:
        graph, around, asked = self._graph, self._look_around(split.target), self._graph[split.asked]
        training = split.training & around.others
        shown = {number: training & graph.holding(number, split.view[number]) for number in split.factors}
        whole = training
        for members in shown.values():
            whole &= members
        trained_twins = training & around.twins
        chance = 1 / split.num_candidates if split.num_candidates else asked.chance
        has_chance = split.num_candidates or asked.num_options
        return Proof(
            target_absent=not split.target_samples and not split.target_examples and not trained_twins,
            target_samples=split.target_samples,
            target_examples=split.target_examples,
            twins=graph.names(training & around.sharing_all),
            twins_counted=graph.names(trained_twins),
            whole_in=graph.names(whole),
            only=graph.names(training)[0] if training.bit_count() == 1 else "",
            coverage=tuple(
                [
                    Coverage(factor=graph.factors[number], value=split.view[number], subsets=graph.names(members))
                    for number, members in shown.items()
                ]
            ),
            shared_elements=sum([bool(training & members) for members in around.sharing]),
            shared_by_each=_count_shared(around, training),
            num_train=split.num_train,
            budget=split.budget,
            num_test=asked.num_test,
            chance=chance,
            detectable=compute_detectable_gain(chance, asked.num_test) if has_chance else None,
            labels_shared=tuple([label for label, members in around.labels.items() if training & members]),
            same_options=graph.names(training & around.same_options),
            same_datasets=tuple([dataset for dataset, members in around.datasets.items() if training & members]),
            overlaps=self._count_overlaps(split),
        )

    def _count_overlaps(self, split: Split) -> int | None:
        if self._overlaps is None:
            return None
        names = self._graph.index
        seen = split.training | (1 << names[split.target] if split.target_examples else 0)
        return sum(
            part.count
            for part in self._overlaps
            if part.test == split.asked
            and (part.train == split.filler or (part.train in names and seen >> names[part.train] & 1))
        )


def _count_shared(around: _Surroundings, training: Members) -> tuple[int, int]:
    """Give the fewest and the most elements of a target that one of some subsets shares."""
    if not training:
        return 0, 0
    shared = [training & members for members in around.at_least]
    fewest = max(count for count, members in enumerate(shared) if members == training)
    return fewest, max(count for count, members in enumerate(shared) if members)


def is_askable(subset: Subset) -> bool:
    """Tell whether a subset can be a target."""
    return subset.num_test > 0 and subset.kind is not Kind.FILLER


def compute_detectable_gain(chance: float, num_test: int, *, power: float = 0.8, level: float = 0.05) -> float:
    """Compute the smallest gain over chance that `num_test` questions show (one-sample normal approximation).

    >>> round(compute_detectable_gain(0.5, 196), 2)
    0.1
    """
    z_total = _quantile(1 - level / 2) + _quantile(power)
    return min(1.0 - chance, z_total * math.sqrt(chance * (1 - chance) / max(num_test, 1)))


@cache
def _quantile(share: float) -> float:
    return NormalDist().inv_cdf(share)
