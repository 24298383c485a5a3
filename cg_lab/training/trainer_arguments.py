"""What a fine-tune needs beside its job, and both as the arguments of transformers' Trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import TrainingArguments

from cg_lab.models.precision import Device
from cg_lab.planning.schedule import schedule_epochs
from cg_lab.planning.work import FinetuneJob
from cg_lab.training.batch_split import split_batch
from cg_lab.training.memory import Fit

LOADERS = 2
"""Processes that put batches together ahead of a GPU."""
LOG_EVERY = 5
"""Optimizer steps between two points of the loss curve."""

Event = Callable[..., None]
"""Takes an event's name and its facts; writes a line of the job's journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a fine-tune needs beside its job; none of it changes the result."""

    folder: Path
    """For checkpoints; the caller removes it once the result is safe."""
    weights: Path
    """Where the fine-tuned weights go."""
    save_every_s: float
    event: Event
    plan: str = ""
    """Name and id of the plan, for the card beside the weights."""
    is_stopping: Callable[[], bool]
    """Asked after each step; if true, a checkpoint is saved and the fine-tune ends unfinished."""
    parts: int = 1
    """Forward passes that each batch is split over, so that less memory is needed."""
    num_processes: int = 1
    """Processes that each batch is split over through torch.distributed."""
    agree: Callable[[bool], bool] = bool
    """Tells whether a flag is set in any of them."""
    is_sharded: bool = False
    """Whether each of them holds a part of the weights (FSDP), or all (DDP)."""
    device: Device | None = None
    """What there is room on; None for what the model lies on."""


def build_arguments(job: FinetuneJob, num_examples: int, surroundings: Surroundings, fit: Fit) -> TrainingArguments:
    """Say to Trainer what a job's recipe says."""
    recipe = job.recipe
    parts = split_batch(recipe.batch_size, surroundings.num_processes, fit.parts)
    has_gpu = torch.cuda.is_available()
    num_steps = schedule_epochs(recipe, num_examples).steps
    return TrainingArguments(
        output_dir=str(surroundings.folder),
        per_device_train_batch_size=recipe.batch_size // (surroundings.num_processes * parts),
        gradient_accumulation_steps=parts,
        max_steps=num_steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(recipe.warmup_share * num_steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch_fused",
        logging_steps=LOG_EVERY,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="no",
        save_total_limit=1,
        seed=job.seed,
        data_seed=job.seed,
        use_cpu=not has_gpu,
        bf16=fit.is_reduced,
        activation_checkpointing=fit.checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if fit.checkpointing else None,
        dataloader_pin_memory=has_gpu,
        dataloader_num_workers=LOADERS if has_gpu else 0,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        fsdp="full_shard auto_wrap" if surroundings.is_sharded else "",
        fsdp_config={"version": 2, "state_dict_type": "FULL_STATE_DICT"} if surroundings.is_sharded else None,
    )
