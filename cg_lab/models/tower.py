"""A frozen vision tower's outputs, computed once for each image and played back while the rest is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.batches import join_images, move_batch
from cg_lab.models.encoding import Seen
from cg_lab.models.model_parts import VISION_PREFIXES

FEATURES = "tower_features"
"""Name that the outputs have in a batch, beside the pixels whose shapes models still ask for."""
PLAYED_BACK = ("llava", "llava_onevision", "idefics3", "smolvlm", "internvl", "gemma3")
"""Architectures that hand each image to their tower apart from the others, in order."""
AT_ONCE = 32
"""Images of one forward pass, always: then an image's outputs don't depend on which others are there."""
LEAST_SHARE = 0.05
"""Of a training step's work that the tower must take, before its outputs are worth their room and their reading."""


def find_tower(backbone: LoadedBackbone) -> Any | None:
    """Give the vision tower, if its outputs can be played back."""
    inner, config = backbone.model.model, backbone.model.config
    if config.model_type not in PLAYED_BACK or not isinstance(getattr(config, "vision_feature_layer", -1), int):
        return None
    if config.vision_config.model_type == "pixtral":
        return None  # its images are one long row
    return getattr(inner, "vision_tower", None) or getattr(inner, "vision_model", None)


def pays_off(backbone: LoadedBackbone, prompt_length: int, features: torch.Tensor) -> bool:
    """Tell whether a tower's outputs are worth keeping, by the work of a forward pass: parameters times tokens.

    Parameters
    ----------
    backbone
        Its tower is frozen.
    prompt_length
        Tokens of a question with its image.
    features
        Of one question's image: rows, tokens, channels.

    """
    sizes = {True: 0, False: 0}
    for name, parameter in backbone.model.named_parameters():
        sizes[name.startswith(VISION_PREFIXES)] += parameter.numel()
    tower = sizes[True] * features.shape[0] * features.shape[1]
    return tower >= LEAST_SHARE * (tower + 3 * sizes[False] * prompt_length)


@torch.inference_mode()
def compute_features(backbone: LoadedBackbone, seen: Sequence[Seen]) -> list[torch.Tensor] | None:
    """Run the tower on images.

    Returns
    -------
    For each image its rows (tiles), tokens and channels, on the host; None where an architecture can't be played back.

    """
    tower = find_tower(backbone)
    if tower is None:
        return None
    backbone.model.eval()
    is_one_row = all(one.image["pixel_values"].ndim == 4 and len(one.image["pixel_values"]) == 1 for one in seen)
    at_once = AT_ONCE if is_one_row else 1
    outputs: list[torch.Tensor] = []
    handle = tower.register_forward_hook(lambda _, __, output: outputs.append(_select(backbone, output).cpu()))
    try:
        for start in range(0, len(seen), at_once):
            part = seen[start : start + at_once]
            _look(backbone, [*part, *[part[0]] * (at_once - len(part))])
    finally:
        handle.remove()
    return list(torch.cat(outputs).split(1))[: len(seen)] if is_one_row else outputs


def _look(backbone: LoadedBackbone, seen: Sequence[Seen]) -> None:
    image = join_images([one.image for one in seen])
    backbone.model.model.get_image_features(**move_batch(backbone.model, image))


def _select(backbone: LoadedBackbone, output: Any) -> torch.Tensor:
    """Take what the model takes of its tower's output."""
    if output.hidden_states is None:
        return output.last_hidden_state
    return output.hidden_states[getattr(backbone.model.config, "vision_feature_layer", -1)]


class _AnyLayer:
    """Hidden states of which only one was kept."""

    def __init__(self, features_NTD: torch.Tensor) -> None:
        self.features_NTD = features_NTD

    def __getitem__(self, _: int) -> torch.Tensor:
        return self.features_NTD


def hand_to_tower(model: Any, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give what the model itself takes of a batch; a tower's outputs in it, or their absence, go to `playing_back`."""
    model.tower_features = batch.get(FEATURES)
    return {key: values for key, values in batch.items() if key != FEATURES}


@contextmanager
def playing_back(backbone: LoadedBackbone) -> Iterator[None]:
    """Let batches that carry `FEATURES` go past the tower; others run it."""
    tower = find_tower(backbone)
    if tower is None:
        yield
        return
    run = tower.forward

    def forward(*arguments: Any, **options: Any) -> Any:
        features_NTD = backbone.model.tower_features
        if features_NTD is None:
            return run(*arguments, **options)
        layers: Any = _AnyLayer(features_NTD)
        return BaseModelOutputWithPooling(last_hidden_state=features_NTD, hidden_states=layers)

    tower.forward = forward
    backbone.model.tower_features = None
    try:
        yield
    finally:
        del tower.forward
        del backbone.model.tower_features
