"""Questions and images as a backbone reads them, each in its own chat template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from cg_lab.errors import UserError
from cg_lab.models.backbone import LoadedBackbone
from cg_lab.questions import LETTERS, AnswerForm, Question, format_answer, format_question

IGNORED = -100
"""Label of tokens that no loss is taken at."""
CHUNK = 256
"""Questions that the processor is given at a time."""


TOKEN_KEYS = ("token_type_ids", "mm_token_type_ids", "cross_attention_mask")
"""What some processors give for each token of the prompt."""
UNUSED_KEYS = ("input_ids", "attention_mask", "labels")
"""What is kept elsewhere, or made when a batch is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One question with its image, encoded."""

    prompt: list[int]
    """Token ids up to where the answer starts, image tokens expanded."""
    options: tuple[tuple[int, ...], ...]
    """Token ids that follow the prompt for each option, the turn's end included."""
    answer: int
    image: dict[str, torch.Tensor]
    """What the processor gives of the image, by the model's names; along the first axis examples join."""
    tokens: dict[str, torch.Tensor]
    """What it gives for each token of the prompt, along the first axis."""


def encode_questions(backbone: LoadedBackbone, questions: list[Question], images: list[Image.Image]) -> list[Example]:
    """Encode questions, one image each.

    Raises
    ------
    UserError
        If the backbone shall answer with letters that are not single tokens after its chat template.

    """
    frame = _read_frame(backbone)
    is_lettered = backbone.identity.answer is AnswerForm.LETTER
    most = max((len(question.options) for question in questions), default=2)
    letters = _find_letters(backbone, frame, most) if is_lettered else None
    chunk = CHUNK if _is_stacking(backbone, frame, images) else 1
    examples: list[Example] = []
    for start in range(0, len(questions), chunk):
        part = slice(start, start + chunk)
        examples += _encode_chunk(backbone, frame, letters, questions[part], images[part])
    return examples


def _is_stacking(backbone: LoadedBackbone, frame: _Frame, images: list[Image.Image]) -> bool:
    """Tell whether a processor makes one tensor of one shape for each image, so that many can be given at a time."""
    given = _process(backbone, [f"{frame.before}{frame.between}"] * len(images[:2]), images[:2])
    return set(given) - {*UNUSED_KEYS, *TOKEN_KEYS} == {"pixel_values"} and len(given["pixel_values"]) == len(
        images[:2]
    )


def _process(backbone: LoadedBackbone, prompts: list[str], images: list[Image.Image]) -> dict[str, Any]:
    processor = backbone.processor
    # A template that writes the first token itself must not get it twice.
    has_start = bool(processor.tokenizer.bos_token) and prompts[0].startswith(processor.tokenizer.bos_token)
    return processor(
        text=prompts,
        images=[[image.convert("RGB")] for image in images],
        **({"add_special_tokens": False} if has_start else {}),
    )


def _encode_chunk(
    backbone: LoadedBackbone,
    frame: _Frame,
    letters: _Letters | None,
    questions: list[Question],
    images: list[Image.Image],
) -> list[Example]:
    form = backbone.identity.answer
    given = _process(
        backbone, [f"{frame.before}{format_question(question, form)}{frame.between}" for question in questions], images
    )
    endings = [
        f"{frame.lead}{format_answer(question, form, choice)}{frame.after}"
        for question in questions
        for choice in range(len(question.options))
    ]
    encoded = iter(backbone.processor.tokenizer(endings, add_special_tokens=False)["input_ids"])
    image = {key: _to_tensor(given[key]) for key in given if key not in (*UNUSED_KEYS, *TOKEN_KEYS)}
    is_one = len(questions) == 1
    examples: list[Example] = []
    for row, question in enumerate(questions):
        prompt = list(given["input_ids"][row])
        options = tuple(tuple(next(encoded)) for _ in question.options)
        tokens = {key: _to_tensor(given[key][row])[: len(prompt)] for key in TOKEN_KEYS if key in given}
        if letters:
            options = tuple((letter, *letters.after) for letter in letters.ids[: len(options)])
            prompt += letters.before
            tokens = {key: _lengthen(values, len(letters.before)) for key, values in tokens.items()}
        examples.append(
            Example(
                prompt=prompt,
                options=options,
                answer=question.answer,
                image=image if is_one else {key: values[row : row + 1] for key, values in image.items()},
                tokens=tokens,
            )
        )
    return examples


def _to_tensor(values: Any) -> torch.Tensor:
    return values if isinstance(values, torch.Tensor) else torch.as_tensor(np.asarray(values))


def _lengthen(values_TX: torch.Tensor, num_more: int) -> torch.Tensor:
    """Go on for tokens of text: they see the image as the last one does, and are of type 0."""
    if not num_more:
        return values_TX
    more = values_TX[-1:].expand(num_more, *values_TX.shape[1:])
    return torch.cat([values_TX, more if values_TX.ndim > 1 else torch.zeros_like(more)])


@dataclass(frozen=True, slots=True)
class _Letters:
    """Answers of one token, as they follow a chat template."""

    ids: tuple[int, ...]
    """Of A, B, C, ..."""
    before: list[int]
    """Tokens between the prompt and the letter, such as a space."""
    after: tuple[int, ...]
    """Tokens that end the turn."""


def _find_letters(backbone: LoadedBackbone, frame: _Frame, count: int) -> _Letters:
    """Find the tokens of letters behind the template's own words: alone, many tokenizers write them otherwise."""
    tokenizer = backbone.processor.tokenizer

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    prompt = encode(frame.between)
    whole = [encode(f"{frame.between}{frame.lead}{letter}") for letter in LETTERS[:count]]
    ids = tuple(row[-1] for row in whole)
    start = whole[0][:-1]
    if len(set(ids)) < len(ids) or any(row[:-1] != start for row in whole) or start[: len(prompt)] != prompt:
        raise UserError(
            f"model.answer: after the chat template of '{backbone.identity.name}' letters are not single tokens; "
            "take model.answer=text"
        )
    return _Letters(ids, start[len(prompt) :], tuple(encode(frame.after)))


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a chat template puts around a question and its answer."""

    before: str
    between: str
    lead: str
    after: str


def _read_frame(backbone: LoadedBackbone) -> _Frame:
    """Learn a chat template's frame from one rendering, so that it is not run for every question."""
    question, answer = "QUESTION-PLACE", "ANSWER-PLACE"
    user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
    reply = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
    processor = backbone.processor

    def render(*messages: Any, **options: bool) -> Any:
        # The tokenizer's own method, since some processors ask for their video part first, which needs torchvision.
        return processor.tokenizer.apply_chat_template(
            list(messages), chat_template=processor.chat_template, tokenize=False, **options
        )

    prompt, full = render(user, add_generation_prompt=True), render(user, reply)
    assert isinstance(prompt, str)
    assert isinstance(full, str)
    assert full.startswith(prompt), "the template's reply does not continue its generation prompt"
    before, between = prompt.split(question)
    lead, after = full[len(prompt) :].split(answer)
    return _Frame(before, between, lead, after.rstrip("\n"))


def collate(examples: list[Example], endings: list[tuple[int, ...]], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad prompts, each with what follows it, on the right, and join images.

    Parameters
    ----------
    examples
        The questions.
    endings
        For each of them, the tokens behind its prompt.
    pad_id
        Fills up.

    """
    rows = [example.prompt + list(ending) for example, ending in zip(examples, endings, strict=True)]
    longest = max(len(row) for row in rows)
    batch = {
        "input_ids": torch.tensor([row + [pad_id] * (longest - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
    }
    for key in examples[0].tokens:
        long = [
            _lengthen(example.tokens[key], len(row) - len(example.prompt))
            for example, row in zip(examples, rows, strict=True)
        ]
        batch[key] = _join([values[None] for values in long])
    for key in examples[0].image:
        batch[key] = _join([example.image[key] for example in examples])
    return batch


def _join(parts: list[torch.Tensor]) -> torch.Tensor:
    """Join along the first axis; along the others, shorter ones are filled up with zeros."""
    largest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    if all(list(part.shape[1:]) == largest for part in parts):
        return torch.cat(parts)
    filled = torch.zeros(sum(len(part) for part in parts), *largest, dtype=parts[0].dtype)
    place = 0
    for part in parts:
        filled[(slice(place, place + len(part)), *(slice(0, size) for size in part.shape[1:]))] = part
        place += len(part)
    return filled


def collate_training(examples: list[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad prompts with their right answers on the right; labels are set at the answers."""
    answers = [example.options[example.answer] for example in examples]
    batch = collate(examples, answers, pad_id)
    labels_BT = torch.full_like(batch["input_ids"], IGNORED)
    for row, (example, answer) in enumerate(zip(examples, answers, strict=True)):
        start = len(example.prompt)
        labels_BT[row, start : start + len(answer)] = torch.tensor(answer)
    return {**batch, "labels": labels_BT}
