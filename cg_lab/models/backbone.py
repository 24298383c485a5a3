"""Load a backbone with its processor: one path for the embedded model and for any hub model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from cg_lab.errors import UserError
from cg_lab.models.identity import find_local_folder
from cg_lab.study import Backbone

VISION_PREFIXES = ("model.vision_tower", "model.visual", "model.vision_model")
PROJECTOR_PREFIXES = ("model.multi_modal_projector", "model.connector", "model.embed_vision")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBackbone:
    """A model ready to train or to score."""

    identity: Backbone
    model: Any
    """A `...ForConditionalGeneration` of transformers."""
    processor: Any
    untouched: dict[str, torch.Tensor]
    """The weights as they were loaded, so that the next job of a process starts from them."""


def load_backbone(identity: Backbone) -> LoadedBackbone:
    """Load weights and processor: safetensors only, no code from the hub, float32 on CPU and bfloat16 on GPU.

    Raises
    ------
    UserError
        If the model can't be found, with how to get it.

    """
    folder = find_local_folder(identity.path)
    source = {"pretrained_model_name_or_path": str(folder) if folder else identity.path}
    if folder is None:
        source["revision"] = identity.revision
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    try:
        processor = AutoProcessor.from_pretrained(**source)
        model = AutoModelForImageTextToText.from_pretrained(**source, dtype=dtype, use_safetensors=True)
    except OSError as error:
        raise UserError(
            f"model.path: can't load '{identity.path}' at revision {identity.revision}: {str(error).splitlines()[0]}. "
            f"Get it with: hf download {identity.path} --revision {identity.revision}"
        ) from None
    model.to(torch.device(device))  # type: ignore[arg-type]
    untouched = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    return LoadedBackbone(identity=identity, model=model, processor=processor, untouched=untouched)


def restore_weights(backbone: LoadedBackbone, folder: Path | None) -> None:
    """Put the untouched weights back, or those that a fine-tune left in `folder`."""
    if folder is None:
        backbone.model.load_state_dict(backbone.untouched)
        return
    missing, unexpected = backbone.model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    unknown = set(missing) - set(backbone.model.all_tied_weights_keys) | set(unexpected)
    assert not unknown, f"{folder}: {len(unknown)} weights do not fit the model, such as {sorted(unknown)[0]}"


def select_trainable(backbone: LoadedBackbone, part: str) -> None:
    """Freeze what a recipe does not train."""
    for name, parameter in backbone.model.named_parameters():
        in_projector = name.startswith(PROJECTOR_PREFIXES)
        in_vision = name.startswith(VISION_PREFIXES)
        parameter.requires_grad_(
            part == "all" or in_projector or (part == "language_model_and_projector" and not in_vision)
        )
