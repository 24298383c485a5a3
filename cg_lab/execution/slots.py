"""Slots: how many packs run at one time, and what each of them has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from cg_lab.execution.local import count_slots, list_gpus
from cg_lab.study import ClusterSettings, DebugSettings, LocalSettings, SlurmSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Packs that run at one time."""

    num: int
    threads: int | None
    """Of each; None where the cluster says."""
    gpus: float
    """Of each, a part of one where several packs share it; 0 where there are none."""
    is_certain: bool = True
    """Whether there are so many; of a cluster that was not asked for any, nothing is known."""

    def tell(self) -> str:
        """Say how many there are, and what each has.

        >>> Slots(num=2, threads=4, gpus=0.5).tell(), Slots(num=4, threads=None, gpus=8).tell()
        ('2 slots of 4 threads on 1 GPU', '4 Slurm tasks at a time of 8 GPUs each')
        """
        if self.threads is None:
            shape = f"{self.num} Slurm task{'s' if self.num > 1 else ''} at a time"
            each = f"{shape} of {count_gpus(self.gpus)} each" if self.gpus else shape
            return each if self.is_certain else f"{each} where nodes have any"
        shape = (
            f"{self.num} slot{'s' if self.num > 1 else ''} of {self.threads} thread{'s' if self.threads > 1 else ''}"
        )
        return f"{shape} on {count_gpus(self.gpus * self.num)}" if self.gpus else shape


def find_slots(cluster: ClusterSettings) -> Slots:
    """Find the slots of a cluster; Slurm's tasks have one GPU each where nothing else is asked for."""
    match cluster:
        case SlurmSettings():
            each = 1 if cluster.gpus is None else cluster.gpus
            return Slots(
                num=cluster.slots, threads=None, gpus=cluster.nodes * each, is_certain=cluster.gpus is not None
            )
        case LocalSettings():
            gpus, asked = list_gpus() if cluster.gpus is None else cluster.gpus, cluster.slots
        case DebugSettings():
            gpus, asked = list_gpus()[:1], 1
        case _:
            assert_never(cluster)
    num, threads = count_slots(asked, len(gpus))
    return Slots(num=num, threads=threads, gpus=min(1.0, len(gpus) / num))


def count_gpus(gpus: float) -> str:
    """Say a number of GPUs.

    >>> count_gpus(1), count_gpus(2.5)
    ('1 GPU', '2.5 GPUs')
    """
    return f"{gpus:.3g} GPU{'' if round(gpus, 9) == 1 else 's'}"
