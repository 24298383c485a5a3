"""Which questions, seeds and rule were registered before any result: what is confirmatory, and what is not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from cg_lab.analysis.verdict import Decision
from cg_lab.planning.plan import Contrast, Plan
from cg_lab.study import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredFamily:
    """What a study was going to ask when no result of it was there."""

    contrasts: Collection[str]
    """Ids of the held-out questions."""
    seeds: Collection[int] | None = None
    """None if that is not known."""
    rule: Rule | None = None
    criterion: str = ""
    decided: Mapping[str, Decision] = field(default_factory=dict[str, Decision])
    """Decisions of an earlier, larger study over the same results, by id of the question: they stand here too."""
    earlier: str = ""
    """Name of that study."""


def find_departures(family: RegisteredFamily | None, plan: Plan, contrast: Contrast, seeds: Collection[int]) -> str:
    """Say what of a question was not registered; empty if all was.

    Parameters
    ----------
    family
        What was registered; None if that is not known, which counts as if all had been.
    plan, contrast
        The question.
    seeds
        Of its main arm, with results.

    """
    if family is None:
        return ""
    if contrast.id not in family.contrasts:
        return "the question"
    further = set(seeds) - set(family.seeds) if family.seeds is not None else set[int]()
    if further:
        return f"seeds {', '.join(map(str, sorted(further)))}"
    is_same = family.rule in {None, plan.rule} and family.criterion in {"", plan.criterion}
    return "" if is_same else "the rule"


def count_absent(family: RegisteredFamily | None, plan: Plan) -> int:
    """Count the registered held-out questions that are not asked any more; they keep their share of the level."""
    asked = {contrast.id for contrast in plan.contrasts}
    return len(set(family.contrasts) - asked) if family else 0
