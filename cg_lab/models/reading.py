"""Compute the last layer of a language model only where its output is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

Places = tuple[torch.Tensor, torch.Tensor]
"""Row and token of what is read, of one shape, or of shapes that broadcast; no place twice."""
AROUND_ATTENTION = ("q_proj", "o_proj")
"""Layers of attention that make one token's output of that token's input; keys and values are needed of all."""


@contextmanager
def reading_in_places(model: Any) -> Iterator[None]:
    """Let `model.read_places` say where the hidden states behind the last layer are read, if it is set.

    Queries, the output of attention and the feed-forward layer are computed there alone and are zero elsewhere, as are
    their gradients; what is read does not change. Layers of another build (mixtures of experts) are computed whole.
    """
    last = next(reversed(getattr(model.get_decoder(), "layers", ())), None)
    attention, feed_forward = getattr(last, "self_attn", None), getattr(last, "mlp", None)
    narrowed: list[Any] = []
    if all(hasattr(attention, name) for name in AROUND_ATTENTION) and hasattr(feed_forward, "down_proj"):
        narrowed = [*(getattr(attention, name) for name in AROUND_ATTENTION), feed_forward]
    model.read_places = None
    for part in narrowed:
        part.forward = _narrow(model, part.forward)
    try:
        yield
    finally:
        for part in narrowed:
            del part.forward
        del model.read_places


def _narrow(model: Any, compute: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Compute in the places that are read, and put zeros elsewhere."""

    def forward(values_BTD: torch.Tensor) -> torch.Tensor:
        places: Places | None = model.read_places
        if places is None:
            return compute(values_BTD)
        computed = compute(values_BTD[places])
        whole_BTD = computed.new_zeros(*values_BTD.shape[:-1], computed.shape[-1])
        return whole_BTD.index_put(places, computed)

    return forward
