"""What would decide a question that is not decided: how many seeds, and how many fine-tunes these are."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cg_lab.analysis.arm_estimates import ArmEstimates
from cg_lab.analysis.gain_estimates import GainEstimate
from cg_lab.analysis.synergy import find_alone
from cg_lab.analysis.verdict import Decision
from cg_lab.arms import Arm
from cg_lab.planning.plan import Contrast, Plan, Training
from cg_lab.planning.schedule import schedule_epochs
from cg_lab.planning.study_power import MOST_SEEDS, find_detectable


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSplit:
    """A gain with its variance taken apart."""

    gain: GainEstimate
    claiming: float
    """What seeds add to the variance of the gain, of arms that carry the claim."""
    control: float = 0.0
    """The same of the control's seeds; 0 where the other arm carries the claim too, or has none."""
    control_seeds: int = 0

    def find_error(self, before: int, seeds: int, *, of_controls: bool) -> float:
        """Give the standard error with other numbers of seeds.

        Parameters
        ----------
        before, seeds
            Of the arms that carry the claim: as it is, and as it would be.
        of_controls
            Whether the control gets as many, if it has fewer.

        """
        error = max(0.0, float(self.gain.variance) - self.claiming - self.control) + self.claiming * before / seeds
        is_grown = of_controls and self.control_seeds < seeds
        return math.sqrt(error + self.control * (self.control_seeds / seeds if is_grown else 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherSeeds:
    """What would resolve the gains that were seen, if they are the true ones, with 80 % power."""

    num_seeds: int | None
    """Of the arms that carry the claim, in all; None if `MOST_SEEDS` would not do, or if there is no gain."""
    of_unrelated: bool = False
    """Whether it takes as many of unrelated training: those of the arms that carry the claim alone would not do."""
    num_finetunes: int = 0
    """Beyond those that are there."""
    hours: float = 0.0
    """Of one slot, by the model's declared rate, or of one GPU where that is for several."""
    is_of_gpus: bool = False
    """Whether `hours` are GPU hours."""

    @property
    def label(self) -> str:
        """Say it in a few words."""
        if self.num_seeds is None:
            return f"{MOST_SEEDS} seeds would not resolve it"
        return f"{self.num_seeds} seeds{', of unrelated too,' if self.of_unrelated else ''} would resolve it"

    def tell(self) -> str:
        """Say it in words."""
        if self.num_seeds is None:
            return f"if gains are as seen, {self.label}"
        minutes = self.hours * 60
        cost = f"{minutes:.0f} minutes" if minutes < 120 else f"{self.hours:.0f} hours"
        arms = ", of unrelated training too," if self.of_unrelated else ""
        return (
            f"if gains are as seen, {self.num_seeds} seeds{arms} resolve it with 80 % power ({self.num_finetunes} more "
            f"fine-tunes, {cost} of one {'GPU' if self.is_of_gpus else 'slot'})"
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
            own, *others = map(float, gain.seed_variances) if gain.seed_variances else (0.0,)
            if key[0].traits.carries_claim:
                found[name] = SeedSplit(gain=gain, claiming=own + sum(others))
            else:
                seeds = len(arms.stacks[key].seeds) if others else 0
                found[name] = SeedSplit(gain=gain, claiming=own, control=sum(others), control_seeds=seeds)
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
    for of_controls in (False, True):
        needed = [_find_seeds(part, num_seeds, level, asked, of_controls=of_controls) for part in left]
        known = [seeds for seeds in needed if seeds is not None]
        if len(known) == len(needed):
            return _price(plan, contrast, num_seeds, max(known), left if of_controls else [])
    return FurtherSeeds(num_seeds=None)


def _list_finetunes(training: Training, apart: Collection[tuple[str, int]]) -> list[int]:
    """Give the samples of each fine-tune of a training; adapters that are merged have one each, if no arm has it."""
    if training.arm.traits.model != "merged":
        return [training.num_samples + training.num_target]
    share = training.num_samples // len(training.subsets)
    return [share for name in training.subsets if (name, share) not in apart]


def _price(plan: Plan, contrast: Contrast, before: int, seeds: int, controlled: Sequence[SeedSplit]) -> FurtherSeeds:
    """Say what further seeds cost: of the arms that carry the claim, and of unrelated training for some gains."""
    setting = plan.setting_by_name[contrast.setting]
    further = {part: seeds - before for part in contrast.trainings if part.arm.traits.carries_claim}
    control_seeds = max((part.control_seeds for part in controlled), default=0)
    if control_seeds:
        further |= {part: max(0, seeds - control_seeds) for part in contrast.trainings if part.arm is Arm.UNRELATED}
    apart = {(part.subsets[0], part.num_samples) for part in contrast.trainings if len(part.subsets) == 1}
    pieces = [(count, more) for part, more in further.items() for count in _list_finetunes(part, apart)]
    samples = sum(schedule_epochs(setting.recipe, count).samples * more for count, more in pieces)
    return FurtherSeeds(
        num_seeds=seeds,
        of_unrelated=bool(control_seeds),
        num_finetunes=sum(more for _, more in pieces),
        hours=samples * setting.rates.rate_gpus / setting.rates.train_samples_per_s / 3600,
        is_of_gpus=setting.rates.rate_gpus > 1,
    )


def _find_seeds(part: SeedSplit, num_seeds: int, level: float, num_targets: int, *, of_controls: bool) -> int | None:
    """Give the seeds with which a gain as large as the one seen is shown with 80 % power."""
    estimate, freedom = float(part.gain.estimate), float(part.gain.freedom)
    fewest = num_seeds if of_controls else num_seeds + 1
    for seeds in range(fewest, MOST_SEEDS + 1):
        error = part.find_error(num_seeds, seeds, of_controls=of_controls)
        if find_detectable(error, freedom, level, num_targets) <= estimate:
            return seeds
    return None
