"""The embedded model's weights are a LLaVA like any other."""

from __future__ import annotations

import torch
from transformers import AutoModelForImageTextToText

from cg_lab.models.tiny_llava import WEIGHTS


def test_the_packaged_weights_are_small_and_load_as_any_llava_does() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) < 6_000_000
    model = AutoModelForImageTextToText.from_pretrained(WEIGHTS)
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    assert 500_000 < sum(parameter.numel() for parameter in model.parameters()) < 2_000_000
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
