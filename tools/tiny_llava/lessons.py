"""Batches of scenes with several questions each, as token ids: what the embedded model is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import LlavaProcessor

from cg_lab.questions import AnswerForm, Question, format_answer, format_question
from tools.tiny_llava.architecture import NUM_IMAGE_TOKENS
from tools.tiny_llava.lexicon import read_words
from tools.tiny_llava.scene_kinds import sample_scene
from tools.tiny_llava.scenes import Scene, render_scenes
from tools.tiny_llava.topics import ask_fact, ask_reading

IGNORED = -100
"""Label of tokens that no loss is taken at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a training step shows; both values lie in [0, 1]."""

    clutter: float
    letters: float
    """Share of the questions that are answered with the letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curriculum:
    """Clean scenes first, then cluttered ones; few letters first, then more. Times are shares of all steps."""

    clean_until: float = 0.1
    cluttered_from: float = 0.6
    words_until: float = 0.3
    letters_from: float = 0.6
    fewest_letters: float = 0.1
    most_letters: float = 0.35

    def stage(self, progress: float) -> Stage:
        """Give the stage at a share of all steps."""
        return Stage(
            clutter=_ramp(progress, self.clean_until, self.cluttered_from),
            letters=self.fewest_letters
            + (self.most_letters - self.fewest_letters) * _ramp(progress, self.words_until, self.letters_from),
        )


def _ramp(value: float, start: float, end: float) -> float:
    return min(1.0, max(0.0, (value - start) / (end - start)))


class Lessons(Dataset[dict[str, torch.Tensor]]):
    """One item is one training step's batch; item `i` depends on the seed and `i` alone."""

    def __init__(
        self, processor: LlavaProcessor, *, num_steps: int, batch_size: int, num_turns: int, seed: int
    ) -> None:
        self.processor = processor
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.num_turns = num_turns
        self.seed = seed
        self.curriculum = Curriculum()
        self.words = read_words()

    def __len__(self) -> int:
        return self.num_steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        """Make a step's batch.

        Returns
        -------
        `pixel_values` (batch, 3, 48, 48), and `input_ids`, `attention_mask`, `labels` (batch, token), padded on the
        right; labels are set at the answers of all turns.

        """
        random = Random(f"{self.seed}/{step}")
        stage = self.curriculum.stage(step / self.num_steps)
        scenes = [sample_scene(random, stage.clutter * random.random() ** 0.5) for _ in range(self.batch_size)]
        pixels = render_scenes(scenes, np.random.default_rng([self.seed, step]))
        turns = [self._ask(scene, random, stage) for scene in scenes]
        return {"pixel_values": normalize(pixels), **self._tokenize(turns)}

    def _ask(self, scene: Scene, random: Random, stage: Stage) -> list[tuple[Question, AnswerForm]]:
        facts = random.sample(scene.facts, min(len(scene.facts), self.num_turns - (random.random() < 0.7)))
        questions = [ask_fact(fact, random) for fact in facts]
        questions += [ask_reading(random, self.words) for _ in range(self.num_turns - len(questions))]
        random.shuffle(questions)
        forms = [AnswerForm.LETTER if random.random() < stage.letters else AnswerForm.TEXT for _ in questions]
        return list(zip(questions, forms, strict=True))

    def _tokenize(self, turns: list[list[tuple[Question, AnswerForm]]]) -> dict[str, torch.Tensor]:
        texts: list[str] = []
        for questions in turns:
            for question, form in questions:
                texts += [
                    f"<|user|>{format_question(question, form)}<|assistant|>",
                    f" {format_answer(question, form)}<eos>",
                ]
        pieces = iter(self.processor.tokenizer(texts, add_special_tokens=False)["input_ids"])
        image = [self.processor.image_token_id] * NUM_IMAGE_TOKENS
        rows: list[tuple[list[int], list[int]]] = []
        for questions in turns:
            ids: list[int] = []
            labels: list[int] = []
            for position in range(len(questions)):
                prompt, answer = next(pieces), next(pieces)
                prompt = prompt if position else [prompt[0], *image, *prompt[1:]]
                ids += prompt + answer
                labels += [IGNORED] * len(prompt) + answer
            rows.append((ids, labels))
        return pad(rows, self.processor.tokenizer.pad_token_id)


def normalize(pixels_BHWC: np.ndarray) -> torch.Tensor:
    """Bring uint8 pixels to [-1, 1], channels first, as the processor does."""
    return torch.from_numpy(pixels_BHWC).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def pad(rows: list[tuple[list[int], list[int]]], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad token ids and labels on the right to the longest row."""
    longest = max(len(ids) for ids, _ in rows)
    return {
        "input_ids": torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids, _ in rows]),
        "labels": torch.tensor([labels + [IGNORED] * (longest - len(labels)) for _, labels in rows]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows]),
    }
