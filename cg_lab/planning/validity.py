"""The proof of a held-out split: target absent, elements covered, budgets equal, and what the test set can show."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from statistics import NormalDist

from cg_lab.arms import Arm
from cg_lab.catalog import Catalog
from cg_lab.errors import UserError
from cg_lab.mat import Kind, Subset
from cg_lab.planning.graph import MatGraph, Members

BUDGETED_ARMS = (Arm.UNRELATED, Arm.PARTIAL, Arm.RELATED, Arm.WITHOUT, Arm.ALL_DATA, Arm.SHUFFLED)
"""Arms that must train on equally many samples."""
MOST_KEPT = 2_000
"""Proofs that are kept to be given again; beyond them all are forgotten, so that cells can be streamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which training subsets show one element of the target."""

    factor: str
    value: str
    subsets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was checked before a cell was admitted, and with what result."""

    target_absent: bool
    """Neither the target nor a twin of it is trained on; false only where an arm sees the target by intent."""
    twins: tuple[str, ...]
    """Training subsets that count as the target itself."""
    coverage: tuple[Coverage, ...]
    shared_elements: int
    """Elements of the target that any training subset shows; 0 for unrelated arms and for the untouched backbone."""
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
    same_options: tuple[str, ...]
    """Training subsets that ask with the very labels of the target."""
    same_datasets: tuple[str, ...]
    """Original data sets that are part of the target and of a training subset: look for shared images there."""
    overlaps: int | None
    """Samples, image hashes or groups that stand in training and test both; None where samples are not known."""


class Prover:
    """Proves splits over one catalogue; what is the same for all seeds is found once.

    Parameters
    ----------
    catalog, graph
        The subsets and who shares what.

    """

    def __init__(self, catalog: Catalog, graph: MatGraph) -> None:
        self._graph = graph
        self._overlaps = (
            None if catalog.overlaps is None else {(part.train, part.test): part.count for part in catalog.overlaps}
        )
        self._known: dict[Hashable, Proof] = {}
        self._checked: set[Hashable] = set()

    def recall(self, key: Hashable, prove: Callable[[], Proof]) -> Proof:
        """Give the proof that is kept under a key, or make it."""
        proof = self._known.get(key)
        if proof is None:
            if len(self._known) > MOST_KEPT:
                self._known.clear()
            proof = self._known[key] = prove()
        return proof

    def is_new(self, claimed: Hashable) -> bool:
        """Tell whether a claim about a proof is looked at for the first time, and remember it."""
        if claimed in self._checked:
            return False
        if len(self._checked) > MOST_KEPT:
            self._checked.clear()
        self._checked.add(claimed)
        return True

    def prove(
        self,
        target: Subset,
        view: tuple[str, ...],
        training: Members,
        *,
        asked: Subset,
        num_train: int,
        budget: int,
    ) -> Proof:
        """Check one split; what an arm demands of it is checked by `check_proof`.

        Parameters
        ----------
        target, view
            The held-out subset, and the element of each factor that it stands for.
        training
            Subsets that the arm trains on; none for the untouched backbone.
        asked
            The subset whose test questions are asked: the target, or a source in the `sources` arm.
        num_train, budget
            Training samples that the arm has, and was to get.

        """
        graph = self._graph
        own = graph.bit(target)
        twins = training & graph.twins(target)
        coverage = tuple(
            Coverage(factor=factor, value=value, subsets=graph.names(training & ~own & graph.holding(number, value)))
            for number, (factor, value) in enumerate(zip(graph.factors, view, strict=True))
        )
        shared = sum(bool(training & graph.sharing(target, number)) for number in range(len(graph.factors)))
        members = graph.list_members(training & ~own)
        labels, datasets = set(target.labels), set(target.datasets)
        trained_labels = {label for part in members for label in part.labels}
        trained_datasets = {dataset for part in members for dataset in part.datasets}
        return Proof(
            target_absent=not training & own and not twins,
            twins=graph.names(twins),
            coverage=coverage,
            shared_elements=shared,
            num_train=num_train,
            budget=budget,
            num_test=asked.num_test,
            chance=asked.chance,
            detectable=compute_detectable_gain(asked.chance, asked.num_test) if asked.num_options else None,
            labels_shared=tuple(sorted(labels & trained_labels)),
            same_options=tuple(part.name for part in members if labels and set(part.labels) == labels),
            same_datasets=tuple(sorted(datasets & trained_datasets)),
            overlaps=self._count_overlaps(members, asked),
        )

    def _count_overlaps(self, members: tuple[Subset, ...], asked: Subset) -> int | None:
        if self._overlaps is None:
            return None
        if not self._overlaps:
            return 0
        return sum(self._overlaps.get((member.name, asked.name), 0) for member in members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a cell claims, which its proof must bear out."""

    arm: Arm
    variant: str
    """The factor that a `without` arm does without."""
    is_covered: bool
    """The related subsets show every element of the target."""
    sees_target: bool
    """Target data are trained on by intent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidityRule:
    """Something that every admitted cell fulfils."""

    name: str
    is_broken: Callable[[Proof, Claim], bool]
    describe: Callable[[Proof], str]
    repair: str


def _sees_target(proof: Proof, claim: Claim) -> bool:
    return not claim.sees_target and not proof.target_absent and not proof.twins


def _sees_twin(proof: Proof, claim: Claim) -> bool:
    return not claim.sees_target and bool(proof.twins)


def _lacks_coverage(proof: Proof, claim: Claim) -> bool:
    return claim.arm is Arm.RELATED and claim.is_covered and not all(part.subsets for part in proof.coverage)


def _shares_element(proof: Proof, claim: Claim) -> bool:
    return claim.arm is Arm.UNRELATED and proof.shared_elements > 0


def _shows_left_out(proof: Proof, claim: Claim) -> bool:
    left_out = [part for part in proof.coverage if claim.arm is Arm.WITHOUT and part.factor == claim.variant]
    return any(part.subsets for part in left_out)


def _misses_budget(proof: Proof, claim: Claim) -> bool:
    return claim.arm in BUDGETED_ARMS and proof.num_train != proof.budget


def _overlaps_test(proof: Proof, _: Claim) -> bool:
    return bool(proof.overlaps)


def _has_no_test(proof: Proof, _: Claim) -> bool:
    return proof.num_test == 0


VALIDITY_RULES = (
    ValidityRule(
        name="target absent",
        is_broken=_sees_target,
        describe=lambda _: "its training set has the target itself",
        repair="leave the target out of its sources",
    ),
    ValidityRule(
        name="no twin",
        is_broken=_sees_twin,
        describe=lambda proof: f"its training set has {_join(proof.twins)}, which counts as the target itself",
        repair="give these subsets other elements, leave them out, or say twins=equal if only equal ones count",
    ),
    ValidityRule(
        name="elements covered",
        is_broken=_lacks_coverage,
        describe=lambda proof: (
            "no training subset shows "
            + _join(tuple(f"{part.factor} {part.value}" for part in proof.coverage if not part.subsets))
        ),
        repair="add a source that shows it",
    ),
    ValidityRule(
        name="unrelated shares nothing",
        is_broken=_shares_element,
        describe=lambda proof: (
            "its training set shows "
            + _join(tuple(f"{part.value} ({_join(part.subsets)})" for part in proof.coverage if part.subsets))
        ),
        repair="leave those subsets out of the unrelated arm",
    ),
    ValidityRule(
        name="without means without",
        is_broken=_shows_left_out,
        describe=lambda _: "its training set shows the element that it should do without",
        repair="leave the subsets out that show it",
    ),
    ValidityRule(
        name="equal budgets",
        is_broken=_misses_budget,
        describe=lambda proof: f"it has {proof.num_train} training samples where {proof.budget} were planned",
        repair="lower design.max_samples, or add samples",
    ),
    ValidityRule(
        name="sides apart",
        is_broken=_overlaps_test,
        describe=lambda proof: (
            f"{proof.overlaps} samples, image hashes or groups stand in its training and test sets both"
        ),
        repair="remove them from one side, or give copies and patients a common group",
    ),
    ValidityRule(
        name="something to ask",
        is_broken=_has_no_test,
        describe=lambda _: "the subset has no test samples",
        repair="give it some, or do not target it",
    ),
)


def check_proof(cell: str, proof: Proof, claim: Claim) -> None:
    """Admit a cell or refuse it.

    Raises
    ------
    UserError
        Names the cell, each rule that fails, and what would repair it.

    """
    broken = [rule for rule in VALIDITY_RULES if rule.is_broken(proof, claim)]
    if broken:
        told = "\n".join(f"  - {rule.name}: {rule.describe(proof)}; {rule.repair}" for rule in broken)
        raise UserError(f"cell {cell} is not valid:\n{told}")


def is_askable(subset: Subset) -> bool:
    """Tell whether a subset can be a target."""
    return subset.num_test > 0 and subset.kind is not Kind.FILLER


def expect_guess(proof: Proof, num_options: int) -> Proof:
    """Give a proof for questions with other options than the subset's own."""
    chance = 1 / num_options
    return replace(proof, chance=chance, detectable=compute_detectable_gain(chance, proof.num_test))


def compute_detectable_gain(chance: float, num_test: int, *, power: float = 0.8, level: float = 0.05) -> float:
    """Compute the smallest gain over chance that `num_test` questions show (one-sample normal approximation).

    >>> round(compute_detectable_gain(0.5, 196), 2)
    0.1
    """
    z_total = _quantile(1 - level / 2) + _quantile(power)
    return min(1.0 - chance, z_total * math.sqrt(chance * (1 - chance) / max(num_test, 1)))


def _quantile(share: float) -> float:
    return NormalDist().inv_cdf(share)


def _join(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
