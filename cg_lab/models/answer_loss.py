"""Cross-entropy at the answers alone: the language model's head runs where a label is set, nowhere else."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from cg_lab.models.stored import give_values
from cg_lab.models.tower import FEATURES


def compute_answer_logits(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a `...ForConditionalGeneration` model and its head at the answers only.

    Parameters
    ----------
    model
        Has `model` (everything below the head) and `lm_head`, as image-text-to-text models of transformers do.
    batch
        Inputs, with `labels` (batch, token), -100 where no answer is; maybe with a tower's outputs to be played back.

    Returns
    -------
    logits_NV, labels_N
        Logits of the token before each answer token, and that token; N is the number of answer tokens.

    """
    inputs = give_values({key: value for key, value in batch.items() if key not in {"labels", FEATURES}})
    if FEATURES in batch:
        model.tower_features = batch[FEATURES]
    hidden_BTD = model.model(**inputs).last_hidden_state
    labels_BT = batch["labels"][:, 1:]
    answered_BT = labels_BT != -100
    return model.lm_head(hidden_BTD[:, :-1][answered_BT]), labels_BT[answered_BT]


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
