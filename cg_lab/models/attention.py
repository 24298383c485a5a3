"""Which kernels a model may attend with, known without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from cg_lab.study import Backbone

TWO_WAYS = ("paligemma", "gemma3", "mllama")
"""Architectures whose tokens see others than those before them, which flash attention's kernels can't be told."""
FLASH = "flash_attention_2"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionFault:
    """Why a model can't attend as it is asked to."""

    found: str
    way_out: str


def find_attention_fault(identity: Backbone, model_type: str) -> AttentionFault | None:
    """Find out whether a model can attend as it is asked to; None if it can."""
    if identity.attention != FLASH:
        return None
    if model_type in TWO_WAYS:
        found = f"model.attention: {FLASH} has no mask for images of {model_type}"
        return AttentionFault(found=found, way_out="take model.attention=sdpa")
    if find_spec("flash_attn") is None:
        return AttentionFault(
            found=f"model.attention: {FLASH} needs the package flash-attn, which is not here",
            way_out="pip install flash-attn --no-build-isolation, or take model.attention=sdpa",
        )
    return None
