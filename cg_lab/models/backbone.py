"""Load a backbone with its processor: one path for the embedded model and for any hub model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import HFValidationError, validate_repo_id
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import (
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.core_model_loading import revert_weight_conversion

from cg_lab.errors import UserError
from cg_lab.models.attention import find_attention_fault
from cg_lab.models.contract import prove_contract
from cg_lab.models.devices import find_device
from cg_lab.models.identity import find_local_folder
from cg_lab.models.image_limits import GRIDS
from cg_lab.models.linear import let_onednn_multiply
from cg_lab.models.model_parts import is_trainable
from cg_lab.models.processors import apply_image_limits, load_processor
from cg_lab.models.trained_adapters import (
    MergedAdapters,
    UnreadableCheckpointError,
    adapting_to,
    merging,
    tell_unreadable,
)
from cg_lab.models.unsupported_architectures import WAY_OUT, find_refusal
from cg_lab.recipe import TrainablePart
from cg_lab.results import ADAPTER_CONFIG
from cg_lab.study import Backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBackbone:
    """A model ready to train or to score."""

    identity: Backbone
    model: Any
    """A `...ForConditionalGeneration` of transformers."""
    processor: Any
    hub_names: dict[str, str] = field(default_factory=dict)
    """Names in memory of weights that have others on the hub, by these; found when a checkpoint is first read."""
    untouched: dict[str, torch.Tensor] = field(default_factory=dict)
    """Weights as they were loaded, on the host: of those alone that have been changed since, so that the next job of a
    process can start from them."""


def load_backbone(identity: Backbone) -> LoadedBackbone:
    """Load weights and processor: safetensors only, no code from the hub, in the format that the device has.

    Raises
    ------
    UserError
        If the model can't be found, with how to get it; or if its template, tokenizer and processor can't be trained
        on or asked.

    """
    source = _find_source(identity)
    _refuse(source, identity)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = getattr(torch, find_device(device).loaded)
    try:
        processor = load_processor(source)
        changed = apply_image_limits(processor, identity)
        kernels = {"attn_implementation": identity.attention} if identity.attention else {}
        model = AutoModelForImageTextToText.from_pretrained(**source, dtype=dtype, use_safetensors=True, **kernels)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"model.path: can't load '{identity.path}' at revision {identity.revision}: {str(error).splitlines()[0]}. "
            f"Get it with: hf download {identity.path} --revision {identity.revision}"
            + (" --force-download" if isinstance(error, SafetensorError) else "")
        ) from None
    except ImportError as error:
        raise UserError(f"model.path: '{identity.name}' needs a package that is not here: {_tell(error)}") from None
    if GRIDS in changed:  # the model counts tiles by its own list
        setattr(model.config, GRIDS, changed[GRIDS])
    prove_contract(processor, model, identity)
    model.to(device)  # type: ignore[arg-type]
    if device.type == "cpu":
        let_onednn_multiply(model)
    return LoadedBackbone(identity=identity, model=model, processor=processor)


def _refuse(source: dict[str, str], identity: Backbone) -> None:
    """Refuse architectures that are known not to work.

    Raises
    ------
    UserError
        With the reason, and a way out.

    """
    try:
        described, _ = PreTrainedConfig.get_config_dict(**source)
    except OSError:
        return  # told when it is loaded
    model_type = described.get("model_type", "")
    if reason := find_refusal(model_type):
        raise UserError(f"model.path: '{identity.name}' ({model_type}) is refused: {reason}; {WAY_OUT}")
    if fault := find_attention_fault(identity, model_type):
        raise UserError(f"{fault.found}; {fault.way_out}")


def _tell(error: Exception) -> str:
    """Give the first line of an error that says something."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def load_for_images(identity: Backbone) -> LoadedBackbone:
    """Load the processor alone, which is all that reading images needs; there is no model.

    Raises
    ------
    UserError
        If it can't be found.

    """
    try:
        processor = load_processor(_find_source(identity))
    except OSError as error:
        raise UserError(
            f"model.path: can't load the processor of '{identity.path}': {str(error).splitlines()[0]}"
        ) from None
    apply_image_limits(processor, identity)
    return LoadedBackbone(identity=identity, model=None, processor=processor)


def _find_source(identity: Backbone) -> dict[str, str]:
    """Say where `from_pretrained` finds a model.

    Raises
    ------
    UserError
        If it is no local folder, and can be no name on the hub.

    """
    folder = find_local_folder(identity.path)
    if folder is not None:
        return {"pretrained_model_name_or_path": str(folder)}
    try:
        validate_repo_id(identity.path)
    except HFValidationError:
        raise UserError(
            f"model.path: '{identity.path}' is no folder on this machine, nor a name on the hub, such as "
            "organisation/model; give the path of a folder with config.json and *.safetensors, or such a name"
        ) from None
    return {"pretrained_model_name_or_path": identity.path, "revision": identity.revision}


def restore_weights(backbone: LoadedBackbone) -> None:
    """Put the untouched weights back."""
    if not backbone.untouched:
        return
    state = backbone.model.state_dict()
    with torch.no_grad():
        for name, values in backbone.untouched.items():
            state[name].copy_(values)


def keep_untouched(backbone: LoadedBackbone, names: Iterable[str]) -> None:
    """Copy weights before they are changed for the first time."""
    new = set(names) - set(backbone.untouched)
    state = backbone.model.state_dict()
    for name in new & set(state):
        backbone.untouched[name] = state[name].detach().to("cpu", copy=True)


@contextmanager
def using_weights(backbone: LoadedBackbone, folder: Path | MergedAdapters | None) -> Iterator[None]:
    """Let a backbone have its untouched weights, or those that a fine-tune left in `folder`, whole or as adapters.

    Of several fine-tunes it may have the adapters as one.

    Adapters work beside the weights, which stay as they are.

    Raises
    ------
    UnreadableCheckpointError
        If the files in `folder` are missing, cut off, or of another model.

    """
    restore_weights(backbone)
    if folder is None and not backbone.identity.adapter:
        yield
    elif folder is None:
        path, _, commit = backbone.identity.adapter.rpartition("@")
        local = Path(path).expanduser()
        place = (str(local), None) if local.is_dir() else (path, commit)
        with adapting_to(backbone.model, *place):
            yield
    elif isinstance(folder, MergedAdapters):
        with merging(backbone.model, folder):
            yield
    elif (folder / ADAPTER_CONFIG).exists():
        with adapting_to(backbone.model, str(folder)):
            yield
    else:
        _load_whole(backbone, folder)
        yield


def _load_whole(backbone: LoadedBackbone, folder: Path) -> None:
    try:
        weights = {
            name: part for file in sorted(folder.glob("*.safetensors")) for name, part in load_file(file).items()
        }
    except (OSError, SafetensorError) as error:
        raise UnreadableCheckpointError(tell_unreadable(folder, str(error))) from error
    state = backbone.model.state_dict()
    if not set(weights) <= set(state):
        weights = _read_hub_names(backbone, folder, weights)
    tied = set(backbone.model.all_tied_weights_keys)
    unknown = (set(state) - set(weights) - tied) | (set(weights) - set(state))
    if unknown or any(values.shape != state[name].shape for name, values in weights.items()):
        what = (
            f"{len(unknown)} weights do not fit the model, such as {sorted(unknown)[0]}" if unknown else "shapes differ"
        )
        raise UnreadableCheckpointError(tell_unreadable(folder, what if weights else "no *.safetensors in it"))
    keep_untouched(backbone, weights)
    with torch.no_grad():
        for name, values in weights.items():
            state[name].copy_(values)


def _read_hub_names(
    backbone: LoadedBackbone, folder: Path, weights: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Give weights the names that they have in memory; on the hub many have others."""
    if not isinstance(backbone.model, PreTrainedModel):
        return weights
    if not backbone.hub_names:
        backbone.hub_names.update(find_hub_names(backbone.model))
    if set(weights) <= set(backbone.hub_names):
        return {backbone.hub_names[name]: values for name, values in weights.items()}
    if "" not in backbone.hub_names or not (folder / "config.json").exists():
        return weights
    # Some are not only named, but laid out otherwise: transformers turns them round as it loads them.
    loaded = type(backbone.model).from_pretrained(folder, dtype=backbone.model.dtype, use_safetensors=True)
    return dict(loaded.state_dict())


def find_hub_names(model: PreTrainedModel) -> dict[str, str]:
    """Give weights' names in memory by those of the hub; with an empty name where some are laid out otherwise there."""
    state = model.state_dict()
    names = {id(values): name for name, values in state.items()}
    written = revert_weight_conversion(model, dict(state))
    found = {hub: names[id(values)] for hub, values in written.items() if id(values) in names}
    return found if len(found) == len(written) else {**found, "": ""}


def select_trainable(backbone: LoadedBackbone, part: TrainablePart) -> None:
    """Freeze what a recipe does not train."""
    for name, parameter in backbone.model.named_parameters():
        parameter.requires_grad_(is_trainable(name, part))
