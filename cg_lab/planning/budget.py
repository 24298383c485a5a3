"""Choose held-out questions within a budget, without looking at any result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cg_lab.errors import UserError
from cg_lab.study import BudgetSettings

OVER_BUDGET = "left out for the budget"
BUDGET_RULE = (
    "one question after the other, as long as its new fine-tunes fit: first the one that shows most elements and "
    "directions not yet asked about; of equals the one that adds fewest training samples, sharing the fine-tunes of "
    "those already chosen; of equals the one that shows the smallest gain; then by name"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What some fine-tunes cost."""

    samples: float
    """Over all epochs."""
    hours: float
    """On one device, by the model's declared rate."""
    finetunes: int = 1

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            samples=self.samples + other.samples,
            hours=self.hours + other.hours,
            finetunes=self.finetunes + other.finetunes,
        )


NOTHING = Cost(samples=0, hours=0, finetunes=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What one held-out question would cost and show."""

    id: str
    shows: frozenset[str]
    """Elements and direction."""
    finetunes: Mapping[str, Cost]
    """What each of its fine-tunes costs, by id."""
    detectable: float
    """Smallest gain over unrelated training that it shows with 80 % power."""


def choose_within(candidates: Sequence[Candidate], budget: BudgetSettings) -> frozenset[str]:
    """Choose by `BUDGET_RULE`; give the ids.

    Raises
    ------
    UserError
        If not even one question fits.

    Examples
    --------
    >>> few = BudgetSettings(gpu_hours=None, samples=None, finetunes=2)
    >>> one = Cost(samples=10, hours=1)
    >>> candidates = [
    ...     Candidate(id="a", shows=frozenset({"CT"}), finetunes={"1": one, "2": one}, detectable=0.1),
    ...     Candidate(id="b", shows=frozenset({"CT", "task"}), finetunes={"1": one, "3": one}, detectable=0.1),
    ...     Candidate(id="c", shows=frozenset({"CT"}), finetunes={"1": one, "3": one}, detectable=0.1),
    ... ]
    >>> sorted(choose_within(candidates, few))
    ['b', 'c']

    """
    chosen: set[str] = set()
    trained: set[str] = set()
    shown: set[str] = set()
    spent = NOTHING
    waiting = {candidate.id: candidate for candidate in candidates}
    while waiting:
        ranked: list[tuple[tuple[int, float, float, str], Cost]] = []
        for candidate in waiting.values():
            added = sum((cost for job, cost in candidate.finetunes.items() if job not in trained), NOTHING)
            if _fits(spent + added, budget):
                rank = (-len(candidate.shows - shown), added.samples, candidate.detectable, candidate.id)
                ranked.append((rank, added))
        if not ranked:
            break
        rank, added = min(ranked, key=lambda part: part[0])
        candidate = waiting.pop(rank[-1])
        chosen.add(candidate.id)
        trained |= set(candidate.finetunes)
        shown |= candidate.shows
        spent += added
    if not chosen:
        cost, name = min((sum(part.finetunes.values(), NOTHING).samples, part.id) for part in candidates)
        raise UserError(f"budget: not one held-out question fits; the cheapest, {name}, trains on {cost:,.0f} samples")
    return frozenset(chosen)


def _fits(cost: Cost, budget: BudgetSettings) -> bool:
    return (
        (budget.samples is None or cost.samples <= budget.samples)
        and (budget.gpu_hours is None or cost.hours <= budget.gpu_hours)
        and (budget.finetunes is None or cost.finetunes <= budget.finetunes)
    )
