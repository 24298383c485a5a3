"""Architectures that no job is begun with, and why; told without loading anything."""

from __future__ import annotations

UNSUPPORTED = {
    "gemma3n": "its vision tower is one of timm's, with which loss and scores were not shown to be the model's own",
    "phi4_multimodal": "transformers has it as a language model alone, and not as image-text-to-text; its adapters for "
    "images are chosen by each call",
}
"""By the type that a model's configuration names."""
OF_THEIR_AUTHORS = {
    "llava_mistral": "LLaVA-Med's and its kin's checkpoints load with their authors' code alone; converted to llava or "
    "llava_next, the same weights work",
    "llava_qwen2": "HuatuoGPT-Vision's first checkpoints load with their authors' code alone; "
    "model=huatuogpt_vision_7b is the later one, a Qwen2.5-VL",
}
"""The same, of those that transformers has not."""
WAY_OUT = "take another architecture, such as one of the listed models (docs/models.md)"


def find_refusal(model_type: str) -> str:
    """Say why an architecture is refused; empty if it is not."""
    return (UNSUPPORTED | OF_THEIR_AUTHORS).get(model_type, "")
