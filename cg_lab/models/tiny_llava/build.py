"""Train the embedded model's base weights: `python -m cg_lab.models.tiny_llava.build --steps N --out DIR`."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Subset
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from cg_lab.models.answer_loss import compute_answer_logits
from cg_lab.models.tiny_llava.architecture import build_model, build_processor
from cg_lab.models.tiny_llava.lessons import Lessons
from cg_lab.serialize import replacing

PEAK_LEARNING_RATE = 2e-3
WARMUP_STEPS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What the command line sets."""

    steps: int
    out: Path
    seed: int = 0
    batch_size: int = 64
    """Scenes of one step."""
    num_turns: int = 5
    """Questions about each scene."""
    save_every: int = 200
    """Steps between checkpoints; weights are written at each, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One line of the training log."""

    step: int
    loss: float
    """Mean over the steps since the last line."""
    token_accuracy: float
    """Share of answer tokens that are the most likely ones, end tokens included."""
    scenes_per_s: float


def build_base(options: BuildOptions) -> Iterator[Progress]:
    """Train from random weights, or go on from the last checkpoint in `out`; yields a line every 20 steps.

    The same options give the same weights on the same machine with the same number of threads, interrupted or not.
    """
    torch.manual_seed(options.seed)
    processor = build_processor()
    model = build_model(processor)
    optimizer = torch.optim.AdamW(_group_parameters(model), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _scale_rate(step, options.steps))
    checkpoint = options.out / "checkpoint.pt"
    start = _resume(checkpoint, model, optimizer, schedule) if checkpoint.exists() else 0
    lessons = Lessons(
        processor, num_steps=options.steps, batch_size=options.batch_size, num_turns=options.num_turns, seed=options.seed
    )
    loader = DataLoader(Subset(lessons, range(start, options.steps)), batch_size=None, num_workers=1, prefetch_factor=4)
    window: list[tuple[float, float]] = []
    began = time.perf_counter()
    for step, batch in enumerate(loader, start=start + 1):
        window.append(_take_step(model, optimizer, schedule, batch))
        if step % 20 == 0 or step == options.steps:
            losses, hits = zip(*window, strict=True)
            elapsed = time.perf_counter() - began
            yield Progress(
                step=step,
                loss=sum(losses) / len(losses),
                token_accuracy=sum(hits) / len(hits),
                scenes_per_s=len(window) * options.batch_size / elapsed,
            )
            window, began = [], time.perf_counter()
        if step % options.save_every == 0 or step == options.steps:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
            with replacing(checkpoint) as beside:
                torch.save({"step": step, **state}, beside)
            save_weights(model, processor, options.out / "weights")


def save_weights(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
    """Write the folder that `from_pretrained` reads, in half precision; the old one is replaced at the end."""
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    half = {name: tensor.to(torch.float16) for name, tensor in model.state_dict().items()}
    model.save_pretrained(beside, state_dict=half)
    processor.save_pretrained(beside)
    shutil.rmtree(folder, ignore_errors=True)
    beside.replace(folder)


def _group_parameters(model: LlavaForConditionalGeneration) -> list[dict[str, object]]:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return [{"params": matrices, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}]


def _scale_rate(step: int, num_steps: int) -> float:
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / max(1, num_steps - WARMUP_STEPS)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _resume(
    checkpoint: Path,
    model: LlavaForConditionalGeneration,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
) -> int:
    saved = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    schedule.load_state_dict(saved["schedule"])
    return int(saved["step"])


def _take_step(
    model: LlavaForConditionalGeneration,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    batch: dict[str, torch.Tensor],
) -> tuple[float, float]:
    logits_NV, labels_N = compute_answer_logits(model, batch)
    loss = torch.nn.functional.cross_entropy(logits_NV, labels_N)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item(), (logits_NV.argmax(dim=-1) == labels_N).float().mean().item()


def main() -> None:
    """Parse the command line, train, and print the progress."""
    parser = argparse.ArgumentParser(description="Train the base weights of the embedded model on procedural scenes.")
    parser.add_argument("--steps", type=int, required=True, help="optimizer steps of 64 scenes with 5 questions each")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint.pt and weights/; goes on where it stopped")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=64)
    arguments = parser.parse_args()
    options = BuildOptions(
        steps=arguments.steps, out=arguments.out, seed=arguments.seed, batch_size=arguments.batch_size
    )
    for line in build_base(options):
        sys.stdout.write(
            f"step {line.step}/{options.steps}  loss {line.loss:.3f}  answer tokens right {line.token_accuracy:.3f}  "
            f"{line.scenes_per_s:.0f} scenes/s\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
