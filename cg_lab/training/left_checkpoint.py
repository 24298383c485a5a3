"""What a trainer's command left: found, held against the model that it was to train, and taken over."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoTokenizer
from transformers.trainer_utils import get_last_checkpoint

from cg_lab.errors import UserError
from cg_lab.models.backbone import LoadedBackbone, UnreadableCheckpointError, using_weights
from cg_lab.models.chat_prompts import find_end, read_frame
from cg_lab.models.identity import find_local_folder
from cg_lab.models.model_parts import is_trainable
from cg_lab.planning.work import FinetuneJob
from cg_lab.results import ADAPTER_CONFIG
from cg_lab.serialize import read_json
from cg_lab.training.finetune import NotFiniteError

WHOLE, ADAPTERS = "model*.safetensors", "adapter_model*.safetensors"
TAKEN = (WHOLE, ADAPTERS, "*.safetensors.index.json", "config.json", "generation_config.json", ADAPTER_CONFIG)
"""Files that are kept; tokenizer, template and processor are the untouched model's, by which it is asked."""
LEFT = "finetune.command: left"
"""How errors about what a command left begin."""
STATE = "trainer_state.json"
ROUNDING = 0.01
"""Share by which a weight may differ from what it was, since it was saved in another format."""
PROBE = "Which finding? A: mass\nB: 12 cysts"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerState:
    """What transformers' Trainer says of itself; None where a trainer does not say it."""

    steps: int | None = None
    max_steps: int | None = None
    epochs: float | None = None
    curve: tuple[dict[str, Any], ...] = ()
    """Of logged steps: `step`, `loss`, `learning_rate`."""


def clear_output(output: Path) -> None:
    """Leave only checkpoints that an attempt can go on from: what else is there was left by one that did not end."""
    output.mkdir(parents=True, exist_ok=True)
    for path in output.iterdir():
        if path.is_file():
            path.unlink()
    if get_last_checkpoint(str(output)) is None:
        shutil.rmtree(output)
        output.mkdir()


def find_left(output: Path) -> Path:
    """Find the folder of the weights that a command left: the output itself, else its last checkpoint.

    Raises
    ------
    UserError
        If there are none, or the last checkpoint is not that of the end.

    """
    if _list_weights(output):
        return output
    last = get_last_checkpoint(str(output)) if output.is_dir() else None
    if last is None or not _list_weights(Path(last)):
        there = ", ".join(sorted(path.name for path in output.iterdir())[:8]) if output.is_dir() else ""
        raise UserError(
            f"finetune.command: left no {WHOLE} or {ADAPTERS} in {{output}}, {output}; there is: {there or 'nothing'}"
        )
    state = read_state(Path(last))
    if state.steps is not None and state.max_steps is not None and state.steps < state.max_steps:
        raise UserError(
            f"finetune.command: left {Path(last).name} of {state.max_steps} steps as its last weights; let the trainer "
            "save at its end"
        )
    return Path(last)


def _list_weights(folder: Path) -> list[Path]:
    return [path for pattern in (WHOLE, ADAPTERS) for path in sorted(folder.glob(pattern))]


def read_state(folder: Path) -> TrainerState:
    """Read a trainer's state, of a folder or of the last checkpoint in it; empty if there is none that can be read."""
    last = get_last_checkpoint(str(folder))
    for path in (folder / STATE, *([Path(last) / STATE] if last else [])):
        try:
            told = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        curve = [entry for entry in told.get("log_history", ()) if isinstance(entry.get("loss"), int | float)]
        return TrainerState(
            steps=told.get("global_step"), max_steps=told.get("max_steps"), epochs=told.get("epoch"), curve=tuple(curve)
        )
    return TrainerState()


def take_over(left: Path, weights: Path, base: Path, *, links: bool = False) -> None:
    """Copy what a command left to where a fine-tune's weights are, with what it lacks of the untouched model's.

    With `links`, weights are linked to, not copied.
    """
    fresh = weights.with_name(f".{weights.name}.opened")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for path in sorted({path for pattern in TAKEN for path in left.glob(pattern)}):
        if links and path.suffix == ".safetensors":
            (fresh / path.name).symlink_to(path.resolve())
        else:
            shutil.copyfile(path, fresh / path.name)
    if not (fresh / ADAPTER_CONFIG).exists():
        for name in ("config.json", "generation_config.json"):
            if not (fresh / name).exists() and (base / name).exists():
                shutil.copyfile(base / name, fresh / name)
    shutil.rmtree(weights, ignore_errors=True)
    fresh.rename(weights)


def check_left(
    left: Path, job: FinetuneJob, backbone: LoadedBackbone, base: Path, *, said: str = LEFT
) -> dict[str, Any]:
    """Hold what a command left, or was trained elsewhere, against the model that it was to train.

    Parameters
    ----------
    left
        Folder of the weights.
    job, backbone, base
        What was to be trained: the job, and its untouched model, loaded and as a folder.
    said
        How an error begins.

    Returns
    -------
    What was found, for the job's journal.

    Raises
    ------
    UserError
        If it is of another model, ends turns otherwise, or trained nothing, or what it was not to train.
    UnreadableCheckpointError
        If it does not open.
    NotFiniteError
        If a weight is NaN or infinite.

    """
    is_adapter = (left / ADAPTER_CONFIG).exists()
    known = _check_adapter_base(left, job, base, said) if is_adapter else _check_architecture(left, base, said)
    _check_tokens(left, backbone, said)
    for path in _list_weights(left):
        try:
            faulty = [name for name, part in load_file(path).items() if not torch.isfinite(part).all()]
        except (OSError, SafetensorError) as error:
            raise UnreadableCheckpointError(f"{said} {path.name}, which can't be read ({error})") from error
        if faulty:
            raise NotFiniteError(f"{said} NaN or infinity in {faulty[0]}; lower finetune.learning_rate")
    with using_weights(backbone, left):
        moved = dict(_measure_adapters(left)) if is_adapter else dict(_measure_whole(backbone))
    return {"kind": "adapter" if is_adapter else "whole", "base": known, "moved": _check_moved(moved, job, said)}


def _check_adapter_base(left: Path, job: FinetuneJob, base: Path, said: str) -> str:
    told = read_json(left / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not told:
        return "not said"
    found = find_local_folder(str(told))
    if told != job.base.path and (found is None or found.resolve() != base.resolve()):
        raise UserError(f"{said} adapters for '{told}', and was to train '{job.base.path}' ({base})")
    return str(told)


def _check_architecture(left: Path, base: Path, said: str) -> str:
    if not (left / "config.json").exists():
        return "not said"
    told, wanted = read_json(left / "config.json"), read_json(base / "config.json")
    for key in ("model_type", "architectures"):
        if told.get(key) != wanted.get(key):
            raise UserError(f"{said} a model whose {key} is {told.get(key)}, not {wanted.get(key)}")
    return str(told.get("model_type"))


def _check_tokens(left: Path, backbone: LoadedBackbone, said: str) -> None:
    """See that texts are the same tokens as before, and that generation stops at the end of an answer."""
    tokenizer = backbone.processor.tokenizer
    end = find_end(read_frame(backbone.processor, backbone.identity.name), backbone.model, tokenizer, "")
    if (left / "generation_config.json").exists():
        told = read_json(left / "generation_config.json").get("eos_token_id")
        stops = told if isinstance(told, list) else [told]
        if told is not None and end not in stops:
            raise UserError(
                f"{said} a generation_config.json that stops at {stops}, and answers end with "
                f"{tokenizer.decode([end])!r} ({end}); add it to eos_token_id"
            )
    if not (left / "tokenizer.json").exists():
        return
    other: Any = AutoTokenizer.from_pretrained(left)
    if other(PROBE)["input_ids"] != tokenizer(PROBE)["input_ids"] or len(other) != len(tokenizer):
        raise UserError(f"{said} another tokenizer than the model's own, by which it would be asked")
    if other.eos_token_id not in {tokenizer.eos_token_id, end}:
        raise UserError(f"{said} a tokenizer that ends with {other.eos_token!r}, not {tokenizer.decode([end])!r}")


def _measure_whole(backbone: LoadedBackbone) -> Iterator[tuple[str, float]]:
    """Give how far each weight went, as a share of its size."""
    state = backbone.model.state_dict()
    for name, before in backbone.untouched.items():
        if before.is_floating_point():
            now = state[name].detach().to("cpu", torch.float32)
            size = float(before.float().norm())
            yield name, float((now - before.float()).norm()) / size if size else float(now.norm())


def _measure_adapters(left: Path) -> Iterator[tuple[str, float]]:
    """Give how large each adapter's second half is, which is 0 before training."""
    for path in sorted(left.glob(ADAPTERS)):
        for name, part in load_file(path).items():
            if "lora_A" not in name:
                yield name.removeprefix("base_model.model."), float(part.float().norm())


def _check_moved(moved: Mapping[str, float], job: FinetuneJob, said: str) -> float:
    """Refuse weights of which none, or some of a part that was to stay, was trained; gives the mean share."""
    part = job.recipe.trainable
    if not any(share > 0 for share in moved.values()):
        raise UserError(f"{said} the weights that it was given; nothing was trained")
    wrong = [name for name, share in moved.items() if share > ROUNDING and not is_trainable(name, part)]
    if wrong:
        raise UserError(
            f"finetune.command: trained {wrong[0]} ({len(wrong)} weights in all), which finetune.trainable={part} "
            "leaves as it is; say there what the trainer trains"
        )
    return round(math.fsum(moved.values()) / len(moved), 6)
