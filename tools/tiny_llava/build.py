"""Train the embedded model's base weights: `python -m tools.tiny_llava.build --steps N --out DIR`."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from cg_lab.models.answer_loss import compute_answer_logits
from cg_lab.serialize import replacing
from tools.tiny_llava.architecture import WIDTH, build_model, build_processor
from tools.tiny_llava.lessons import Lessons
from tools.tiny_llava.looking import FactReader, Sights

PEAK_LEARNING_RATE = 2e-3
WARMUP_STEPS = 200
LOG_EVERY = 20
SAVE_EVERY = 200
"""Steps between checkpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What the command line sets."""

    look_steps: int
    """Steps of the first stage, in which the vision tower learns alone."""
    steps: int
    """Steps of the second stage."""
    out: Path
    seed: int = 0
    batch_size: int = 64
    """Scenes of one step."""
    num_turns: int = 5
    """Questions about each scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One line of the training log."""

    stage: str
    step: int
    num_steps: int
    loss: float
    """Mean over the steps since the last line."""
    accuracy: float
    """Share of facts (looking) or of answer tokens, end tokens included (reading), that are the most likely ones."""
    scenes_per_s: float


Score = tuple[torch.Tensor, torch.Tensor]
"""Logits and the right classes."""


def build_base(options: BuildOptions) -> Iterator[Progress]:
    """Train from random weights, or go on from the last checkpoint in `out`; yields a line every 20 steps.

    First the vision tower learns to see: a linear reading of every fact of a scene from its output. Then the whole
    model learns to answer questions. The same options give the same weights on the same machine with the same number
    of threads.
    """
    torch.manual_seed(options.seed)
    processor = build_processor()
    model = build_model(processor)
    looking, reading = options.out / "looking.pt", options.out / "reading.pt"
    if not reading.exists():
        reader = FactReader(WIDTH)
        sights = Sights(num_steps=options.look_steps, batch_size=options.batch_size, seed=options.seed)
        seeing = nn.ModuleList([model.model.vision_tower, model.model.multi_modal_projector, reader])

        def read_facts(batch: dict[str, Any]) -> Score:
            outputs: Any = model.model.get_image_features(batch["pixel_values"])
            return reader(torch.stack(tuple(outputs.pooler_output)), batch), batch["value"]

        yield from _run_stage("looking", seeing, read_facts, sights, looking)
    lessons = Lessons(
        processor,
        num_steps=options.steps,
        batch_size=options.batch_size,
        num_turns=options.num_turns,
        seed=options.seed,
    )
    for line in _run_stage("reading", model, lambda batch: compute_answer_logits(model, batch), lessons, reading):
        yield line
        if line.step % SAVE_EVERY == 0 or line.step == options.steps:
            save_weights(model, processor, options.out / "weights")


def _run_stage(
    stage: str, module: nn.Module, score: Callable[[dict[str, Any]], Score], batches: Sights | Lessons, checkpoint: Path
) -> Iterator[Progress]:
    """Train a module on a stage's batches, from its checkpoint if there is one."""
    optimizer = torch.optim.AdamW(_group_parameters(module), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _scale_rate(step, len(batches)))
    start = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        module.load_state_dict(saved["module"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        start = int(saved["step"])
    loader = DataLoader(Subset(batches, range(start, len(batches))), batch_size=None, num_workers=1, prefetch_factor=4)
    window: list[tuple[float, float]] = []
    began = time.perf_counter()
    for step, batch in enumerate(loader, start=start + 1):
        logits_NV, right_N = score(batch)
        loss = nn.functional.cross_entropy(logits_NV, right_N)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        window.append((loss.item(), (logits_NV.argmax(dim=-1) == right_N).float().mean().item()))
        if step % SAVE_EVERY == 0 or step == len(batches):
            with replacing(checkpoint) as beside:
                torch.save(
                    {
                        "step": step,
                        "module": module.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "schedule": schedule.state_dict(),
                    },
                    beside,
                )
        if step % LOG_EVERY == 0 or step == len(batches):
            losses, hits = zip(*window, strict=True)
            yield Progress(
                stage=stage,
                step=step,
                num_steps=len(batches),
                loss=sum(losses) / len(losses),
                accuracy=sum(hits) / len(hits),
                scenes_per_s=len(window) * batches.batch_size / (time.perf_counter() - began),
            )
            window, began = [], time.perf_counter()


def save_weights(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
    """Write the folder that `from_pretrained` reads, in half precision; the old one is replaced at the end."""
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    half = {name: tensor.to(torch.float16) for name, tensor in model.state_dict().items()}
    model.save_pretrained(beside, state_dict=half)
    processor.save_pretrained(beside)
    shutil.rmtree(folder, ignore_errors=True)
    beside.replace(folder)


def _group_parameters(model: nn.Module) -> list[dict[str, object]]:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return [{"params": matrices, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}]


def _scale_rate(step: int, num_steps: int) -> float:
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / max(1, num_steps - WARMUP_STEPS)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def main() -> None:
    """Parse the command line, train, and print the progress."""
    parser = argparse.ArgumentParser(description="Train the base weights of the embedded model on procedural scenes.")
    parser.add_argument("--look-steps", type=int, default=3500, help="steps of the first stage, 64 scenes each")
    parser.add_argument(
        "--steps", type=int, default=4000, help="steps of the second stage, 64 scenes with 5 questions each"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for checkpoints and weights/; goes on where it stopped"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=64, help="scenes of one step")
    arguments = parser.parse_args()
    options = BuildOptions(
        look_steps=arguments.look_steps,
        steps=arguments.steps,
        out=arguments.out,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
    )
    for line in build_base(options):
        sys.stdout.write(
            f"{line.stage} {line.step}/{line.num_steps}  loss {line.loss:.3f}  right {line.accuracy:.3f}  "
            f"{line.scenes_per_s:.0f} scenes/s\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
