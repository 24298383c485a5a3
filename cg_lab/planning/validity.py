"""The proof of a held-out split: target absent, elements covered, budgets equal, and what the test set can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from cg_lab.errors import list_faults
from cg_lab.mat import Element, Subset
from cg_lab.planning.arms import Arm

BUDGETED_ARMS = (Arm.UNRELATED, Arm.RELATED, Arm.ALL_DATA)
"""Arms that must train on equally many samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which training subsets show one element of the target."""

    element: Element
    value: str
    subsets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was checked before a cell was admitted, and with what result."""

    target_absent: bool
    """No training subset has the target's triplet; false only for the ceiling, which trains on it by intent."""
    coverage: tuple[Coverage, ...]
    shared_elements: int
    """Elements of the target that any training subset shows; 0 for unrelated arms and for the untouched backbone."""
    num_train: int
    """Training samples of one epoch."""
    budget: int
    """Samples that every trained arm of the contrast was to get; the ceiling may have fewer."""
    num_test: int
    chance: float
    detectable: float
    """Smallest gain over chance that the test set shows with 80 % power (two-sided 5 %, normal approximation)."""
    labels_shared: tuple[str, ...]
    """Labels of the target that also occur in the training subsets."""


def prove(target: Subset, training: tuple[Subset, ...], *, asked: Subset, num_train: int, budget: int) -> Proof:
    """Check one split; what an arm demands of it is checked by `check_proof`.

    Parameters
    ----------
    target
        The held-out subset.
    training
        Subsets that the arm trains on; none for the untouched backbone.
    asked
        The subset whose test questions are asked: the target, or a source in the `sources` arm.
    num_train, budget
        Training samples that the arm has, and was to get.

    """
    coverage = cover(target, training)
    return Proof(
        target_absent=all(subset.triplet != target.triplet for subset in training),
        coverage=coverage,
        shared_elements=sum(bool(part.subsets) for part in coverage),
        num_train=num_train,
        budget=budget,
        num_test=asked.num_test,
        chance=asked.chance,
        detectable=compute_detectable_gain(asked.chance, asked.num_test),
        labels_shared=tuple(sorted({label for subset in training for label in subset.labels} & set(target.labels))),
    )


def check_proof(cell: str, proof: Proof, arm: Arm) -> None:
    """Admit a cell or refuse it.

    Raises
    ------
    UserError
        Names the cell, the rule that fails, and what would repair it.

    """
    faults: list[str] = []
    if arm is not Arm.CEILING and not proof.target_absent:
        faults.append("its training set has the target's triplet; give the subset another triplet or leave it out")
    if arm is Arm.UNRELATED and proof.shared_elements:
        faults.append("its training set shares an element with the target; leave those subsets out")
    if arm in BUDGETED_ARMS and proof.num_train != proof.budget:
        faults.append(f"it has {proof.num_train} training samples where {proof.budget} were planned")
    if faults:
        raise list_faults(f"cell {cell} is not valid", faults)


def cover(target: Subset, training: tuple[Subset, ...]) -> tuple[Coverage, ...]:
    """Tell for each element of the target which training subsets show it."""
    return tuple(
        Coverage(
            element=element,
            value=target.triplet.value(element),
            subsets=tuple(subset.name for subset in training if element in target.triplet.shared(subset.triplet)),
        )
        for element in Element
    )


def compute_detectable_gain(chance: float, num_test: int, *, power: float = 0.8, level: float = 0.05) -> float:
    """Compute the smallest gain over chance that `num_test` questions show (one-sample normal approximation).

    >>> round(compute_detectable_gain(0.5, 196), 2)
    0.1
    """
    normal = NormalDist()
    z_total = normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)
    return min(1.0 - chance, z_total * math.sqrt(chance * (1 - chance) / max(num_test, 1)))
