"""What a peer is given is what cg_lab trains on."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cg_lab.models.tiny_llava import WEIGHTS

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
sft: Any = import_module("sft")


def test_the_peer_s_chat_template_writes_what_the_embedded_model_s_does() -> None:
    own = (WEIGHTS / "chat_template.jinja").read_text(encoding="utf-8")
    sft.check_template(own)
    with pytest.raises(AssertionError):
        sft.check_template(own.replace("<|user|>", "<|user|> "))
