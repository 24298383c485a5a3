"""How a fine-tune's numbers are held, by stated rules and from sizes alone: in which format, and in whose memory.

Updates smaller than half a step of bfloat16 would round away, so that what AdamW adds to is held in float32: trained
weights themselves where the device has room for them, or else copies of them in the host's memory, where AdamW steps.
Where neither has room, nothing is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from cg_lab.byte_counts import tell_bytes
from cg_lab.errors import UserError
from cg_lab.percentages import percent

Format = Literal["float32", "bfloat16"]
BYTES: dict[Format, int] = {"float32": 4, "bfloat16": 2}
ROOM = 0.85
"""Share of a memory that weights and optimizer may take; the rest is for activations."""


class NoRoomError(UserError):
    """Numbers of a fine-tune have no room; `found` says what it takes and what there is, `way_out` what to do."""

    def __init__(self, found: str, way_out: str) -> None:
        super().__init__(f"finetune: {found}. {way_out}")
        self.found = found
        self.way_out = way_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a process trains on."""

    name: str
    memory: int
    """Bytes; of the host where the device is its processor."""
    host_memory: int
    """Bytes that one process may take on the host."""
    is_gpu: bool
    has_bfloat16: bool
    """Whether it multiplies in bfloat16 by itself, as GPUs do from compute capability 8.0 on."""

    @property
    def loaded(self) -> Format:
        """Format that weights are loaded in."""
        return "bfloat16" if self.is_gpu and self.has_bfloat16 else "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCounts:
    """Parameters of a model as a recipe trains it."""

    trained: int
    """Adapters alone where there are any."""
    frozen: int
    has_adapters: bool
    """Whether what is trained are adapters, which are float32 from the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Bytes of one memory before any activation."""

    weights: int = 0
    gradients: int = 0
    moments: int = 0
    """AdamW's two."""
    masters: int = 0
    """Copies in float32, where the weights themselves are not."""
    untouched: int = 0
    """Copies of trained weights as they were loaded, which the next job starts from."""

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(getattr(self, part.name) for part in fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How the numbers of one fine-tune are held."""

    loaded: Format
    """Of weights as they were loaded; frozen ones stay so."""
    masters: Literal["device", "host"]
    """Where what AdamW adds to is: trained weights in float32 on the device, or copies of them on the host."""
    on_device: Holdings
    on_host: Holdings
    """Nothing where the device is the host."""

    @property
    def computes_in_bfloat16(self) -> bool:
        """Whether matrix products are in bfloat16, by autocast."""
        return self.loaded == "bfloat16"


def choose_precision(
    counts: ParameterCounts, device: Device, *, loaded: Format, num_processes: int = 1, is_sharded: bool = False
) -> Precision:
    """Choose how a fine-tune's numbers are held: never trained weights, or their moments, in bfloat16 alone.

    Parameters
    ----------
    counts
        Of the whole model.
    device
        Of each process.
    loaded
        Format that weights were loaded in.
    num_processes
        Between which batches are split.
    is_sharded
        Whether each of them holds a part of weights and optimizer.

    Raises
    ------
    NoRoomError
        If there is no room either way, with the bytes that it takes and the bytes that are there.

    """
    ways = list_ways(counts, device, loaded=loaded, num_processes=num_processes, is_sharded=is_sharded)
    for way in ways:
        if has_room(way, device):
            return way
    raise _tell_no_room(counts, device, ways, num_shards=num_processes if is_sharded else 1)


def has_room(way: Precision, device: Device) -> bool:
    """Tell whether both memories have room for a way of holding numbers."""
    return way.on_device.total <= ROOM * device.memory and way.on_host.total <= ROOM * device.host_memory


def list_ways(
    counts: ParameterCounts, device: Device, *, loaded: Format, num_processes: int = 1, is_sharded: bool = False
) -> tuple[Precision, ...]:
    """List how a fine-tune's numbers could be held, what needs least time first; as for `choose_precision`."""
    trained, frozen, size = counts.trained, counts.frozen, BYTES[loaded]
    shards = num_processes if is_sharded else 1
    copies = 2 if num_processes > 1 and not is_sharded else 1  # DDP sums gradients in buckets of its own
    untouched = 0 if counts.has_adapters else size * trained
    here = Holdings(
        weights=(size * frozen + 4 * trained) // shards,
        gradients=4 * trained * copies // shards,
        moments=8 * trained // shards,
        untouched=0 if device.is_gpu else untouched,
    )
    ways = [
        Precision(
            loaded=loaded,
            masters="device",
            on_device=here,
            on_host=Holdings(untouched=untouched if device.is_gpu else 0),
        )
    ]
    if loaded == "bfloat16" and device.is_gpu and not is_sharded and not counts.has_adapters:
        ways.append(
            Precision(
                loaded=loaded,
                masters="host",
                on_device=Holdings(weights=size * (frozen + trained), gradients=size * trained * copies),
                on_host=Holdings(moments=8 * trained, masters=4 * trained, untouched=untouched),
            )
        )
    return tuple(ways)


def _tell_no_room(
    counts: ParameterCounts, device: Device, ways: tuple[Precision, ...], *, num_shards: int
) -> NoRoomError:
    here, *elsewhere = ways
    each = f", each of {num_shards}" if num_shards > 1 else ""
    found = (
        f"{counts.trained:,} of {counts.trained + counts.frozen:,} parameters to train take "
        f"{tell_bytes(here.on_device.total)} before any activation, of {device.name}, which has "
        f"{tell_bytes(device.memory)}{each}"
    )
    for way in elsewhere:
        found += (
            f"; with float32 weights and moments on the host {tell_bytes(way.on_device.total)}, and "
            f"{tell_bytes(way.on_host.total)} of the host's {tell_bytes(device.host_memory)}"
        )
    smaller = "a smaller model" if counts.has_adapters else "finetune=lora, finetune=projector or a smaller model"
    more = "a larger GPU, or cluster=slurm cluster.gpus=N cluster.sharding=fsdp" if device.is_gpu else "more memory"
    return NoRoomError(found, f"At most {percent(ROOM)} of a memory is taken for these; take {smaller}, {more}")
