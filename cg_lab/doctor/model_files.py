"""Whether a model's files are all there, read without loading any of them: weights, processor, tokenizer, template."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cg_lab.byte_counts import tell_bytes
from cg_lab.doctor.check_result import CheckResult, Status
from cg_lab.models.attention import find_attention_fault
from cg_lab.models.identity import find_local_folder
from cg_lab.models.image_limits import ImageLimitError, limit_images
from cg_lab.models.model_parts import read_shapes
from cg_lab.models.unsupported_architectures import WAY_OUT, find_refusal
from cg_lab.serialize import read_json
from cg_lab.study import Backbone

INDEX = "model.safetensors.index.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
HUB_S = 10.0
"""How long the hub may take to answer."""
TEMPLATES = ("chat_template.jinja", "chat_template.json")
WITH_TEMPLATE = ("tokenizer_config.json", "processor_config.json")
"""Files that may hold a template among other things."""


def find_files(backbone: Backbone) -> Path | None:
    """Find the folder that a model would be loaded from; None if the hub's cache has none."""
    folder = find_local_folder(backbone.path)
    if folder is not None:
        return folder
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    if not (cache / f"models--{backbone.path.replace('/', '--')}").is_dir():
        return None  # known without half a second of imports
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(backbone.path, "config.json", cache_dir=cache, revision=backbone.revision)
    return Path(found).parent if isinstance(found, str) else None


def check_model_files(backbone: Backbone) -> tuple[CheckResult, ...]:
    """Check each kind of file of a model."""
    if backbone.is_elsewhere:
        found = f"'{backbone.name}' is trained and asked by other tools"
        return (
            _fault("model", found, "`export` writes what they need, `import` takes their answers (docs/export.md)"),
        )
    folder = find_files(backbone)
    if folder is None:
        return (check_cache(backbone),)
    return (
        *check_attention(backbone, folder),
        check_weights(folder),
        check_processor(folder, backbone),
        check_template(folder),
    )


def check_attention(backbone: Backbone, folder: Path) -> tuple[CheckResult, ...]:
    """Check that a model can attend as it is asked to; nothing is told where it can."""
    try:
        kind = read_json(folder / "config.json").get("model_type", "")
    except (OSError, ValueError):
        return ()  # told with the weights
    fault = find_attention_fault(backbone, kind)
    return (_fault("attention", fault.found, fault.way_out),) if fault else ()


def check_beside_weights(path: str) -> tuple[CheckResult, ...]:
    """Check the other files of a local model whose weights can't be told; of another model nothing is known."""
    folder = Path(path).expanduser()
    return (check_processor(folder), check_template(folder)) if folder.is_dir() else ()


def check_cache(backbone: Backbone) -> CheckResult:
    """Say of a model of the hub that it is not on this machine, and whether the hub would give it to the first job."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # pyright: ignore - of whichever package it asks with

    found = f"'{backbone.path}' at revision {backbone.revision} is not in the hub's cache"
    way_out = f"hf download {backbone.path} --revision {backbone.revision}"
    try:
        HfApi().model_info(backbone.path, revision=backbone.revision, timeout=HUB_S)
    except (HTTPError, OSError, ValueError) as error:
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return CheckResult(
            name="weights", status=Status.FAULT, found=f"{found}, nor to be had ({why})", way_out=way_out
        )
    return CheckResult(
        name="weights", status=Status.WARNING, found=f"{found}; the first job downloads it", way_out=way_out
    )


def check_weights(folder: Path) -> CheckResult:
    """Check that all files of weights are there, and whole as their heads tell."""
    missing = [] if not (folder / INDEX).exists() else _list_missing(folder)
    if missing:
        return _fault("weights", f"{folder} lacks {len(missing)} of its files, such as {missing[0]}", "get it again")
    try:
        shapes = read_shapes(folder)
        config = read_json(folder / "config.json")
    except (OSError, ValueError) as error:
        return _fault("weights", f"{folder}: {error}", "get the model again, all files of it")
    if not shapes:
        return _fault("weights", f"{folder} holds no *.safetensors", "get the model again, or save it as safetensors")
    if reason := find_refusal(config.get("model_type", "")):
        return _fault("weights", f"{folder} holds a {config['model_type']}, which is refused: {reason}", WAY_OUT)
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return CheckResult(name="weights", found=f"{config.get('model_type')}, {tell_bytes(size)} in {folder}")


def _list_missing(folder: Path) -> list[str]:
    """List the files of weights that an index names and that are not there."""
    named = sorted(set(read_json(folder / INDEX).get("weight_map", {}).values()))
    return [name for name in named if not (folder / name).exists()]


def check_processor(folder: Path, backbone: Backbone | None = None) -> CheckResult:
    """Check that there is what reads images and text, and images as large as a model is asked to."""
    images = [name for name in PROCESSORS if (folder / name).exists()]
    texts = [name for name in TOKENIZERS if (folder / name).exists()]
    missing = [
        told
        for found, told in (
            (images, f"no image processor ({' or '.join(PROCESSORS)})"),
            (texts, "no tokenizer (tokenizer.json)"),
        )
        if not found
    ]
    if missing:
        return _fault(
            "processor",
            f"{folder} has {' and '.join(missing)}",
            "copy these files from the checkpoint that the model was made from",
        )
    described = _read_image_processor(folder / images[0])
    if backbone is not None and described.get("image_processor_type"):
        try:
            limit_images(backbone, described)
        except ImageLimitError as error:
            return _fault("processor", error.found, error.way_out)
    return CheckResult(name="processor", found=f"{images[0]}, {texts[0]}")


def _read_image_processor(file: Path) -> dict[str, Any]:
    """Read what is said of the part that reads images; empty if that can't be read."""
    try:
        described = read_json(file)
    except (OSError, ValueError):
        return {}
    return described.get("image_processor", described)


def check_template(folder: Path) -> CheckResult:
    """Check that there is a chat template."""
    found = [name for name in TEMPLATES if (folder / name).exists()] or [
        name
        for name in WITH_TEMPLATE
        if (folder / name).exists() and read_json(folder / name).get("chat_template") is not None
    ]
    if not found:
        return _fault(
            "template",
            f"{folder} has no chat template, so that nothing can be asked",
            "take a checkpoint that was tuned to answer, or put a chat_template.jinja beside its weights",
        )
    return CheckResult(name="template", found=f"a chat template in {found[0]}")


def _fault(name: str, found: str, way_out: str) -> CheckResult:
    return CheckResult(name=name, status=Status.FAULT, found=found, way_out=way_out)
