"""One fine-tune as a trainer that is not cg_lab's is told it: samples, recipe, folders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cg_lab.errors import UserError
from cg_lab.planning.schedule import schedule_epochs
from cg_lab.recipe import Recipe
from cg_lab.training.batch_split import split_batch

IMAGE_MARK = "<image>"
"""Stands for an image in the texts that LLaMA-Factory and ms-swift read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSample:
    """One question about one image, with its answer."""

    id: str
    subset: str
    image: Path
    """A PNG file, RGB, of the pixels that cg_lab's own training reads."""
    question: str
    answer: str

    def write_marked(self) -> str:
        """Write the question behind the mark of its image.

        Raises
        ------
        UserError
            If the question has such a mark itself.

        """
        if IMAGE_MARK in self.question:
            raise UserError(f"sample {self.id}: its question has '{IMAGE_MARK}' in it, which stands for an image there")
        return f"{IMAGE_MARK}{self.question}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerTask:
    """What an exporter writes for a trainer."""

    samples: tuple[TrainingSample, ...]
    """In a mixed order, which depends on the mixture and the seed."""
    recipe: Recipe
    seed: int
    base: str
    """Folder of the untouched model; its name on the hub where it has none here."""
    data: Path
    """Folder for what the exporter writes; there, and empty."""
    output: Path
    """Folder that the trainer leaves its weights in."""
    resume_from: Path | None = None
    """Checkpoint in `output` of an attempt that was interrupted."""
    num_devices: int = 1
    """That the trainer splits each batch over."""
    parts: int = 1
    """Forward passes that each batch is split over at least, after memory ran out."""
    has_gpu: bool = False
    in_bfloat16: bool = False
    """Whether the device computes in bfloat16; weights and what is added to them stay float32."""

    @property
    def settings(self) -> dict[str, Any]:
        """What the user adds to the trainer's configuration."""
        return json.loads(self.recipe.settings)


def tell_trainer(task: TrainerTask) -> dict[str, Any]:
    """Say a recipe in the words of transformers' `TrainingArguments`, which most trainers understand."""
    recipe = task.recipe
    schedule = schedule_epochs(recipe, len(task.samples))
    passes = split_batch(recipe.batch_size, task.num_devices, task.parts)
    resumed = {"resume_from_checkpoint": str(task.resume_from)} if task.resume_from else {}
    return {
        "output_dir": str(task.output),
        "per_device_train_batch_size": recipe.batch_size // (task.num_devices * passes),
        "gradient_accumulation_steps": passes,
        "num_train_epochs": schedule.samples / len(task.samples) if recipe.min_steps else recipe.epochs,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": round(recipe.warmup_share * schedule.steps),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "optim": "adamw_torch",
        "seed": task.seed,
        "data_seed": task.seed,
        "bf16": task.in_bfloat16,
        "gradient_checkpointing": recipe.gradient_checkpointing == "always",
        "logging_steps": 5,
        "logging_first_step": True,
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "report_to": "none",
        "disable_tqdm": True,
        **({} if task.has_gpu else {"use_cpu": True}),
        **resumed,
    }


def write_config(task: TrainerTask, told: dict[str, Any]) -> Path:
    """Write a trainer's configuration as YAML, the user's own settings last."""
    import yaml

    path = task.data / "config.yaml"
    path.write_text(yaml.safe_dump({**told, **task.settings}, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
