"""Questions and images as a backbone reads them, each in its own chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from cg_lab.boxes import find_style, format_boxes
from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.batches import PREFIXED, Example, lengthen
from cg_lab.models.chat_prompts import (
    ChatFrame,
    LetterTokens,
    Message,
    count_lead,
    encode_answers,
    find_end,
    find_letters,
    make_turn,
    process_prompts,
    read_frame,
)
from cg_lab.questions import AnswerForm, AnyQuestion, Question, Shots, format_answer, format_question

CHUNK = 256
"""Questions that the processor is given at a time."""


TOKEN_KEYS = ("token_type_ids", "mm_token_type_ids", "cross_attention_mask")
"""What some processors give for each token of the prompt."""
UNUSED_KEYS = ("input_ids", "attention_mask", "labels")
"""What is kept elsewhere, or made when a batch is."""


class TooLongError(Exception):
    """A question with its answer does not fit in a model's context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The beginning of a prompt, up to the end of its image, with the image as a backbone reads it."""

    prompt: list[int]
    """Token ids, image tokens expanded."""
    tail: str
    """What the template writes between the image and the question."""
    image: Mapping[str, torch.Tensor]
    """What the processor gives of the image, by the model's names; along the first axis examples join."""
    tokens: dict[str, torch.Tensor]
    """What it gives for each token, along the first axis."""


def encode_questions(
    backbone: LoadedBackbone,
    questions: Sequence[AnyQuestion],
    images: Sequence[Image.Image],
    shots: Shots | None = None,
) -> list[Example]:
    """Encode questions, one image each, behind answered examples if there are any.

    Raises
    ------
    UserError
        If the backbone shall answer with letters that are not single tokens after its chat template.
    TooLongError
        If a question with its answer does not fit in the model's context.

    """
    seen = None if shots else see_images(backbone, images)
    if seen is not None:
        return encode_seen(backbone, questions, seen)
    history = (
        [
            turn
            for asked, image in zip(shots.questions, shots.images, strict=True)
            for turn in _write_turns(backbone, asked, image)
        ]
        if shots
        else []
    )
    frame = read_frame(backbone.processor, backbone.identity.name, history)
    examples: list[Example] = []
    for question, image in zip(questions, images, strict=True):
        text = f"{frame.before}{format_question(question, backbone.identity.answer)}{frame.between}"
        prompts = _process_apart(backbone, [text], [[*(shots.images if shots else ()), image]])
        examples += _finish(backbone, frame, [question], prompts)
    return examples


def see_images(backbone: LoadedBackbone, images: Sequence[Image.Image]) -> list[Seen] | None:
    """Read images apart from any question, so that many questions can be asked about each.

    Returns
    -------
    None if the backbone's processor writes a prompt otherwise than as image and text, one after the other.

    """
    frame = read_frame(backbone.processor, backbone.identity.name)
    if not images:
        return []
    special = frozenset(backbone.processor.tokenizer.added_tokens_decoder)
    texts = [frame.before] * CHUNK
    chunk = CHUNK if _is_stacking(backbone, frame, images) else 1
    seen: list[Seen] = []
    for start in range(0, len(images), chunk):
        part = images[start : start + chunk]
        for whole in _process_apart(backbone, texts[: len(part)], [[image] for image in part]):
            one = _split_at_image(backbone, special, whole)
            if one is None:
                return None
            seen.append(one)
    probe = f"What is it?{frame.between}"
    whole = process_prompts(backbone.processor, [frame.before + probe], [[images[0]]])["input_ids"][0]
    return seen if _continue(backbone, seen[:1], [probe]) == [list(whole)] else None


def encode_seen(backbone: LoadedBackbone, questions: Sequence[AnyQuestion], seen: Sequence[Seen]) -> list[Example]:
    """Encode questions about images that have been read already.

    Raises
    ------
    UserError
        If the backbone shall answer with letters that are not single tokens after its chat template.

    """
    frame = read_frame(backbone.processor, backbone.identity.name)
    texts = [f"{format_question(question, backbone.identity.answer)}{frame.between}" for question in questions]
    prompts = [
        replace(
            one,
            prompt=prompt,
            tokens={key: lengthen(values, len(prompt) - len(one.prompt)) for key, values in one.tokens.items()},
        )
        for one, prompt in zip(seen, _continue(backbone, seen, texts), strict=True)
    ]
    return _finish(backbone, frame, questions, prompts)


def _continue(backbone: LoadedBackbone, seen: Sequence[Seen], texts: Sequence[str]) -> list[list[int]]:
    """Write text behind images; it is tokenized behind the image's last token, since many tokenizers look back."""
    tokenizer = backbone.processor.tokenizer
    anchors = [tokenizer.convert_ids_to_tokens(one.prompt[-1]) for one in seen]
    behind = tokenizer(
        [f"{anchor}{one.tail}{text}" for anchor, one, text in zip(anchors, seen, texts, strict=True)],
        add_special_tokens=False,
    )["input_ids"]
    return [[*one.prompt, *row[1:]] for one, row in zip(seen, behind, strict=True)]


def _split_at_image(backbone: LoadedBackbone, special: frozenset[int], whole: Seen) -> Seen | None:
    """Cut a prompt behind its last special token, which belongs to the image."""
    ids = whole.prompt
    end = next((place for place in range(len(ids), 0, -1) if ids[place - 1] in special), None)
    if end is None:
        return None
    tail = backbone.processor.tokenizer.decode(ids[end:]) if end < len(ids) else ""
    tokens = {key: values[:end].clone() for key, values in whole.tokens.items()}
    return replace(whole, prompt=ids[:end], tail=tail, tokens=tokens)


def _process_apart(backbone: LoadedBackbone, prompts: list[str], images: list[list[Image.Image]]) -> list[Seen]:
    """Process prompts together and take what was given apart."""
    given = process_prompts(backbone.processor, prompts, images)
    image = {key: _to_tensor(given[key]) for key in given if key not in (*UNUSED_KEYS, *TOKEN_KEYS)}
    is_one = len(prompts) == 1
    seen: list[Seen] = []
    for row, ids in enumerate(given["input_ids"]):
        seen.append(
            Seen(
                prompt=list(ids),
                tail="",
                image=image if is_one else {key: values[row : row + 1] for key, values in image.items()},
                tokens={key: _to_tensor(given[key][row])[: len(ids)] for key in TOKEN_KEYS if key in given},
            )
        )
    return seen


def _is_stacking(backbone: LoadedBackbone, frame: ChatFrame, images: Sequence[Image.Image]) -> bool:
    """Tell whether a processor makes one tensor of one shape for each image, so that many can be given at a time."""
    # One by one, since some processors can't give several that are of unequal length.
    given = [process_prompts(backbone.processor, [frame.before], [[image]]) for image in images[:2]]
    shapes = {
        np.shape(one["pixel_values"]) for one in given if set(one) - {*UNUSED_KEYS, *TOKEN_KEYS} == {"pixel_values"}
    }
    return len(shapes) == 1 and next(iter(shapes))[0] == 1 and len({len(one["input_ids"][0]) for one in given}) == 1


def _finish(
    backbone: LoadedBackbone, frame: ChatFrame, questions: Sequence[AnyQuestion], prompts: Sequence[Seen]
) -> list[Example]:
    """Put the options behind prompts, each with the token that ends its turn."""
    tokenizer = backbone.processor.tokenizer
    end = find_end(frame, backbone.model, tokenizer, backbone.identity.name)
    letters = _find_letters(backbone, frame, questions)
    texts = [
        [] if letters and isinstance(question, Question) else _write_answers(backbone, question, prompt.image)
        for question, prompt in zip(questions, prompts, strict=True)
    ]
    encoded = iter(encode_answers(tokenizer, frame, [text for row in texts for text in row]))
    lead = count_lead(tokenizer, frame)
    examples: list[Example] = []
    for question, prompt, row in zip(questions, prompts, texts, strict=True):
        if letters and isinstance(question, Question):
            options = tuple((*letters.before, letter, end) for letter in letters.ids[: len(question.options)])
        else:
            options = tuple((*next(encoded), end) for _ in row)
        _check_length(backbone, question, len(prompt.prompt), max(len(option) for option in options))
        examples.append(
            Example(
                prompt=prompt.prompt,
                options=options,
                lead=len(letters.before) if letters and isinstance(question, Question) else lead,
                answer=question.answer if isinstance(question, Question) else 0,
                image=prompt.image,
                tokens=prompt.tokens,
                answer_type=int(backbone.model.config.model_type in PREFIXED),
            )
        )
    return examples


def _find_letters(backbone: LoadedBackbone, frame: ChatFrame, questions: Sequence[AnyQuestion]) -> LetterTokens | None:
    """Find the letters of as many options as questions have; None where answers are texts."""
    count = max((len(question.options) for question in questions if isinstance(question, Question)), default=0)
    if backbone.identity.answer is not AnswerForm.LETTER or not count:
        return None
    return find_letters(backbone.processor.tokenizer, frame, count, backbone.identity.name)


def _check_length(backbone: LoadedBackbone, question: AnyQuestion, num_prompt: int, num_answer: int) -> None:
    most = getattr(backbone.model.config.get_text_config(), "max_position_embeddings", None)
    if most is not None and num_prompt + num_answer > most:
        raise TooLongError(
            f"the question '{_shorten(question.text)}' takes {num_prompt} tokens with its image and options, its "
            f"longest answer {num_answer} more, and the context of '{backbone.identity.name}' holds {most}. "
            "Shorten the labels or instructions, show fewer examples in the prompt, or take a model with more context"
        )


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _write_answers(backbone: LoadedBackbone, question: AnyQuestion, image: Mapping[str, torch.Tensor]) -> list[str]:
    """Write what may follow a question: each option, or the true boxes."""
    form = backbone.identity.answer
    if isinstance(question, Question):
        return [format_answer(question, form, choice) for choice in range(len(question.options))]
    return [format_boxes(question.boxes, find_style(backbone.model.config.model_type), find_size(backbone, image))]


def find_size(backbone: LoadedBackbone, image: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    """Give width and height in pixels of an image as the model reads it; 1, 1 where it has no grid of patches."""
    grid = image.get("image_grid_thw")
    if grid is None:
        return 1, 1
    patch = int(backbone.processor.image_processor.patch_size)
    return int(grid[0, 2]) * patch, int(grid[0, 1]) * patch


def _to_tensor(values: Any) -> torch.Tensor:
    return values if isinstance(values, torch.Tensor) else torch.as_tensor(np.asarray(values))


def _write_turns(backbone: LoadedBackbone, question: AnyQuestion, image: Image.Image) -> list[Message]:
    """Write an answered example as two turns."""
    form = backbone.identity.answer
    if isinstance(question, Question):
        answer = format_answer(question, form)
    else:
        (given,) = see_images(backbone, [image]) or [None]
        (answer,) = _write_answers(backbone, question, given.image if given else {})
    return [make_turn("user", format_question(question, form)), make_turn("assistant", answer)]
