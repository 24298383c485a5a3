"""Whether the memory that there is has room for a recipe, from the sizes of weights alone."""

from __future__ import annotations

from collections.abc import Sequence

from cg_lab.byte_counts import tell_bytes
from cg_lab.doctor.check_result import CheckResult, Status
from cg_lab.doctor.model_files import find_files
from cg_lab.execution.local import list_gpus
from cg_lab.models.devices import find_cpu, query_gpus
from cg_lab.models.model_parts import count_by_shapes, read_shapes
from cg_lab.models.precision import (
    Device,
    Holdings,
    NoRoomError,
    ParameterCounts,
    Precision,
    choose_precision,
)
from cg_lab.recipe import Recipe
from cg_lab.study import Backbone, ClusterSettings, SlurmSettings

UNKNOWN_GPU = Device(name="a GPU", memory=0, host_memory=0, is_gpu=True, has_bfloat16=True)
"""Of a cluster's node, of which `find_devices` finds nothing."""
PARTS = ("weights", "gradients", "moments", "masters", "untouched")


def find_devices(cluster: ClusterSettings) -> tuple[Device, ...]:
    """Find what jobs would train on: this machine's GPUs, or else its processors; nothing is known of a cluster's."""
    if isinstance(cluster, SlurmSettings):
        return ()
    gpus = query_gpus()
    asked = getattr(cluster, "gpus", None)
    chosen = [gpus[number] for number in (list_gpus() if asked is None else asked) if number in gpus]
    return tuple(chosen) or (find_cpu(),)


def count_trained(backbone: Backbone, recipe: Recipe) -> ParameterCounts | None:
    """Count what a recipe trains of a model; None if its files are not here, or can't be read."""
    try:
        folder = find_files(backbone)
        shapes = read_shapes(folder) if folder else {}
    except (OSError, ValueError):
        return None
    return count_by_shapes(shapes, recipe) if shapes else None


def check_room(counts: ParameterCounts | None, devices: Sequence[Device]) -> CheckResult:
    """Check that what is trained fits on the smallest of some devices; of none, say how much it is."""
    if counts is None:
        return CheckResult(name="memory", status=Status.WARNING, found="not known, since no weights can be read")
    if not devices:
        return CheckResult(
            name="memory",
            status=Status.WARNING,
            found=f"{counts.trained:,} parameters are trained; the memory of compute nodes is not known from here",
            way_out="on one of them: srun --gpus=1 python -m cg_lab doctor cluster=local, and the rest as here",
        )
    device = min(devices, key=lambda one: one.memory)
    try:
        precision = choose_precision(counts, device, loaded=device.loaded)
    except NoRoomError as error:
        return CheckResult(name="memory", status=Status.FAULT, found=error.found, way_out=error.way_out)
    total = counts.trained + counts.frozen
    return CheckResult(
        name="memory",
        found=f"training {counts.trained:,} of {total:,} parameters takes {tell_bytes(precision.on_device.total)} of "
        f"{tell_bytes(device.memory)} before activations",
        details=tuple(tell_holdings(precision, device)),
    )


def tell_holdings(precision: Precision, device: Device) -> list[str]:
    """Say what each memory holds, a line each."""
    place = device.name if device.is_gpu else "memory"
    rows = [(place, precision.on_device)]
    if precision.on_host.total:
        rows.append(("host", precision.on_host))
    return [f"{name}: {tell_parts(held)}" for name, held in rows]


def tell_parts(held: Holdings) -> str:
    """Say what a memory holds of each kind.

    >>> tell_parts(Holdings(weights=2_000_000, moments=4_000_000))
    'weights 2 MB, moments 4 MB'
    """
    return ", ".join(f"{name} {tell_bytes(size)}" for name in PARTS if (size := getattr(held, name)))
