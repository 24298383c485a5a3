"""What the weights that fine-tunes leave take on disk, by the sizes that their models declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cg_lab.planning.plan import Plan
from cg_lab.planning.work import FinetuneJob


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsOnDisk:
    """Gigabytes of a plan's fine-tunes."""

    whole_gb: float
    """Of those that train weights."""
    adapters_gb: float
    """Of those that train adapters."""


def foresee_weights(plan: Plan, finetunes: Sequence[FinetuneJob]) -> WeightsOnDisk:
    """Add up what some fine-tunes of a plan leave."""
    whole = adapters = 0.0
    for job in finetunes:
        rates = plan.find_rates(job.backbone)
        if job.recipe.lora:
            adapters += job.recipe.lora.rank * rates.adapter_mb / 1000
        else:
            whole += rates.checkpoint_gb
    return WeightsOnDisk(whole_gb=whole, adapters_gb=adapters)
