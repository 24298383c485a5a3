"""The language model's head, where it is read: its own logits in training, log-probabilities in float32 in scoring."""

from __future__ import annotations

from typing import Any

import torch

CAPPED = ("paligemma", "gemma3n")
"""Architectures that bend their logits to a largest size, as their text configuration says."""
DIVIDED = ("granite4_vision", "granite_docling")
"""Architectures that divide them by a number of their text configuration."""
CHUNK = 16_384
"""Rows of a head in bfloat16 that are widened to float32 at a time."""


def compute_logits(model: Any, hidden_ND: torch.Tensor) -> torch.Tensor:
    """Give the model's own logits (N, vocabulary) behind hidden states."""
    return _finish(model, model.lm_head(hidden_ND))


def _finish(model: Any, logits_NV: torch.Tensor) -> torch.Tensor:
    """Do what an architecture does behind its head."""
    config = model.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    if model.config.model_type in CAPPED and cap is not None:
        return torch.tanh(logits_NV / cap) * cap
    if model.config.model_type in DIVIDED:
        return logits_NV / config.logits_scaling
    return logits_NV


def compute_log_probs(
    model: Any, hidden_ND: torch.Tensor, place_P: torch.Tensor, token_P: torch.Tensor
) -> torch.Tensor:
    """Give log-probabilities of tokens, computed in float32 from the head on.

    A head in bfloat16 would round logits of 16 and more to steps of 0.125, and make ties of letters that have none.

    Parameters
    ----------
    model
        Its head may be in any kind of numbers.
    hidden_ND
        What the head is given, once for each place.
    place_P, token_P
        For each token its place, and it.

    """
    if model.lm_head.weight.dtype is torch.float32:
        return compute_logits(model, hidden_ND).float().log_softmax(dim=-1)[place_P, token_P]
    hidden_ND = hidden_ND.float()
    total_N = hidden_ND.new_full((len(hidden_ND),), -torch.inf)
    chosen_P = hidden_ND.new_zeros(len(token_P))
    weight_VD, bias_V = model.lm_head.weight, model.lm_head.bias
    for start in range(0, len(weight_VD), CHUNK):
        rows = slice(start, start + CHUNK)
        bias = None if bias_V is None else bias_V[rows].float()
        logits_NC = _finish(model, torch.nn.functional.linear(hidden_ND, weight_VD[rows].float(), bias))
        total_N = torch.logaddexp(total_N, logits_NC.logsumexp(dim=-1))
        is_here_P = (token_P >= start) & (token_P < start + CHUNK)
        chosen_P[is_here_P] = logits_NC[place_P[is_here_P], token_P[is_here_P] - start]
    return chosen_P - total_N[place_P]
