"""What a cell may see, as its design declares it, held against the proof of what it does see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cg_lab.arms import Arm
from cg_lab.errors import UnaskableError, UserError
from cg_lab.planning.proof import Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a cell's design says that its model may see."""

    arm: Arm
    variant: str
    """The factor that the arm does without, or the source that it is about."""
    is_covered: bool
    """The related subsets show every element that is asked for."""
    sees_target: bool
    """Target data are trained on by intent."""
    sees_twins: bool
    """So are subsets that count as the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidityRule:
    """Something that every admitted cell fulfils."""

    name: str
    is_broken: Callable[[Proof, Declaration], bool]
    describe: Callable[[Proof], str]
    repair: str
    is_about_data: bool = False
    """Broken by the data and not by the design: the question is left out and the others are asked."""


def _sees_target(proof: Proof, declared: Declaration) -> bool:
    return proof.target_samples > 0 and not declared.sees_target


def _sees_twin(proof: Proof, declared: Declaration) -> bool:
    return bool(proof.twins_counted) and not declared.sees_twins


def _lacks_coverage(proof: Proof, declared: Declaration) -> bool:
    shows = declared.arm.traits.shows
    return shows == "combination" and declared.is_covered and not all(part.subsets for part in proof.coverage)


def _shares_element(proof: Proof, declared: Declaration) -> bool:
    return declared.arm.traits.shows == "nothing" and proof.shared_elements > 0


def _shares_other_than_one(proof: Proof, declared: Declaration) -> bool:
    return declared.arm.traits.shows == "one" and proof.shared_by_each != (1, 1)


def _is_not_its_source(proof: Proof, declared: Declaration) -> bool:
    return declared.arm.traits.shows == "source" and (not proof.only or proof.only != declared.variant)


def _shows_left_out(proof: Proof, declared: Declaration) -> bool:
    if declared.arm.traits.shows != "others":
        return False
    left_out = [part.subsets for part in proof.coverage if part.factor == declared.variant]
    return not left_out or any(left_out)


def _is_not_the_target(proof: Proof, declared: Declaration) -> bool:
    return declared.arm.traits.shows == "target" and proof.num_train != proof.target_samples


def _misses_budget(proof: Proof, declared: Declaration) -> bool:
    return declared.arm.traits.is_budgeted and proof.num_train != proof.budget


def _overlaps_test(proof: Proof, _: Declaration) -> bool:
    return bool(proof.overlaps)


def _has_no_test(proof: Proof, _: Declaration) -> bool:
    return proof.num_test == 0


VALIDITY_RULES = (
    ValidityRule(
        name="target absent",
        is_broken=_sees_target,
        describe=lambda proof: f"its model sees {proof.target_samples} training samples of the target itself",
        repair="leave the target out of the sources, or declare it: Training(..., sees_target=True)",
    ),
    ValidityRule(
        name="no twin",
        is_broken=_sees_twin,
        describe=lambda proof: f"its training set has {_join(proof.twins_counted)}, which counts as the target itself",
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
        name="one element each",
        is_broken=_shares_other_than_one,
        describe=lambda proof: "one of its training subsets shows {} and another {} of the target's elements".format(
            *proof.shared_by_each
        ),
        repair="leave the subsets out that share none or several",
    ),
    ValidityRule(
        name="alone is alone",
        is_broken=_is_not_its_source,
        describe=lambda proof: (
            f"it is trained on {proof.only or 'several subsets'}, not just on what its variant names"
        ),
        repair="train it on that source alone, or name the source",
    ),
    ValidityRule(
        name="without means without",
        is_broken=_shows_left_out,
        describe=lambda _: (
            "its training set shows the element that it should do without, or its variant names no factor"
        ),
        repair="leave the subsets out that show it, or name the factor",
    ),
    ValidityRule(
        name="ceiling is the target",
        is_broken=_is_not_the_target,
        describe=lambda proof: f"only {proof.target_samples} of its {proof.num_train} samples are the target's",
        repair="train it on the target alone",
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
        is_about_data=True,
    ),
    ValidityRule(
        name="something to ask",
        is_broken=_has_no_test,
        describe=lambda _: "the subset has no test samples",
        repair="give it some, or do not target it",
        is_about_data=True,
    ),
)


def check_proof(cell: str, proof: Proof, declared: Declaration) -> None:
    """Admit a cell or refuse it.

    Raises
    ------
    UnaskableError
        If only the data are at fault, so that other questions can be asked.
    UserError
        Names the cell, each rule that fails, and what would repair it.

    """
    broken = [rule for rule in VALIDITY_RULES if rule.is_broken(proof, declared)]
    if broken and all(rule.is_about_data for rule in broken):
        raise UnaskableError("; ".join(f"{rule.describe(proof)}: {rule.repair}" for rule in broken))
    if broken:
        told = "\n".join(f"  - {rule.name}: {rule.describe(proof)}; {rule.repair}" for rule in broken)
        raise UserError(f"cell {cell} is not valid:\n{told}")


def _join(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
