"""ms-swift: JSON lines of messages with images, and YAML for `swift sft`.

As its "Custom Dataset" and "Command Line Parameters" of 4.6 have it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cg_lab.serialize import write_lines
from cg_lab.training.trainer_task import TrainerTask, tell_trainer, write_config

VERSION = 1


def export(task: TrainerTask) -> Path:
    """Write train.jsonl and config.yaml."""
    rows = (
        {
            "messages": [
                {"role": "user", "content": sample.write_marked()},
                {"role": "assistant", "content": sample.answer},
            ],
            "images": [str(sample.image)],
        }
        for sample in task.samples
    )
    write_lines(task.data / "train.jsonl", (f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    part = task.recipe.trainable
    told: dict[str, Any] = {
        "model": task.base,
        "tuner_type": "lora" if task.recipe.lora else "full",
        "freeze_vit": part not in {"all", "vision_and_projector"},
        "freeze_aligner": False,
        "freeze_llm": part not in {"all", "language_model_and_projector"},
        "dataset": [str(task.data / "train.jsonl")],
        "split_dataset_ratio": 0,
        "eval_strategy": "no",
        "add_version": False,
        "torch_dtype": "float32",
        **tell_trainer(task),
    }
    if lora := task.recipe.lora:
        told |= {
            "lora_rank": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout,
            "target_modules": list(lora.targets) if lora.targets else ["all-linear"],
        }  # fmt: skip
    return write_config(task, told)
