"""The embedded model: a real LLaVA, small enough for a laptop, that reads options and has never seen a phantom."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""A folder as `from_pretrained` reads it: configuration, safetensors, tokenizer and processor."""
