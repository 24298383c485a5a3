"""How the batch of an optimizer step is split over processes and forward passes."""

from __future__ import annotations

from cg_lab.errors import UserError


def split_batch(batch_size: int, num_processes: int, parts: int) -> int:
    """Give the forward passes that each process splits its share of a batch over: all equal, and at least `parts`.

    >>> split_batch(16, 1, 1), split_batch(16, 2, 4), split_batch(6, 1, 4)
    (1, 4, 6)

    Raises
    ------
    UserError
        If the processes can't have equal shares.

    """
    share, left = divmod(batch_size, num_processes)
    if left or not share:
        raise UserError(
            f"finetune.batch_size: {batch_size} can't be split evenly over {num_processes} processes "
            "(cluster.nodes x cluster.gpus); choose a multiple"
        )
    return next(number for number in range(min(parts, share), share + 1) if share % number == 0)
