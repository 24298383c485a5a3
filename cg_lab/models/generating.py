"""What a model writes when it is asked, as the papers' harnesses have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationMixin, LogitsProcessor, LogitsProcessorList

from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.batches import Example, collate, move_batch
from cg_lab.models.chat_prompts import decode_written, list_stops, read_frame
from cg_lab.models.tower import hand_to_tower, playing_back

MAX_THOUGHT_TOKENS = 2048
"""Of a thought that the generation prompt opens, beside those of the answer."""

GENERATE: Any = vars(GenerationMixin)["generate"]
"""Not the model's own, since Janus's loses the logits processors that it is given (transformers 5.23)."""


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
    frame = read_frame(backbone.processor, backbone.identity.name)
    stops = list_stops(model, tokenizer)
    order = sorted(range(len(examples)), key=lambda index: (len(examples[index].prompt), index))
    written: list[Written | None] = [None] * len(examples)
    with playing_back(backbone):
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            chosen = [examples[row] for row in rows]
            batch = collate(chosen, [()] * len(chosen), tokenizer.pad_token_id, on_left=True)
            largest = _Largest()
            sequences_BT = GENERATE(
                model,
                **hand_to_tower(model, move_batch(model, batch)), do_sample=False,
                max_new_tokens=max_new_tokens + (MAX_THOUGHT_TOKENS if frame.thought else 0),
                pad_token_id=tokenizer.pad_token_id, eos_token_id=list(stops),
                logits_processor=LogitsProcessorList([largest]),
            )  # fmt: skip
            ids_BT = sequences_BT[:, batch["input_ids"].shape[1] :]
            gained_BT = torch.stack(largest.steps, dim=1).cpu()
            stop_S = torch.tensor(stops)
            for row, ids_T, gained_T in zip(rows, ids_BT.cpu(), gained_BT, strict=True):
                (ends,) = torch.isin(ids_T, stop_S).nonzero(as_tuple=True)
                count = int(ends[0]) + 1 if len(ends) else len(ids_T)
                written[row] = Written(
                    text=decode_written(tokenizer, ids_T[:count].tolist(), frame),
                    log_prob=float(gained_T[:count].mean()),
                )
    return [answer for answer in written if answer is not None]
