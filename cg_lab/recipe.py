"""How a backbone is fine-tuned, by cg_lab or by a trainer's command."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from cg_lab.data_settings import NonEmptyText

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole."""
TrainablePart = Literal["all", "language_model_and_projector", "vision_and_projector", "projector"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters in place of the weights themselves (Hu et al. 2021)."""

    rank: PositiveInt
    alpha: PositiveInt
    """Adapters count `alpha / rank` times."""
    dropout: Annotated[float, Field(ge=0, lt=1)]
    targets: tuple[NonEmptyText, ...] | None = None
    """Ends of the names of layers; None for every linear layer of the trainable part."""


PLACES = ("config", "data", "output", "base", "seed")
"""What a trainer's command may name in braces."""


def _check_command(command: str | None) -> str | None:
    found = re.findall(r"\{([^{}]*)\}", command or "")
    if unknown := [name for name in found if name not in PLACES]:
        raise ValueError(f"no {{{unknown[0]}}}; known: {', '.join(f'{{{name}}}' for name in PLACES)}")
    if command is not None and not {"config", "output"} & set(found):
        raise ValueError("the command must be told where things are: name {config}, or {data} and {output}")
    return command


def _write_settings(given: Any) -> Any:  # noqa: ANN401 - what a person gave
    """Write settings as one text, so that a recipe can be compared and hashed."""
    if isinstance(given, str):
        if not isinstance(json.loads(given), dict):  # JSONDecodeError is a ValueError, which pydantic tells
            raise ValueError("settings are keys with values")
        return given
    if given is not None and not isinstance(given, dict):
        raise ValueError("settings are keys with values, such as {template: qwen2_vl}")
    return json.dumps(given or {}, sort_keys=True, ensure_ascii=False)


Trainer = Literal["cg_lab", "command", "elsewhere"]
"""cg_lab itself, a command that is run for each fine-tune, or someone who is done: only the weights are there."""
OfCommand = Field(exclude_if=lambda given: given in {None, "{}", "cg_lab"})
"""Of a field that plan.json leaves out where cg_lab trains itself."""
OF_COMMAND = ("by", "command", "exporter", "settings", "version", "files")
"""Fields of a recipe that say something only where a command trains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a backbone is fine-tuned; every field changes the result."""

    learning_rate: PositiveFloat
    epochs: PositiveFloat
    batch_size: PositiveInt
    """Samples of one optimizer step."""
    warmup_share: Share
    weight_decay: NonNegativeFloat
    max_grad_norm: PositiveFloat
    trainable: TrainablePart
    lora: Lora | None = None
    """Adapters on the trainable part; None trains its weights."""
    batches: Literal["random", "by_length"] = "random"
    """By length: samples of like length are put together, so that less is padded."""
    gradient_checkpointing: Literal["auto", "always"] = "auto"
    """Compute activations twice to save memory: always, or only where not one sample fits otherwise."""
    fuse: Literal["auto", "never"] = "auto"
    """Train adapters of several jobs side by side where one job does not fill the device."""
    min_steps: Annotated[int, Field(ge=0, exclude_if=lambda given: given == 0)] = 0
    """Optimizer steps that a fine-tune takes at least: few samples are gone through more often than `epochs` says."""
    by: Annotated[Trainer, OfCommand] = "cg_lab"
    """Who trains."""
    command: Annotated[NonEmptyText | None, AfterValidator(_check_command), OfCommand] = None
    """Of the trainer, with `PLACES` in braces."""
    exporter: Annotated[NonEmptyText | None, OfCommand] = None
    """Writes what the trainer reads: a module of `cg_lab.training.exporters`, or a dotted one of one's own."""
    settings: Annotated[str, BeforeValidator(_write_settings), OfCommand] = "{}"
    """JSON of what goes into the trainer's own configuration as it is, over what the exporter writes."""
    version: Annotated[NonEmptyText | None, OfCommand] = None
    """Name and version of the trainer; found by the command's program where none is given."""
    files: Annotated[str | None, OfCommand] = None
    """Exporter, and files that the command names, with their hashes; found when a study is planned, never given."""

    @property
    def said(self) -> tuple[str, ...]:
        """Names of the fields that say something; of what was trained elsewhere nothing is known."""
        if self.by == "elsewhere":
            return ("by",)
        return tuple(field.name for field in fields(self) if self.by == "command" or field.name not in OF_COMMAND)

    @property
    def is_tower_frozen(self) -> bool:
        """Whether the vision tower is known to stay as it was loaded."""
        return self.by == "cg_lab" and self.trainable in {"language_model_and_projector", "projector"}


TRAINED_ELSEWHERE = Recipe(
    learning_rate=1.0,
    epochs=1.0,
    batch_size=1,
    warmup_share=0.0,
    weight_decay=0.0,
    max_grad_norm=1.0,
    trainable="all",
    by="elsewhere",
)
"""Of all checkpoints that were trained elsewhere: its numbers say nothing, see `said`."""
