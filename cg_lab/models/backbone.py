"""Load a backbone with its processor: one path for the embedded model and for any hub model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)
from transformers.models.auto import processing_auto
from transformers.utils import import_utils

from cg_lab.errors import UserError
from cg_lab.models.identity import find_local_folder
from cg_lab.study import Backbone

ADAPTER_CONFIG = "adapter_config.json"
"""Tells a folder of adapters from one of whole weights."""
VISION_PREFIXES = ("model.vision_tower", "model.visual", "model.vision_model")
PROJECTOR_PREFIXES = (
    "model.multi_modal_projector", "model.connector", "model.embed_vision", "model.image_newline",
    "model.visual.merger", "model.visual.deepstack_merger_list",
)  # fmt: skip


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
        processor = load_processor(source)
        model = AutoModelForImageTextToText.from_pretrained(**source, dtype=dtype, use_safetensors=True)
    except OSError as error:
        raise UserError(
            f"model.path: can't load '{identity.path}' at revision {identity.revision}: {str(error).splitlines()[0]}. "
            f"Get it with: hf download {identity.path} --revision {identity.revision}"
        ) from None
    model.to(torch.device(device))  # type: ignore[arg-type]
    untouched = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    return LoadedBackbone(identity=identity, model=model, processor=processor, untouched=untouched)


def load_processor(source: dict[str, str]) -> Any:
    """Load a processor; where torchvision is absent, without the part for videos, which needs it.

    transformers 5.23 can't make a processor for images and videos then, though images alone need PIL only.
    """
    names: Any = processing_auto.PROCESSOR_MAPPING_NAMES  # type: ignore[attr-defined]
    kind: Any = getattr(transformers, names.get(AutoConfig.from_pretrained(**source).model_type) or "", None)
    if import_utils.is_torchvision_available() or kind is None or "video_processor" not in kind.get_attributes():
        return AutoProcessor.from_pretrained(**source)
    loaders = {"image_processor": AutoImageProcessor, "tokenizer": AutoTokenizer}
    parts = [loaders[name].from_pretrained(**source) if name in loaders else None for name in kind.get_attributes()]
    described, _ = kind.get_processor_dict(**source)
    return _without_videos(kind).from_args_and_dict(parts, described)


def _without_videos(kind: Any) -> Any:
    """Derive a processor that does not ask for its part for videos."""

    class ImageProcessing(kind):
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if argument_name == "video_processor":
                return None
            return super().check_argument_for_proper_class(argument_name, argument)

    ImageProcessing.__name__ = kind.__name__
    return ImageProcessing


def restore_weights(backbone: LoadedBackbone, folder: Path | None) -> None:
    """Put the untouched weights back, or those that a fine-tune left in `folder`, whole or as adapters."""
    is_adapted = folder is not None and (folder / ADAPTER_CONFIG).exists()
    if folder is None or is_adapted:
        backbone.model.load_state_dict(backbone.untouched)
    if folder is None:
        return
    if is_adapted:
        from peft import PeftModel

        adapted: Any = PeftModel.from_pretrained(backbone.model, str(folder))
        adapted.merge_and_unload()
        return
    weights = {name: part for file in sorted(folder.glob("*.safetensors")) for name, part in load_file(file).items()}
    missing, unexpected = backbone.model.load_state_dict(weights, strict=False)
    unknown = set(missing) - set(backbone.model.all_tied_weights_keys) | set(unexpected)
    assert not unknown, f"{folder}: {len(unknown)} weights do not fit the model, such as {sorted(unknown)[0]}"


def select_trainable(backbone: LoadedBackbone, part: str) -> None:
    """Freeze what a recipe does not train."""
    for name, parameter in backbone.model.named_parameters():
        parameter.requires_grad_(is_trainable(name, part))


def is_trainable(name: str, part: str) -> bool:
    """Tell whether a recipe that trains a part trains a parameter, or a layer, by its name."""
    in_projector = name.startswith(PROJECTOR_PREFIXES)
    in_vision = name.startswith(VISION_PREFIXES)
    return part == "all" or in_projector or (part == "language_model_and_projector" and not in_vision)
