"""What a chat template puts around a question, and what an answer is behind it: token by token as inference has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from jinja2 import TemplateError
from PIL import Image
from transformers.utils import chat_template_utils

from cg_lab.answer_parser import THOUGHT_TAGS
from cg_lab.errors import UserError
from cg_lab.questions import LETTERS

DATE = datetime(2024, 7, 26)  # noqa: DTZ001 - a day, in no zone
"""The day that templates are told which write today's, so that a prompt is the same whenever a job runs; Llama 3.2's
own default."""
WANT_TENSORS = ("Ovis2Processor",)
"""Processors that can't read what their own image processor gives by itself (transformers 5.23)."""
QUESTION, ANSWER = "QUESTION-PLACE", "ANSWER-PLACE"
Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFrame:
    """What stands around a question and its answer."""

    before: str
    """From the prompt's start to the question, its image included."""
    between: str
    """From the question to the end of the generation prompt, where a model begins to write."""
    lead: str
    """What a model writes before its answer: white space, or the end of a thought that the generation prompt opens."""
    thought: str
    """The tag of the thought that the generation prompt opens; empty if it opens none."""
    after: str
    """What the template writes behind an answer that lies in the past; may lack what ends a turn."""


def read_frame(processor: Any, name: str, history: Sequence[Message] = ()) -> ChatFrame:
    """Learn a chat template's frame from renderings, so that it is not run for every question.

    How an answer stands in history only tells which white space goes before it: many templates write their generation
    prompt otherwise, and an answer is always read, and trained, behind that prompt.

    Parameters
    ----------
    processor
        Has the template, or its tokenizer has.
    name
        Of the model, for messages.
    history
        Turns before the question.

    Raises
    ------
    UserError
        If there is no template, or it can't ask one question about one image.

    """
    user = make_turn("user", QUESTION)
    try:
        prompt = _render(processor, [*history, user], add_generation_prompt=True)
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"model.path: the chat template of '{name}' can't ask a question about an image ({reason}); take a "
            "checkpoint that was tuned to answer, or put a chat_template.jinja of your own beside its weights"
        ) from None
    parts = prompt.split(QUESTION)
    if len(parts) != 2:
        raise UserError(
            f"model.path: the chat template of '{name}' writes a question {len(parts) - 1} times into its prompt, not "
            "once; put a chat_template.jinja of your own beside its weights"
        )
    before, between = parts
    past = _read_past(processor, [*history, user])
    thought = _find_open_thought(between)
    ahead, _, after = past.partition(ANSWER) if past else (prompt, "", "")
    return ChatFrame(
        before=before,
        between=between,
        lead=_find_lead(prompt, ahead, thought),
        thought=thought,
        after=after,
    )


def _render(processor: Any, messages: list[Message], **options: bool) -> str:
    # The tokenizer's own method, since some processors ask for their video part first, which needs torchvision.
    template = getattr(processor, "chat_template", None)
    if isinstance(template, dict):
        template = template.get("default")
    with _pinned_date():
        return processor.tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, **options)


def _read_past(processor: Any, asked: list[Message]) -> str:
    """Render an answered question; empty if the template has no answers."""
    for reply in (make_turn("assistant", ANSWER), {"role": "assistant", "content": ANSWER}):
        try:
            past = _render(processor, [*asked, reply])
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError):
            continue
        if past.count(ANSWER) == 1:
            return past
    return ""


def continues_as_asked(processor: Any, name: str) -> bool:
    """Tell whether an answered question is written as its prompt, the answer and an end, as trainers take it to be.

    Raises
    ------
    UserError
        As of `read_frame`.

    """
    frame = read_frame(processor, name)
    past = _read_past(processor, [make_turn("user", QUESTION)])
    begun = past.startswith(f"{frame.before}{QUESTION}{frame.between}")
    return begun and not frame.thought and bool(frame.after.strip())


def _find_open_thought(between: str) -> str:
    """Give the tag of a thought that is open at the end of a text."""
    for start, end in THOUGHT_TAGS:
        if between.rfind(start) > between.rfind(end):
            return start
    return ""


def _find_lead(prompt: str, ahead: str, thought: str) -> str:
    """Say what goes between the generation prompt and an answer.

    Parameters
    ----------
    prompt
        With the generation prompt at its end.
    ahead
        What stands before an answer in history.
    thought
        The tag of an open thought, which is ended, since an answer inside of it would be none.

    """
    gap = ahead.removeprefix(prompt) if ahead.startswith(prompt) else None
    if thought:
        end = dict(THOUGHT_TAGS)[thought]
        if gap is not None and gap.strip() == end:
            return gap
        return f"\n{end}\n\n" if prompt[-1].isspace() else f"{end}\n\n"
    if gap is not None and not gap.strip():
        return gap
    if prompt[-1].isspace():
        return ""
    return ahead[len(ahead.rstrip()) :]


class _Pinned(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return DATE.replace(tzinfo=tz)


@contextmanager
def _pinned_date() -> Iterator[None]:
    """Let `strftime_now` in templates give one day; transformers lets no caller say which."""
    module: Any = chat_template_utils
    before = module.datetime
    module.datetime = _Pinned
    try:
        yield
    finally:
        module.datetime = before


def make_turn(role: str, text: str) -> Message:
    """Write a turn; the user's has an image."""
    content: list[dict[str, str]] = [{"type": "text", "text": text}]
    return {"role": role, "content": [{"type": "image"}, *content] if role == "user" else content}


def list_stops(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """List the tokens at which a model's generation stops, as its own generation configuration has them."""
    configs = (getattr(model, "generation_config", None), model.config.get_text_config(), tokenizer)
    for config in configs:
        found = getattr(config, "eos_token_id", None)
        ids = found if isinstance(found, (list, tuple)) else [] if found is None else [found]
        known = tuple(one for one in ids if 0 <= one < len(tokenizer))
        if known:
            return known
    return ()


def find_end(frame: ChatFrame, model: Any, tokenizer: Any, name: str) -> int:
    """Find the one token that ends a turn: the template's, if generation stops there, else one at which it does.

    Raises
    ------
    UserError
        If generation would stop at no token.

    """
    stops = list_stops(model, tokenizer)
    if not stops:
        raise UserError(
            f"model.path: '{name}' names no token that ends a turn, so that its answers would never stop; set "
            "eos_token_id in its generation_config.json"
        )
    written = tokenizer(frame.after, add_special_tokens=False)["input_ids"] if frame.after else []
    return next((one for one in (*written, tokenizer.eos_token_id) if one in stops), stops[0])


def encode_answers(tokenizer: Any, frame: ChatFrame, answers: Sequence[str]) -> list[list[int]]:
    """Give the tokens of answers as they follow the generation prompt, with what leads to them.

    They are tokenized behind that prompt, since many tokenizers look back; where an answer would melt into its last
    token, behind a token that nothing melts into, as a model has to write it.
    """
    if not answers:
        return []
    base = _encode(tokenizer, [frame.between])[0]
    rows = _encode(tokenizer, [f"{frame.between}{frame.lead}{answer}" for answer in answers])
    if all(row[: len(base)] == base and len(row) > len(base) for row in rows):
        return [row[len(base) :] for row in rows]
    anchor = tokenizer.eos_token or next(iter(tokenizer.added_tokens_decoder.values())).content
    return [row[1:] for row in _encode(tokenizer, [f"{anchor}{frame.lead}{answer}" for answer in answers])]


def count_lead(tokenizer: Any, frame: ChatFrame) -> int:
    """Count the tokens that end a thought before any answer."""
    return len(encode_answers(tokenizer, frame, [""])[0]) if frame.thought else 0


def process_prompts(processor: Any, prompts: list[str], images: list[list[Image.Image]]) -> dict[str, Any]:
    """Let a processor read prompts with their images; token ids come as lists, also where a processor makes tensors."""
    # A template that writes the first token itself must not get it twice.
    has_start = bool(processor.tokenizer.bos_token) and prompts[0].startswith(processor.tokenizer.bos_token)
    given = processor(
        text=prompts,
        images=[[image.convert("RGB") for image in row] for row in images],
        **({"add_special_tokens": False} if has_start else {}),
        **({"images_kwargs": {"return_tensors": "pt"}} if type(processor).__name__ in WANT_TENSORS else {}),
    )
    given["input_ids"] = [[int(one) for one in row] for row in given["input_ids"]]
    return given


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False)["input_ids"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterTokens:
    """Letters as they follow the generation prompt."""

    ids: tuple[int, ...]
    """Of A, B, C, ..."""
    before: tuple[int, ...]
    """What leads to each of them, such as a space."""


def find_letters(tokenizer: Any, frame: ChatFrame, count: int, name: str) -> LetterTokens:
    """Find the first letters' tokens behind the template's own words: alone, many tokenizers write them otherwise.

    Raises
    ------
    UserError
        If they are not single tokens.

    """
    rows = encode_answers(tokenizer, frame, LETTERS[:count])
    ids, starts = tuple(row[-1] for row in rows), {tuple(row[:-1]) for row in rows}
    if len(set(ids)) < count or len(starts) > 1:
        raise UserError(
            f"model.answer: after the chat template of '{name}' letters are not single tokens; take model.answer=text"
        )
    return LetterTokens(ids=ids, before=next(iter(starts)))


def decode_written(tokenizer: Any, ids: Sequence[int], frame: ChatFrame) -> str:
    """Give what a model wrote, without special tokens other than those of thoughts, an open one with its start."""
    tags = {tag for pair in THOUGHT_TAGS for tag in pair}
    special = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    if tags.isdisjoint(special.values()):
        text = tokenizer.decode(ids, skip_special_tokens=True)
    else:
        text = tokenizer.decode([one for one in ids if one not in special or special[one] in tags])
    return f"{frame.thought}{text}".strip()
