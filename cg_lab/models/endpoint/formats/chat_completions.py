"""OpenAI's chat completions, as vLLM, SGLang, llama.cpp, `transformers serve` and commercial servers take them."""

from __future__ import annotations

import base64
import json
from typing import Any

from cg_lab.endpoint_settings import ServedModel
from cg_lab.models.endpoint.formats import Reply, Turn

PATH = "/chat/completions"
NUM_TOPS = 20
"""Likeliest tokens that are asked for: the most that OpenAI and vLLM allow."""


def write_request(model: ServedModel, turns: tuple[Turn, ...], *, with_log_probs: bool) -> dict[str, Any]:
    """Write a request, with images as data URLs in front of the text, as chat templates have them."""
    asked = {"logprobs": True, "top_logprobs": NUM_TOPS} if with_log_probs else {}
    messages = [{"role": turn.role, "content": _write_content(turn)} for turn in turns]
    return {"model": model.served, "messages": messages, **asked, **json.loads(model.request)}


def _write_content(turn: Turn) -> str | list[dict[str, Any]]:
    if turn.image is None:
        return turn.text
    url = f"data:image/png;base64,{base64.b64encode(turn.image).decode()}"
    return [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": turn.text}]


def read_reply(reply: dict[str, Any]) -> Reply:
    """Read the first choice; one that was kept from answering has an empty text, or the words of its refusal.

    >>> said = {"choices": [{"message": {"role": "assistant", "content": "B"}, "finish_reason": "stop"}], "model": "m"}
    >>> read_reply(said).text
    'B'
    """
    choice = reply["choices"][0]
    message, usage = choice["message"], reply.get("usage") or {}
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content)
    if not isinstance(content, str | None):
        raise TypeError(f"content is {type(content).__name__}")
    tokens = (choice.get("logprobs") or {}).get("content") or []
    first = next((token for token in tokens if token["token"].strip()), {})
    return Reply(
        text=content or message.get("refusal") or "",
        tops=tuple((top["token"], float(top["logprob"])) for top in first.get("top_logprobs") or ()),
        model=reply.get("model") or "",
        fingerprint=reply.get("system_fingerprint") or "",
        num_read=int(usage.get("prompt_tokens") or 0),
        num_written=int(usage.get("completion_tokens") or 0),
    )
