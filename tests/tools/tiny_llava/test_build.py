"""The embedded model's builder: sound scenes, a stable tokenizer, a build that resumes, weights that know scenes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.questions import AnswerForm
from tools.tiny_llava.architecture import CHAT_TEMPLATE, build_tokenizer
from tools.tiny_llava.build import BuildOptions, build_base
from tools.tiny_llava.heldout import measure_heldout, write_table
from tools.tiny_llava.scene_kinds import sample_scene
from tools.tiny_llava.scenes import render_scenes
from tools.tiny_llava.topics import TOPICS, ask_fact, ask_reading, list_words

OPTIONS = BuildOptions(look_steps=2, steps=2, out=Path(), batch_size=4)


def test_the_same_seed_draws_the_same_scene() -> None:
    drawn = []
    for _ in range(2):
        random = Random(3)
        scenes = [sample_scene(random, 0.5) for _ in range(20)]
        drawn.append((render_scenes(scenes, np.random.default_rng(3)), [scene.facts for scene in scenes]))
    assert np.array_equal(drawn[0][0], drawn[1][0])
    assert drawn[0][1] == drawn[1][1]


def test_every_topic_is_asked_and_the_right_option_stands_anywhere() -> None:
    random = Random(0)
    facts = [fact for _ in range(1500) for fact in sample_scene(random, 0.5).facts]
    assert {fact.topic for fact in facts} == set(TOPICS)
    questions = [ask_fact(fact, random) for fact in facts]
    places = Counter(question.answer for question in questions if len(question.options) == 4)
    assert min(places.values()) > 0.2 * sum(places.values())


def test_reading_questions_name_their_answer() -> None:
    random = Random(0)
    for _ in range(100):
        question = ask_reading(random, list_words())
        assert question.options[question.answer] in question.text


def test_the_tokenizer_is_the_same_each_time_and_knows_words_as_one_token() -> None:
    first, second = build_tokenizer(), build_tokenizer()
    assert first.get_vocab() == second.get_vocab()
    assert first.tokenize(" malignant") == ["Ġmalignant"]
    odd = "Ünïcode ☃ pseudohypoparathyroidism"
    assert first.decode(first(odd)["input_ids"]) == odd


@pytest.mark.slow
def test_a_build_of_a_few_steps_loads_like_any_model_and_is_reproducible(tmp_path: Path) -> None:
    losses = []
    for name in ("first", "second"):
        torch.set_num_threads(1)
        losses.append([line.loss for line in build_base(replace(OPTIONS, out=tmp_path / name))])
    assert losses[0] == losses[1]
    weights = tmp_path / "first" / "weights"
    model = AutoModelForImageTextToText.from_pretrained(weights)
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    assert type(AutoProcessor.from_pretrained(weights)).__name__ == "LlavaProcessor"
    assert list(build_base(replace(OPTIONS, out=tmp_path / "first"))) == []  # finished: nothing is run again


def test_the_packaged_weights_know_scenes_that_they_never_saw() -> None:
    torch.set_num_threads(1)
    score = measure_heldout(AnswerForm.TEXT, clutter=0.0, num_scenes=60)
    assert score.accuracy > score.chance + 0.3


def test_the_packaged_tokenizer_is_the_one_that_the_code_builds() -> None:
    packaged = AutoProcessor.from_pretrained(WEIGHTS)
    assert packaged.tokenizer.get_vocab() == build_tokenizer().get_vocab()
    assert packaged.chat_template == CHAT_TEMPLATE


def test_the_table_of_heldout_accuracy_has_equally_many_cells_in_each_row() -> None:
    torch.set_num_threads(1)
    table = write_table(num_scenes=6, path="package:tiny_llava")
    assert {line.count("|") for line in table.splitlines()} == {7}
    assert "all but reading" in table
