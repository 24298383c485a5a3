"""What a model writes when it is asked, as the papers' harnesses have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.batches import Example, collate, move_batch
from cg_lab.models.tower import hand_to_tower, playing_back


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An answer in a model's own words."""

    text: str
    log_prob: float
    """Mean natural log-probability of its tokens, the turn's end included."""


class _Largest(LogitsProcessor):
    """Notes the largest log-probability of each step, which is the written token's; the rest would take gigabytes."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        self.steps.append(scores.float().log_softmax(dim=-1).amax(dim=-1))
        return scores


@torch.inference_mode()
def write_answers(
    backbone: LoadedBackbone, examples: Sequence[Example], batch_size: int, max_new_tokens: int
) -> list[Written]:
    """Let a model answer questions freely: the likeliest token each time, until it ends its turn.

    Prompts of a batch are padded on the left, which changes no answer.
    """
    model, tokenizer = backbone.model, backbone.processor.tokenizer
    model.eval()
    order = sorted(range(len(examples)), key=lambda index: (len(examples[index].prompt), index))
    written: list[Written | None] = [None] * len(examples)
    with playing_back(backbone):
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            chosen = [examples[row] for row in rows]
            batch = collate(chosen, [()] * len(chosen), tokenizer.pad_token_id, on_left=True)
            largest = _Largest()
            sequences_BT = model.generate(
                **hand_to_tower(model, move_batch(model, batch)), max_new_tokens=max_new_tokens, do_sample=False,
                pad_token_id=tokenizer.pad_token_id, logits_processor=LogitsProcessorList([largest]),
            )  # fmt: skip
            ids_BT = sequences_BT[:, batch["input_ids"].shape[1] :]
            gained_BT = torch.stack(largest.steps, dim=1).cpu()
            ends = model.generation_config.eos_token_id
            end_E = torch.tensor(ends if isinstance(ends, list) else [tokenizer.eos_token_id if ends is None else ends])
            for row, ids_T, gained_T in zip(rows, ids_BT.cpu(), gained_BT, strict=True):
                (stops,) = torch.isin(ids_T, end_E).nonzero(as_tuple=True)
                count = int(stops[0]) + 1 if len(stops) else len(ids_T)
                written[row] = Written(
                    text=tokenizer.decode(ids_T[:count], skip_special_tokens=True).strip(),
                    log_prob=float(gained_T[:count].mean()),
                )
    return [answer for answer in written if answer is not None]
