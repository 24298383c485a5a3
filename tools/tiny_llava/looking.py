"""First stage of the base training: the vision tower learns to see, with a linear reading of every fact of a scene."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from tools.tiny_llava.lessons import Curriculum, normalize
from tools.tiny_llava.scene_kinds import sample_scene
from tools.tiny_llava.scenes import render_scenes
from tools.tiny_llava.topics import TOPICS

MAX_SUBJECTS = 512


class FactTable:
    """Numbers for facts: a subject is a topic with what it is about, and each subject has its topic's values."""

    def __init__(self) -> None:
        self.most_values = max(len(topic.values) for topic in TOPICS.values())
        self._values = {
            name: {value.split("/")[0]: number for number, value in enumerate(topic.values)}
            for name, topic in TOPICS.items()
        }

    def subject(self, topic: str, about: str) -> str:
        """Name a subject."""
        return f"{topic}/{about}"

    def value(self, topic: str, value: str) -> int:
        """Give the number of a value within its topic."""
        return self._values[topic][value.split("/", maxsplit=1)[0]]


class Sights(Dataset[dict[str, torch.Tensor]]):
    """One item is one step's batch of scenes with their facts; item `i` depends on the seed and `i` alone."""

    def __init__(self, *, num_steps: int, batch_size: int, seed: int) -> None:
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.seed = seed
        self.curriculum = Curriculum()
        self.table = FactTable()

    def __len__(self) -> int:
        return self.num_steps

    def __getitem__(self, step: int) -> dict[str, Any]:
        """Make a step's batch.

        Returns
        -------
        `pixel_values` (batch, 3, 48, 48); for each fact `row` (its scene), `subject` (a name) and `value`.

        """
        random = Random(f"look/{self.seed}/{step}")
        clutter = self.curriculum.stage(step / self.num_steps).clutter
        scenes = [sample_scene(random, clutter * random.random() ** 0.5) for _ in range(self.batch_size)]
        pixels = render_scenes(scenes, np.random.default_rng([self.seed, step, 1]))
        facts = [(row, fact) for row, scene in enumerate(scenes) for fact in scene.facts]
        return {
            "pixel_values": normalize(pixels),
            "row": torch.tensor([row for row, _ in facts]),
            "subject": [self.table.subject(fact.topic, fact.about) for _, fact in facts],
            "value": torch.tensor([self.table.value(fact.topic, fact.value) for _, fact in facts]),
        }


class FactReader(nn.Module):
    """A linear classifier of every subject on pooled image features; thrown away after the stage."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = FactTable()
        self.numbers: dict[str, int] = {}
        self.weights = nn.Parameter(torch.randn(MAX_SUBJECTS, self.table.most_values, 2 * width) * 0.02)
        self.biases = nn.Parameter(torch.zeros(MAX_SUBJECTS, self.table.most_values))

    def get_extra_state(self) -> dict[str, int]:
        """Save which row belongs to which subject."""
        return dict(self.numbers)

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Go on with saved rows."""
        self.numbers = dict(state)

    def forward(self, features_BTD: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        """Give the logits of each fact's subject; (fact, value), values that the topic lacks at minus infinity."""
        pooled_BE = torch.cat([features_BTD.mean(dim=1), features_BTD.amax(dim=1)], dim=-1)
        subject_F = torch.tensor([self.numbers.setdefault(name, len(self.numbers)) for name in batch["subject"]])
        assert len(self.numbers) <= MAX_SUBJECTS
        logits_FV = (
            torch.einsum("fe,fve->fv", pooled_BE[batch["row"]], self.weights[subject_F]) + self.biases[subject_F]
        )
        sizes_F = torch.tensor([len(TOPICS[name.split("/")[0]].values) for name in batch["subject"]])
        return logits_FV.masked_fill(torch.arange(self.table.most_values)[None, :] >= sizes_F[:, None], float("-inf"))
