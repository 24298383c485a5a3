"""TRL: prompts and completions in Parquet with images by path, and YAML for `trl sft --config`.

Of TRL's two forms of a conversation this is the one whose loss is taken at the answer without marks in the model's
chat template (TRL 1.16, "Dataset formats and types"; `completion_only_loss`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cg_lab.errors import UserError
from cg_lab.training.trainer_task import TrainerTask, tell_trainer, write_config

VERSION = 1


def export(task: TrainerTask) -> Path:
    """Write train.parquet and config.yaml.

    Raises
    ------
    UserError
        If the recipe trains a part of the model, which TRL's command can't, or TRL would train other tokens than the
        model is asked for.

    """
    from cg_lab.models.chat_prompts import continues_as_asked
    from cg_lab.models.processors import load_processor

    if not continues_as_asked(load_processor({"pretrained_model_name_or_path": task.base}), task.base):
        raise UserError(
            f"finetune.exporter: TRL trains what the chat template of '{task.base}' writes of an answered question, "
            "which does not go on from its own prompt to an end; put a chat_template.jinja of your own beside its "
            "weights, or let cg_lab train"
        )
    if task.recipe.trainable != "all":
        raise UserError(
            f"finetune.trainable: TRL's own command trains every part, not {task.recipe.trainable}; give "
            "finetune.trainable=all, or a script of your own"
        )
    (task.data / "samples").mkdir()
    write_samples(task, task.data / "samples" / "train.parquet")
    told: dict[str, Any] = {
        "model_name_or_path": task.base,
        "dtype": "float32",
        "dataset_name": str(task.data / "samples"),
        "max_length": None,  # a question is cut nowhere
        **tell_trainer(task),
    }
    if lora := task.recipe.lora:
        targets = list(lora.targets) if lora.targets else ["all-linear"]
        told |= {
            "use_peft": True, "lora_r": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout,
            "lora_target_modules": targets,
        }  # fmt: skip
    return write_config(task, told)


def write_samples(task: TrainerTask, path: Path) -> None:
    """Write a table as `datasets` reads it, images as paths."""
    import pyarrow
    from datasets import Features, Image, List, Value
    from pyarrow import parquet

    turn = List({"role": Value("string"), "content": Value("string")})
    features = Features({"prompt": turn, "completion": turn, "images": List(Image())})
    rows = [
        {
            "prompt": [{"role": "user", "content": sample.question}],
            "completion": [{"role": "assistant", "content": sample.answer}],
            "images": [{"path": str(sample.image), "bytes": None}],
        }
        for sample in task.samples
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=features.arrow_schema), path)
