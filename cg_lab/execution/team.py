"""The processes of one pack: one, or several that split each batch between them through torch.distributed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")
PATIENCE = timedelta(days=7)
"""How long the others wait for the first process, which alone evaluates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """One process among those of its pack; the first one decides and keeps the files."""

    rank: int
    size: int

    @property
    def is_first(self) -> bool:
        """Whether this process decides."""
        return self.rank == 0

    def share(self, value: T) -> T:
        """Give every process the first one's value; all of them have to ask at the same point."""
        if self.size == 1:
            return value
        from torch import distributed

        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def any(self, flag: bool) -> bool:  # noqa: FBT001 - it is a question about a flag
        """Tell whether a flag is set in any process; all of them have to ask at the same point."""
        if self.size == 1:
            return flag
        import torch
        from torch import distributed

        told = torch.tensor(int(flag))
        distributed.all_reduce(told, distributed.ReduceOp.MAX)
        return bool(told)


SOLO = Team(rank=0, size=1)


@contextmanager
def joining() -> Iterator[Team]:
    """Join the other processes of a task that Slurm or this machine started through submitit."""
    import submitit

    environment = submitit.JobEnvironment() if "SUBMITIT_EXECUTOR" in os.environ else None
    if environment is None or environment.num_tasks == 1:
        yield SOLO
        return
    from submitit.helpers import TorchDistributedEnvironment

    found = TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    import torch
    from torch import distributed

    if torch.cuda.is_available():
        torch.cuda.set_device(found.local_rank)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Team(rank=found.rank, size=found.world_size)
    finally:
        distributed.destroy_process_group()
