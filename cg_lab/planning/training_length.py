"""Whether fine-tunes are long enough to learn anything: foretold of data, told of a study whose ceilings stay low."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cg_lab.arms import Arm
from cg_lab.mat import Subset
from cg_lab.planning.plan import Plan
from cg_lab.planning.schedule import Schedule, schedule_epochs
from cg_lab.study import Study

FEW_STEPS = 100
"""Below which fine-tunes on real images seldom leave a guess (docs/data.md, Steps)."""
LONGER = 200
"""Steps to try then, at least."""


def tell_unlearned(plan: Plan, is_learned: Mapping[str, bool]) -> str:
    """Say that training on the targets themselves taught nothing, and what to try; empty if it did.

    Parameters
    ----------
    plan
        The study's.
    is_learned
        By id of the held-out questions with a ceiling, whether that is surely above a guess.

    """
    left = [name for name, learned in is_learned.items() if not learned]
    names = {cell.finetune_job for cell in plan.cells if cell.arm is Arm.CEILING and cell.contrast in set(left)}
    schedules = [plan.finetune_by_id[name].schedule for name in names if name]
    if not schedules:
        return ""
    took, longest = f"{_span(part.num_samples for part in schedules)} samples", max(part.steps for part in schedules)
    if longest:
        longer = max(LONGER, 2 * longest)
        took += f", {_span(part.steps for part in schedules)} steps"
        cure = f"Try finetune.min_steps={longer} study={plan.study}_{longer}_steps, or more images."
    else:
        cure = "Its trainer has to train longer, or on more images."
    asked = f"{len(left)} of {len(is_learned)} held-out questions" if len(is_learned) > 1 else "the held-out question"
    return (
        f"Training too short or too little data: in {asked} not even training on the target itself ({took}) is surely "
        f"above a guess, so that other training can't be judged there. {cure}"
    )


def foretell_steps(study: Study, subsets: Iterable[Subset]) -> Iterator[str]:
    """Say how many steps fine-tunes of the fewest and of the most samples take, and what to do if these are few."""
    counts = [part.num_train for part in subsets if part.num_train and part.kind in study.design.kinds]
    if not counts:
        return
    recipe, most = study.finetune, study.design.max_samples
    few, many = (schedule_epochs(recipe, min(most, count)) for count in (min(counts), sum(counts)))
    yield f"steps: {_tell(few)}, as of the smallest subset alone; {_tell(many)}, design.max_samples={most}"
    if few.steps < FEW_STEPS:
        yield (
            f"note: {few.steps} steps are likely too few to learn anything from images; finetune.min_steps={LONGER} "
            "goes through few samples more often"
        )


def _tell(schedule: Schedule) -> str:
    times = schedule.samples / schedule.num_samples
    return f"a fine-tune of {schedule.num_samples:,} samples takes {schedule.steps:,} steps, {times:.3g} x each sample"


def _span(counts: Iterable[int]) -> str:
    found = sorted(counts)
    return f"{found[0]:,}" if found[0] == found[-1] else f"{found[0]:,} to {found[-1]:,}"
