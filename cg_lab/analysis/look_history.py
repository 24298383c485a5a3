"""A study's looks at its results, one after the other: what each found, what it ended, and which seeds are due next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, zip_longest
from typing import Literal

from cg_lab.analysis.arm_estimates import ArmEstimates, ArmStacks, estimate_arms
from cg_lab.analysis.evidence import gather_evidence
from cg_lab.analysis.measuring import limit_seeds
from cg_lab.analysis.verdict import Decision, Evidence, Rules, Verdict, decide, list_alone, list_first
from cg_lab.due_seeds import EVERY_SEED
from cg_lab.planning.plan import Plan

Ended = Literal["claimed", "futile", "no use"]
"""Why a question gets no more seeds: its last claim is made; its gain is surely smaller than one that matters; or no
number of seeds would lead to a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the results."""

    num_seeds: int
    """Of the arms that carry the claim."""
    words: Mapping[str, Verdict]
    """By id of each question that had these seeds."""
    ended: Mapping[str, Ended]
    """Questions that get no more seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookHistory:
    """All looks that were taken so far."""

    decisions: Sequence[Decision]
    """As of now, in the order of the plan's questions."""
    looks: tuple[Look, ...]
    """Empty for a study without looks."""
    due: Mapping[str, int]
    """By id of the question, seeds that it is to have by now; empty for a study without looks."""

    def tell(self, contrast: str) -> str:
        """Say how a question stands between its looks; empty for a study without looks."""
        for look in self.looks:
            if contrast in look.ended:
                return f"{TOLD[look.ended[contrast]]} at the look with {look.num_seeds} seeds"
        last = max((look.num_seeds for look in self.looks if contrast in look.words), default=0)
        return f"next look with {self.due[contrast]} seeds" if self.due.get(contrast, 0) > last else ""


TOLD: Mapping[Ended, str] = {
    "claimed": "claimed",
    "futile": "given no more seeds, its gain being surely smaller than one that matters,",
    "no use": "given no more seeds, which would lead to no word,",
}


def take_looks(
    plan: Plan,
    stacked: Sequence[ArmStacks],
    estimates: Sequence[ArmEstimates],
    complete_seeds: Mapping[str, int],
    rules: Rules,
) -> LookHistory:
    """Take every look for which the answers are there.

    Later looks see more and change no earlier one, so that the history is the same whenever it is taken. A question
    that was ended counts on with seeds that it has all the same, as those that it shares with others.

    Parameters
    ----------
    plan
        Its rule says which looks were planned.
    stacked, estimates
        The answers, in the order of the plan's questions, and what the arms reached with all of them.
    complete_seeds
        By id of each question with cells that have no result, how many seeds of a look it has whole.
    rules
        At which level questions are decided.

    """
    names, planned = [contrast.id for contrast in plan.contrasts], plan.rule.looks or (EVERY_SEED,)
    begun = [complete_seeds.get(name, EVERY_SEED) >= planned[0] for name in names]
    open_, due = set(names), dict.fromkeys(names, planned[0])
    seen: list[list[Evidence]] = []
    decisions: list[Decision] = []
    looks: list[Look] = []
    for num_seeds, following in zip_longest(planned, planned[1:]):
        ready = [complete_seeds.get(name, EVERY_SEED) >= num_seeds for name in names]
        if seen and not open_.intersection(compress(names, ready)):
            break
        if plan.rule.looks:
            limited = limit_seeds(stacked, num_seeds)
            estimates = estimate_arms(limited, plan.rule.confidence, plan.deviation_by_setting)
        seen.append(gather_evidence(plan, estimates, complete=begun, counted=ready))
        decisions = decide(seen, rules)
        told = dict(compress(zip(names, zip(decisions, seen[-1], strict=True), strict=True), ready))
        ended: dict[str, Ended] = {}
        for name in open_ & set(told):
            if why := find_end(*told[name], plan.rule.matters / 100):
                ended[name] = why
            elif following:
                due[name] = following
        open_ -= set(ended)
        words = {name: decision.verdict for name, (decision, _) in told.items()}
        looks.append(Look(num_seeds=num_seeds, words=words, ended=ended))
    if not plan.rule.looks:
        return LookHistory(decisions=decisions, looks=(), due={})
    return LookHistory(decisions=decisions, looks=tuple(looks), due=due)


def find_end(decision: Decision, evidence: Evidence, matters: float) -> Ended | None:
    """Say why a question needs no more seeds; None if it does."""
    match decision.verdict:
        case Verdict.COMPOSES | Verdict.HARMS:
            return "claimed"
        case Verdict.CANNOT_SAY:
            return "no use"
        case Verdict.TRANSFERS:
            left = list_alone(evidence)
            if not left:
                return "claimed"
        case Verdict.NO_EVIDENCE:
            left = list_first(evidence)
    return "futile" if any(gain.high < matters for gain in left.values()) else None
