"""Cross-entropy at the answers alone: the language model's head runs where a label is set, nowhere else.

Within `reading_in_places` its last layer does, too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from cg_lab.models.batches import IGNORED, without_mask
from cg_lab.models.head import compute_logits
from cg_lab.models.stored import give_values
from cg_lab.models.tower import hand_to_tower


def compute_answer_logits(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a `...ForConditionalGeneration` model and its head at the answers only.

    Parameters
    ----------
    model
        Has `model` (everything below the head) and `lm_head`, as image-text-to-text models of transformers do.
    batch
        Inputs, padded on the right, with `labels` (batch, token), -100 where no answer is; maybe with a tower's outputs
        to be played back.

    Returns
    -------
    logits_NV, labels_N
        Logits of the token before each answer token, and that token; N is the number of answer tokens.

    """
    inputs = {key: value for key, value in without_mask(model, batch).items() if key != "labels"}
    row_B1, place_BA = _find_answers(batch["labels"])
    model.read_places = (row_B1, place_BA)
    hidden_BAD = model.model(**hand_to_tower(model, give_values(inputs))).last_hidden_state[row_B1, place_BA]
    labels_BA = batch["labels"][row_B1, place_BA + 1]
    answered_BA = labels_BA != IGNORED
    return compute_logits(model, hidden_BAD[answered_BA]), labels_BA[answered_BA]


def _find_answers(labels_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the rows, and for each as many places, one before its answers' tokens and what lies between these.

    That many for each row keeps fine-tunes apart that stand side by side in one batch.
    """
    answered_BT = labels_BT[:, 1:] != IGNORED
    first_B = answered_BT.int().argmax(dim=1)
    last_B = answered_BT.shape[1] - 1 - answered_BT.flip(1).int().argmax(dim=1)
    last_B = torch.where(answered_BT.any(dim=1), last_B, first_B)  # a row may have no answer
    most = int((last_B - first_B).max()) + 1
    start_B = first_B.clamp(max=answered_BT.shape[1] - most)
    row_B1 = torch.arange(len(labels_BT), device=labels_BT.device)[:, None]
    return row_B1, start_B[:, None] + torch.arange(most, device=labels_BT.device)


def compute_answer_loss(model: Any, batch: dict[str, torch.Tensor], num_answers: Any = None) -> torch.Tensor:
    """Average the cross-entropy over all answer tokens of a batch.

    Parameters
    ----------
    model, batch
        As for `compute_answer_logits`.
    num_answers
        Answer tokens of the whole batch, where this is a part of it; the parts' losses then add up to the batch's.

    """
    logits_NV, labels_N = compute_answer_logits(model, batch)
    if num_answers is None:
        return functional.cross_entropy(logits_NV.float(), labels_N)
    return functional.cross_entropy(logits_NV.float(), labels_N, reduction="sum") / num_answers
