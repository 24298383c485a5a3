"""Which part of a model a parameter belongs to, by its name, and how many of them a recipe trains, by their shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import assert_never

from cg_lab.models.precision import ParameterCounts
from cg_lab.recipe import Lora, Recipe, TrainablePart
from cg_lab.serialize import read_json

VISION_PREFIXES = ("model.vision_tower", "model.visual", "model.vision_model", "model.vqmodel", "model.generation_")
PROJECTOR_PREFIXES = (
    "model.multi_modal_projector", "model.connector", "model.embed_vision", "model.image_newline",
    "model.visual.merger", "model.visual.deepstack_merger_list", "model.aligner", "model.visual_embeddings_table",
)  # fmt: skip
NOT_LINEAR = ("embed", "lm_head", "norm")
"""In names of matrices that are no linear layers, or have no adapters."""


def is_trainable(name: str, part: TrainablePart) -> bool:
    """Tell whether a recipe that trains a part trains a parameter, or a layer, by its name in memory."""
    in_projector = name.startswith(PROJECTOR_PREFIXES)
    in_vision = name.startswith(VISION_PREFIXES) and not in_projector
    match part:
        case "all":
            return True
        case "language_model_and_projector":
            return not in_vision
        case "vision_and_projector":
            return in_vision or in_projector
        case "projector":
            return in_projector
        case _:
            assert_never(part)


def read_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of a model's weights from the heads of its files, under the names that they have there.

    A head that is tied to the embeddings is left out, as it is no weight of its own.

    A head is JSON behind its own length (the format of safetensors); the library would load numpy for it.

    Raises
    ------
    OSError, ValueError
        If a file can't be read, or is no such file.

    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            head = json.loads(file.read(length)) if 8 + length <= path.stat().st_size else {}
        head.pop("__metadata__", None)
        end = max((told["data_offsets"][1] for told in head.values()), default=0)
        if not end or 8 + length + end > path.stat().st_size:
            raise ValueError(f"{path} is cut off, or holds no weights")
        shapes |= {name: tuple(told["shape"]) for name, told in head.items()}
    config = read_json(folder / "config.json")
    if config.get("tie_word_embeddings", config.get("text_config", {}).get("tie_word_embeddings")):
        shapes = {name: shape for name, shape in shapes.items() if not name.endswith("lm_head.weight")}
    return shapes


def count_by_shapes(shapes: Mapping[str, tuple[int, ...]], recipe: Recipe) -> ParameterCounts:
    """Count what a recipe trains of weights by their shapes; names on the hub are told apart as those in memory are."""
    trained = {name: shape for name, shape in shapes.items() if is_trainable(_name_in_memory(name), recipe.trainable)}
    total = sum(map(prod, shapes.values()))
    if recipe.lora is not None:
        return ParameterCounts(trained=_count_adapters(trained, recipe.lora), frozen=total, has_adapters=True)
    count = sum(map(prod, trained.values()))
    return ParameterCounts(trained=count, frozen=total - count, has_adapters=False)


def _name_in_memory(name: str) -> str:
    """Give the name that a weight on the hub has in memory, as far as its part goes."""
    return name if name.startswith(("model.", "lm_head")) else f"model.{name}"


def _count_adapters(shapes: Mapping[str, tuple[int, ...]], lora: Lora) -> int:
    """Count the parameters of adapters on linear layers."""
    ends = None if lora.targets is None else tuple(f".{end}.weight" for end in lora.targets)
    return sum(
        lora.rank * sum(shape)
        for name, shape in shapes.items()
        if len(shape) == 2 and name.endswith(ends or ".weight") and not any(word in name for word in NOT_LINEAR)
    )
