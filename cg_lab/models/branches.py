"""Attention for sequences that part behind a trunk: each branch sees the trunk and itself, and no other branch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = "cg_lab_branches"


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """What follows a trunk in one of several ways."""

    stem: list[int]
    """Tokens."""
    leaves: Sequence[Sequence[int]]
    """Tokens of each way to go on behind the stem; they don't see each other, and their last ones are foretold only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bunch:
    """Trunks and their branches in one batch: (trunk, branch, branch, ...), each part as long as its longest."""

    inputs: dict[str, torch.Tensor]
    """`input_ids` and `position_ids` (row, token), and an `attention_mask` (row, branch, token of it, token that it may
    see: first the trunk's, then the branch's own), for `branching` alone."""
    trunk_length: int
    branch_length: int

    def find(self, branch: int, place: int) -> int:
        """Give the place in a row of a place in one of its branches: stem first, then each leaf."""
        return self.trunk_length + branch * self.branch_length + place


def lay_side_by_side(trunks: Sequence[Sequence[int]], branches: Sequence[Sequence[Branch]], pad_id: int) -> Bunch:
    """Lay each trunk in one row with all of its branches."""
    trunk_length = max(len(trunk) for trunk in trunks)
    branch_length = max(len(_list_tokens(branch)) for row in branches for branch in row)
    num_branches = max(len(row) for row in branches)
    no_branch = Branch(stem=[], leaves=[])
    rows = [[*row, *[no_branch] * (num_branches - len(row))] for row in branches]

    def fill_up(values: Sequence[int], length: int, filling: int) -> list[int]:
        return [*values, *[filling] * (length - len(values))]

    ids = [
        [
            *fill_up(trunk, trunk_length, pad_id),
            *(one for branch in row for one in fill_up(_list_tokens(branch), branch_length, pad_id)),
        ]
        for trunk, row in zip(trunks, rows, strict=True)
    ]
    step_BGL = torch.tensor([[fill_up(_list_steps(branch), branch_length, 0) for branch in row] for row in rows])
    node_BGL = torch.tensor([[fill_up(_list_nodes(branch), branch_length, -1) for branch in row] for row in rows])
    length_B = torch.tensor([len(trunk) for trunk in trunks])
    position_BT = torch.cat(
        [torch.arange(trunk_length).expand(len(trunks), -1), (length_B[:, None, None] + step_BGL).flatten(1)], dim=1
    )
    sees_BGLL = ((node_BGL[..., None] == node_BGL[..., None, :]) | (node_BGL[..., None, :] == 0)).tril()
    is_trunk_BT = torch.arange(trunk_length) < length_B[:, None]
    is_trunk_BGLT = is_trunk_BT[:, None, None].expand(-1, num_branches, branch_length, -1)
    return Bunch(
        inputs={
            "input_ids": torch.tensor(ids),
            "position_ids": position_BT,
            "attention_mask": torch.cat([is_trunk_BGLT, sees_BGLL], dim=-1),
        },
        trunk_length=trunk_length,
        branch_length=branch_length,
    )


def _list_tokens(branch: Branch) -> list[int]:
    return [*branch.stem, *chain(*(leaf[:-1] for leaf in branch.leaves))]


def _list_steps(branch: Branch) -> list[int]:
    """Count each token's steps behind the trunk."""
    behind = len(branch.stem)
    return [*range(behind), *(behind + step for leaf in branch.leaves for step in range(len(leaf) - 1))]


def _list_nodes(branch: Branch) -> list[int]:
    """Give 0 for each token of the stem, then the number of its leaf, from 1."""
    return [0] * len(branch.stem) + [node for node, leaf in enumerate(branch.leaves, 1) for _ in leaf[:-1]]


@contextmanager
def branching(model: Any) -> Iterator[None]:
    """Let a model whose attention is causal read bunches, and nothing else."""
    AttentionInterface.register(NAME, _attend)
    config = model.config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def _attend(
    module: Any,
    query_BHTD: torch.Tensor,
    key_BHTD: torch.Tensor,
    value_BHTD: torch.Tensor,
    mask_BGLX: torch.Tensor,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within trunks, then from each branch to its trunk and itself."""
    num_branches, length = mask_BGLX.shape[1:3]
    trunk_length = query_BHTD.shape[2] - num_branches * length
    (trunk_q, trunk_k, trunk_v), (branch_q, branch_k, branch_v) = zip(
        *(values.split([trunk_length, num_branches * length], dim=2) for values in (query_BHTD, key_BHTD, value_BHTD)),
        strict=True,
    )
    trunk_BTHD, _ = sdpa_attention_forward(module, trunk_q, trunk_k, trunk_v, None, **{**options, "is_causal": True})

    def part(values_BHTD: torch.Tensor) -> torch.Tensor:
        return values_BHTD.unflatten(2, (num_branches, length)).transpose(1, 2).flatten(0, 1)

    def put_behind(trunk_BHTD: torch.Tensor, branch_BHTD: torch.Tensor) -> torch.Tensor:
        return torch.cat([trunk_BHTD.repeat_interleave(num_branches, dim=0), part(branch_BHTD)], dim=2)

    branch_NLHD, _ = sdpa_attention_forward(
        module,
        part(branch_q),
        put_behind(trunk_k, branch_k),
        put_behind(trunk_v, branch_v),
        mask_BGLX.flatten(0, 1)[:, None],
        **options,
    )
    branch_BTHD = branch_NLHD.unflatten(0, (-1, num_branches)).flatten(1, 2)
    return torch.cat([trunk_BTHD, branch_BTHD], dim=1), None
