"""LLaMA-Factory: ShareGPT JSON with images, dataset_info.json, and YAML for `llamafactory-cli train`.

As its `data/README.md` and `hparams` of 0.9.5 have it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cg_lab.errors import UserError
from cg_lab.serialize import write_json
from cg_lab.training.trainer_task import TrainerTask, tell_trainer, write_config

VERSION = 1
ANY_PIXELS = 2**31 - 1
"""So that the model's own processor sees an image as it is; LLaMA-Factory would bound it at 768 x 768."""
MOST_TOKENS = 16_384
"""Longer samples would be cut; its own default is 2,048."""
INFO = {
    "cg_lab": {
        "file_name": "train.json",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "images": "images"},
        "tags": {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"},
    }
}


def export(task: TrainerTask) -> Path:
    """Write train.json, dataset_info.json and config.yaml.

    Raises
    ------
    UserError
        If no template is named.

    """
    if "template" not in task.settings:
        raise UserError(
            "finetune.settings: LLaMA-Factory takes prompts from a template of its own; name it, such as "
            "finetune.settings={template: qwen2_vl}"
        )
    rows = [
        {
            "conversations": [
                {"from": "human", "value": sample.write_marked()},
                {"from": "gpt", "value": sample.answer},
            ],
            "images": [str(sample.image)],
        }
        for sample in task.samples
    ]
    write_json(task.data / "train.json", rows)
    write_json(task.data / "dataset_info.json", INFO)
    part = task.recipe.trainable
    told: dict[str, Any] = {
        "model_name_or_path": task.base,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora" if task.recipe.lora else "full",
        "freeze_vision_tower": part not in {"all", "vision_and_projector"},
        "freeze_multi_modal_projector": False,
        "freeze_language_model": part not in {"all", "language_model_and_projector"},
        "dataset": "cg_lab",
        "dataset_dir": str(task.data),
        "overwrite_cache": True,
        "cutoff_len": MOST_TOKENS,
        "image_min_pixels": 1,
        "image_max_pixels": ANY_PIXELS,
        **tell_trainer(task),
    }
    if lora := task.recipe.lora:
        targets = ",".join(lora.targets) if lora.targets else "all"
        told |= {
            "lora_rank": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout, "lora_target": targets,
        }  # fmt: skip
    return write_config(task, told)
