"""What fine-tunes take on disk: the weights that they leave, and their checkpoints while they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cg_lab.doctor.room import UNKNOWN_GPU, count_trained, find_devices
from cg_lab.execution.slots import find_slots
from cg_lab.models.precision import Device, ParameterCounts, list_ways
from cg_lab.planning.plan import Plan, Rates
from cg_lab.planning.work import FinetuneJob
from cg_lab.recipe import Recipe
from cg_lab.study import ClusterSettings, Keep

AT_ONCE = 2
"""Checkpoints of one fine-tune: the last one goes when the next one is whole."""
BESIDE_BFLOAT16 = 7
"""Times that a checkpoint of a model takes what its weights take in bfloat16: these, float32 masters and two moments
are 2 + 4 + 8 bytes for each, the most that there is."""
BESIDE_FLOAT32 = 3
"""The same of adapters, which are float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskForecast:
    """Bytes that some fine-tunes of a plan take."""

    whole: float
    """Weights that are left by those that train weights."""
    adapters: float
    """Weights that are left by those that train adapters."""
    checkpoints: float
    """While they run, at most: those of as many as run at once, of which none is left."""

    def count_kept(self, keep: Keep) -> float:
        """Give the bytes that are left with a setting of `keep`."""
        return {"full": self.whole + self.adapters, "adapter": self.adapters, "nothing": 0.0}[keep]


def foresee_disk(plan: Plan, finetunes: Sequence[FinetuneJob], cluster: ClusterSettings) -> DiskForecast:
    """Add up what some fine-tunes of a plan leave, by declared sizes, and what the largest hold while they run.

    A checkpoint holds weights and the optimizer's state, by the shapes of the model's weights where its files are
    here, or else by what its model declares.
    """
    whole = adapters = 0.0
    checkpoints: list[float] = []
    device = min(find_devices(cluster) or (UNKNOWN_GPU,), key=lambda one: one.memory)
    known: dict[tuple[object, object], float] = {}
    for job in finetunes:
        if job.weights:  # are linked to
            continue
        rates = plan.find_rates(job.base)
        if job.recipe.lora:
            adapters += job.recipe.lora.rank * rates.adapter_mb * 1e6
        else:
            whole += rates.checkpoint_gb * 1e9
        kind = (job.base, job.recipe)
        if kind not in known:
            counts = count_trained(job.base, job.recipe)
            known[kind] = measure_checkpoint(counts, device) if counts else _guess_checkpoint(rates, job.recipe)
        checkpoints.append(known[kind])
    largest = sorted(checkpoints, reverse=True)[: find_slots(cluster).num]
    return DiskForecast(whole=whole, adapters=adapters, checkpoints=AT_ONCE * sum(largest))


def measure_checkpoint(counts: ParameterCounts, device: Device) -> int:
    """Give the bytes of one checkpoint on a device, the most of the ways that its numbers may be held."""
    if counts.has_adapters:
        return BESIDE_FLOAT32 * 4 * counts.trained
    return max(
        sum(held.weights + held.moments + held.masters for held in (way.on_device, way.on_host))
        for way in list_ways(counts, device, loaded=device.loaded)
    )


def _guess_checkpoint(rates: Rates, recipe: Recipe) -> float:
    if recipe.lora:
        return BESIDE_FLOAT32 * recipe.lora.rank * rates.adapter_mb * 1e6
    return BESIDE_BFLOAT16 * rates.checkpoint_gb * 1e9
