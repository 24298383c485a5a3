"""What would decide a question that is not decided: how many seeds, and how many fine-tunes these are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cg_lab.analysis.arm_estimates import ArmEstimates
from cg_lab.analysis.gain_estimates import GainEstimate
from cg_lab.analysis.synergy import find_alone
from cg_lab.analysis.verdict import Decision
from cg_lab.arms import Arm
from cg_lab.planning.plan import Contrast, Plan
from cg_lab.planning.study_power import MOST_SEEDS, find_detectable


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSplit:
    """A gain with its variance taken apart."""

    gain: GainEstimate
    shrinking: float
    """What seeds add to the variance of the gain, of arms that get more of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherSeeds:
    """What would resolve the gains that were seen, if they are the true ones, with 80 % power."""

    num_seeds: int | None
    """Of the arms that carry the claim, in all; None if `MOST_SEEDS` would not do, or if there is no gain."""
    num_finetunes: int = 0
    """Beyond those that are there."""
    hours: float = 0.0
    """On one slot, by the model's declared rate."""

    def tell(self) -> str:
        """Say it in words."""
        if self.num_seeds is None:
            return f"if gains are as seen, {MOST_SEEDS} seeds would not resolve it"
        minutes = self.hours * 60
        cost = f"{minutes:.0f} minutes" if minutes < 120 else f"{self.hours:.0f} hours"
        return (
            f"if gains are as seen, {self.num_seeds} seeds resolve it with 80 % power ({self.num_finetunes} more "
            f"fine-tunes, {cost} of one slot)"
        )


def split_gains(arms: ArmEstimates, target: str) -> dict[str, SeedSplit]:
    """Take apart the gains that verdicts look at, under the names that `Unresolved` has.

    Parameters
    ----------
    arms
        Of one held-out question.
    target
        Its target.

    """
    keys = {arm.traits.words: (arm, "", target) for arm in (Arm.ZERO_SHOT, Arm.UNRELATED, Arm.BLIND)}
    keys |= {f"{source} alone": key for source, key in find_alone(arms.stacks).items()}
    found: dict[str, SeedSplit] = {}
    for name, key in keys.items():
        if (arms.main, key) in arms.gains:
            gain, _ = arms.gains[arms.main, key]
            grows = 2 if key[0].traits.carries_claim else 1
            found[name] = SeedSplit(gain=gain, shrinking=sum(map(float, gain.seed_variances[:grows])))
    return found


def find_further(
    plan: Plan, contrast: Contrast, decision: Decision, gains: Mapping[str, SeedSplit], num_seeds: int
) -> FurtherSeeds | None:
    """Give what would decide a question; None if nothing is left to decide.

    Parameters
    ----------
    plan, contrast, decision
        The question, as it stands.
    gains
        As `split_gains` gives them.
    num_seeds
        Of its main arm.

    """
    left = [gains[part.over] for part in decision.unresolved if part.over in gains]
    if not left or not num_seeds:
        return None
    level, asked = 1 - plan.rule.confidence, max(1, plan.num_held_out)
    needed = [_find_seeds(part, num_seeds, level, asked) for part in left]
    known = [seeds for seeds in needed if seeds is not None]
    if len(known) < len(needed):
        return FurtherSeeds(num_seeds=None)
    setting = plan.setting_by_name[contrast.setting]
    grown = [part for part in contrast.trainings if part.arm.traits.carries_claim]
    further = max(0, max(known) - num_seeds)
    samples = sum(part.num_samples + part.num_target for part in grown) * setting.recipe.epochs
    return FurtherSeeds(
        num_seeds=max(known),
        num_finetunes=further * len(grown),
        hours=further * samples / setting.rates.train_samples_per_s / 3600,
    )


def _find_seeds(part: SeedSplit, num_seeds: int, level: float, num_targets: int) -> int | None:
    """Give the seeds with which a gain as large as the one seen is shown with 80 % power."""
    estimate, freedom = float(part.gain.estimate), float(part.gain.freedom)
    rest = float(part.gain.variance) - part.shrinking
    for seeds in range(num_seeds + 1, MOST_SEEDS + 1):
        error = math.sqrt(max(0.0, rest) + part.shrinking * num_seeds / seeds)
        if find_detectable(error, freedom, level, num_targets) <= estimate:
            return seeds
    return None
