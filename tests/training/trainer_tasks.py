"""Tasks of a few samples for exporters, and for what a trainer leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from cg_lab.config import read_study
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.recipe import Recipe
from cg_lab.training.trainer_task import TrainerTask, TrainingSample


def make_recipe(exporter: str, settings: str = "{}", **changes: Any) -> Recipe:
    given = {"by": "command", "command": "mine {config}", "exporter": exporter, "settings": settings, **changes}
    return replace(read_study([]).finetune, **given)


def make_task(folder: Path, recipe: Recipe, **changes: Any) -> TrainerTask:
    samples: list[TrainingSample] = []
    for number, colour in enumerate(("white", "black", "gray")):
        path = folder / f"{number}.png"
        Image.new("RGB", (48, 48), colour).save(path)
        samples.append(
            TrainingSample(
                id=str(number),
                subset="us-breast-mass",
                image=path,
                question="Which?\nA: mass\nB: cyst",
                answer="AB"[number % 2],
            )
        )
    data = folder / "data"
    data.mkdir(exist_ok=True)
    given = {"samples": tuple(samples), "recipe": recipe, "seed": 7, "base": str(WEIGHTS), "data": data, **changes}
    return TrainerTask(**{"output": folder / "output", **given})
