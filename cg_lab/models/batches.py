"""Examples, and the batches that they make: padded, joined, put where a model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from cg_lab.models.stored import TABLE, Stored, find_table, give_values

IGNORED = -100
"""Label of tokens that no loss is taken at."""
CAUSAL = ("llava", "llava_onevision", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "idefics3", "smolvlm", "internvl")
"""Architectures in which no token sees what comes after it."""

PREFIXED = ("paligemma",)
"""Architectures in which the tokens of a prompt see each other, later ones too; an answer's, of type 1, do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One question with its image, encoded."""

    prompt: list[int]
    """Token ids of the generation prompt as inference makes it, image tokens expanded."""
    options: tuple[tuple[int, ...], ...]
    """Token ids that follow the prompt for each option, and the token that ends the turn; of boxes, the true answer
    alone."""
    lead: int = 0
    """Tokens at the beginning of each option that tell no option from another, such as the space before a letter; they
    are trained on and not scored."""
    answer: int
    image: Mapping[str, torch.Tensor]
    """What the processor gives of the image, by the model's names; along the first axis examples join."""
    tokens: dict[str, torch.Tensor]
    """What it gives for each token of the prompt, along the first axis."""
    answer_type: int = 0
    """Type of an answer's tokens, where tokens have types."""


def lengthen(values_TX: torch.Tensor, num_more: int, kind: int = 0) -> torch.Tensor:
    """Go on for tokens of text: they see the image as the last one does, and are of one type."""
    if not num_more:
        return values_TX
    more = values_TX[-1:].expand(num_more, *values_TX.shape[1:])
    return torch.cat([values_TX, more if values_TX.ndim > 1 else torch.full_like(more, kind)])


def collate(
    examples: Sequence[Example], endings: Sequence[tuple[int, ...]], pad_id: int, *, on_left: bool = False
) -> dict[str, torch.Tensor]:
    """Pad prompts, each with what follows it, on the right, and join images.

    Parameters
    ----------
    examples
        The questions.
    endings
        For each of them, the tokens behind its prompt.
    pad_id
        Fills up.
    on_left
        Pad on the left, as models that go on writing need it.

    """
    rows = [example.prompt + list(ending) for example, ending in zip(examples, endings, strict=True)]
    longest = max(len(row) for row in rows)
    side = slice(None, None, -1) if on_left else slice(None)

    def pad(row: list[int], filling: int) -> list[int]:
        return (row[side] + [filling] * (longest - len(row)))[side]

    batch = {
        "input_ids": torch.tensor([pad(row, pad_id) for row in rows]),
        "attention_mask": torch.tensor([pad([1] * len(row), 0) for row in rows]),
    }
    for key in examples[0].tokens:
        long = [
            lengthen(example.tokens[key], len(row) - len(example.prompt), example.answer_type)
            for example, row in zip(examples, rows, strict=True)
        ]
        batch[key] = join([values[None] for values in long], on_left=on_left)
    return batch | join_images([example.image for example in examples])


def without_mask(model: Any, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Leave out the mask of a batch that is padded on the right, where causal attention never looks.

    Without one, attention has faster kernels.
    """
    unused = "attention_mask" if model.config.model_type in CAUSAL else None
    return {key: values for key, values in batch.items() if key != unused}


def join_images(images: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Join images; those that are kept as bytes as bytes, with their table."""
    table_CV = find_table(images)
    if table_CV is None:
        return {key: join([image[key] for image in images]) for key in images[0]}
    stored = [cast(Stored, image).tensors for image in images]
    return {key: join([tensors[key] for tensors in stored]) for key in stored[0]} | {TABLE: table_CV}


def move_batch(model: Any, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Put a batch where a model is, with numbers of its kind; bytes become values there."""
    moved = give_values({key: values.to(model.device) for key, values in batch.items()})
    return {
        key: values.to(dtype=model.dtype) if values.is_floating_point() else values for key, values in moved.items()
    }


def join(parts: list[torch.Tensor], *, on_left: bool = False) -> torch.Tensor:
    """Join along the first axis; along the others, shorter ones are filled up with zeros: tokens maybe on the left."""
    largest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    if all(list(part.shape[1:]) == largest for part in parts):
        return torch.cat(parts)
    filled = torch.zeros(sum(len(part) for part in parts), *largest, dtype=parts[0].dtype)
    place = 0
    for part in parts:
        room = [slice(0, size) for size in part.shape[1:]]
        if on_left:
            room[0] = slice(largest[0] - part.shape[1], None)
        filled[(slice(place, place + len(part)), *room)] = part
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
