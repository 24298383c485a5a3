"""Questions and images as a backbone reads them, each in its own chat template."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image

from cg_lab.models.backbone import LoadedBackbone
from cg_lab.questions import Question, format_answer, format_question

IGNORED = -100
"""Label of tokens that no loss is taken at."""
CHUNK = 256
"""Questions that the processor is given at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One question with its image, encoded."""

    prompt: list[int]
    """Token ids up to where the answer starts, image tokens expanded."""
    options: tuple[tuple[int, ...], ...]
    """Token ids that follow the prompt for each option, the turn's end included."""
    answer: int
    pixels: torch.Tensor  # channel, height, width


def encode_questions(backbone: LoadedBackbone, questions: list[Question], images: list[Image.Image]) -> list[Example]:
    """Encode questions, one image each."""
    return [
        example
        for start in range(0, len(questions), CHUNK)
        for example in _encode_chunk(backbone, questions[start : start + CHUNK], images[start : start + CHUNK])
    ]


def _encode_chunk(backbone: LoadedBackbone, questions: list[Question], images: list[Image.Image]) -> list[Example]:
    processor = backbone.processor
    form = backbone.identity.answer
    frame = _read_frame(backbone)
    prompts = [f"{frame.before}{format_question(question, form)}{frame.between}" for question in questions]
    inputs = processor(text=prompts, images=[image.convert("RGB") for image in images])
    endings = [
        f"{frame.lead}{format_answer(question, form, choice)}{frame.after}"
        for question in questions
        for choice in range(len(question.options))
    ]
    encoded = iter(processor.tokenizer(endings, add_special_tokens=False)["input_ids"])
    pixels = torch.as_tensor(inputs["pixel_values"]) if not isinstance(inputs["pixel_values"], list) else None
    examples: list[Example] = []
    for row, question in enumerate(questions):
        options = tuple(tuple(next(encoded)) for _ in question.options)
        examples.append(
            Example(
                prompt=list(inputs["input_ids"][row]),
                options=options,
                answer=question.answer,
                pixels=pixels[row] if pixels is not None else torch.as_tensor(inputs["pixel_values"][row]),
            )
        )
    return examples


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
    prompt = backbone.processor.apply_chat_template([user], add_generation_prompt=True)
    full = backbone.processor.apply_chat_template([user, reply])
    assert isinstance(prompt, str)
    assert isinstance(full, str)
    assert full.startswith(prompt), "the template's reply does not continue its generation prompt"
    before, between = prompt.split(question)
    lead, after = full[len(prompt) :].split(answer)
    return _Frame(before, between, lead, after.rstrip("\n"))


def collate_training(examples: list[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad prompts with their right answers on the right; labels are set at the answers."""
    rows = [example.prompt + list(example.options[example.answer]) for example in examples]
    longest = max(len(row) for row in rows)
    labels = [
        [IGNORED] * len(example.prompt) + list(example.options[example.answer]) + [IGNORED] * (longest - len(row))
        for example, row in zip(examples, rows, strict=True)
    ]
    return {
        "input_ids": torch.tensor([row + [pad_id] * (longest - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
        "labels": torch.tensor(labels),
        "pixel_values": torch.stack([example.pixels for example in examples]),
    }
