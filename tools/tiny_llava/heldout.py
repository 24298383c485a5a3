"""Held-out scene accuracy of the embedded model: `python -m tools.tiny_llava.heldout`."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from cg_lab.models.backbone import load_backbone
from cg_lab.models.encoding import encode_questions
from cg_lab.models.scoring import score_options
from cg_lab.questions import AnswerForm, Question
from cg_lab.study import Backbone
from tools.tiny_llava.lexicon import read_words
from tools.tiny_llava.scene_kinds import sample_scene
from tools.tiny_llava.scenes import render_scenes
from tools.tiny_llava.topics import ask_fact, ask_reading

READING = "reading"
"""Questions whose answer is read in the question itself."""
ALL_TOPICS = "all but reading"
CLUTTERS = {0.0: "clean", 1.0: "cluttered"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicScore:
    """Accuracy on one topic."""

    topic: str
    num_questions: int
    accuracy: float
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldoutScore:
    """Accuracy on scenes that training never drew."""

    num_questions: int
    accuracy: float
    """Over all topics but reading."""
    chance: float
    topics: tuple[TopicScore, ...]


def measure_heldout(
    form: AnswerForm, *, clutter: float, num_scenes: int, path: str = "package:tiny_llava", seed: int = 0
) -> HeldoutScore:
    """Ask two questions about each of `num_scenes` new scenes, each in a prompt of its own, and some reading questions.

    Training seeds its scenes with `seed/step`; these are seeded with another word, so that none is drawn twice.
    """
    random = Random(f"heldout/{seed}/{clutter}")
    scenes = [sample_scene(random, clutter) for _ in range(num_scenes)]
    pixels = render_scenes(scenes, np.random.default_rng([seed, 10**9]))
    asked: list[tuple[str, Question, Image.Image]] = []
    for scene, picture in zip(scenes, pixels, strict=True):
        image = Image.fromarray(picture)
        asked += [
            (fact.topic, ask_fact(fact, random), image) for fact in random.sample(scene.facts, min(2, len(scene.facts)))
        ]
        if random.random() < 0.3:
            asked.append((READING, ask_reading(random, read_words()), image))
    backbone = load_backbone(Backbone(name="tiny_llava", path=path, revision="", answer=form))
    examples = encode_questions(backbone, [question for _, question, _ in asked], [image for _, _, image in asked])
    scores = [row for (row,) in score_options(backbone, [(example,) for example in examples], batch_size=64)]
    hits: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for (topic, question, _), score in zip(asked, scores, strict=True):
        right = max(range(len(score)), key=lambda position: score[position]) == question.answer
        hits[topic].append((right, 1 / len(question.options)))
    topics = tuple(
        TopicScore(
            topic=topic,
            num_questions=len(pairs),
            accuracy=float(np.mean([right for right, _ in pairs])),
            chance=float(np.mean([chance for _, chance in pairs])),
        )
        for topic, pairs in sorted(hits.items())
    )
    seen = [pair for topic, pairs in hits.items() if topic != READING for pair in pairs]
    return HeldoutScore(
        num_questions=len(seen),
        accuracy=float(np.mean([right for right, _ in seen])),
        chance=float(np.mean([chance for _, chance in seen])),
        topics=topics,
    )


def write_table(num_scenes: int, path: str) -> str:
    """Measure words and letters on clean and cluttered scenes; a Markdown table with the number of questions."""
    columns = [(form, clutter) for form in AnswerForm for clutter in CLUTTERS]
    cells: dict[str, dict[tuple[AnswerForm, float], str]] = defaultdict(dict)
    counts: dict[str, dict[float, int]] = defaultdict(dict)
    for form, clutter in columns:
        found = measure_heldout(form, clutter=clutter, num_scenes=num_scenes, path=path)
        cells[ALL_TOPICS][form, clutter] = f"{found.accuracy:.0%} ({found.chance:.0%})"
        counts[ALL_TOPICS][clutter] = found.num_questions
        for topic in found.topics:
            cells[topic.topic][form, clutter] = f"{topic.accuracy:.0%} ({topic.chance:.0%})"
            counts[topic.topic][clutter] = topic.num_questions
    heads = [f"{form}, {name}" for form in AnswerForm for name in CLUTTERS.values()]
    lines = [
        f"| topic | questions, {' + '.join(CLUTTERS.values())} | {' | '.join(heads)} |",
        "|---" * (2 + len(heads)) + "|",
    ]
    for topic in [ALL_TOPICS, *sorted(set(cells) - {ALL_TOPICS})]:
        asked = " + ".join(str(counts[topic].get(clutter, 0)) for clutter in CLUTTERS)
        lines.append(f"| {topic} | {asked} | {' | '.join(cells[topic].get(column, '-') for column in columns)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the accuracy on clean and cluttered scenes, answered with words and with letters."""
    parser = argparse.ArgumentParser(description="Measure the embedded model on scenes that it never saw.")
    parser.add_argument("--weights", type=Path, help="another folder of weights than the packaged one")
    parser.add_argument("--scenes", type=int, default=4000, help="scenes of each column; half a minute for 1,000")
    arguments = parser.parse_args()
    sys.stdout.write(write_table(arguments.scenes, str(arguments.weights or "package:tiny_llava")))


if __name__ == "__main__":
    main()
