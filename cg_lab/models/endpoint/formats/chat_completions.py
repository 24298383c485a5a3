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
MOST_ENDING = 256
"""Last tokens of a prompt that are kept, image and all being thousands."""


def write_request(model: ServedModel, turns: tuple[Turn, ...], *, with_log_probs: bool) -> dict[str, Any]:
    """Write a request, with images as data URLs in front of the text, as chat templates have them."""
    said = json.loads(model.request)
    asked: dict[str, Any] = {"logprobs": True, "top_logprobs": NUM_TOPS} if with_log_probs else {}
    if turns[-1].role == "assistant":
        # A server has to write a token; with no generation prompt the option's turn ends as the template ends it.
        said |= {name: 1 for name in ("max_tokens", "max_completion_tokens") if name in said} or {"max_tokens": 1}
        asked = {"prompt_logprobs": 0, "add_generation_prompt": False}
    messages = [{"role": turn.role, "content": _write_content(turn)} for turn in turns]
    return {"model": model.served, "messages": messages, **asked, **said}


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
    read = reply.get("prompt_logprobs") or []
    return Reply(
        text=content or message.get("refusal") or "",
        tops=tuple((top["token"], float(top["logprob"])) for top in first.get("top_logprobs") or ()),
        model=reply.get("model") or "",
        fingerprint=reply.get("system_fingerprint") or "",
        num_read=int(usage.get("prompt_tokens") or 0),
        num_written=int(usage.get("completion_tokens") or 0),
        ending=tuple(_read_token(token) for token in read[-MOST_ENDING:]),
        num_before=max(0, len(read) - MOST_ENDING),
    )


def _read_token(found: dict[str, Any] | None) -> tuple[str, float]:
    """Read the token in one place of a prompt: vLLM lists it first, by its number, and nothing of the very first."""
    if not found:
        return "", 0.0
    token, facts = next(iter(found.items()))
    return token, float(facts["logprob"])
