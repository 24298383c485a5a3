"""Models that benchmarks measure have the shapes that they say, so that nothing breaks where a GPU is at last."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cg_lab.models.encoding import encode_questions

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))
shapes: Any = import_module("shapes")

BILLIONS = {"llava_v1_5_7b": 7.06, "qwen2_5_vl_7b": 8.29, "smolvlm_256m": 0.256}
"""Parameters, from the models' pages."""


@pytest.mark.parametrize("name", list(shapes.SHAPES))
def test_prompts_and_parameters_are_as_many_as_in_the_real_model(name: str) -> None:
    shape = shapes.SHAPES[name]
    backbone = shapes.make_backbone(name, device="meta")
    questions = shapes.make_questions(backbone, 3)
    assert len({question.text for question in questions}) == 3
    for example in encode_questions(backbone, questions, shapes.make_images(3, shape.image_side)):
        assert len(example.prompt) == shape.prompt_tokens
    count = sum(parameter.numel() for parameter in backbone.model.parameters())
    assert count / 1e9 == pytest.approx(BILLIONS[name], rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("training.py --tiny --rounds 1 --threads 1", 6),
        ("evaluation.py --tiny --questions 2 --rounds 1 --threads 1", 24),
    ],
)
def test_what_is_for_a_gpu_runs_on_tiny_models(script: str, lines: int) -> None:
    name, *options = script.split()
    done = subprocess.run([sys.executable, BENCHMARKS / name, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sum("samples/s" in line or "questions/s" in line for line in done.stdout.splitlines()) == lines
