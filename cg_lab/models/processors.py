"""Load what reads images and text, also where torchvision is absent, which images alone do not need."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any
from unittest.mock import patch

import transformers
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer
from transformers.models.auto import processing_auto
from transformers.utils import import_utils

from cg_lab.errors import UserError
from cg_lab.study import Backbone


def load_processor(source: dict[str, str]) -> Any:
    """Load a processor; where torchvision is absent, without the part for videos, which needs it.

    transformers 5.23 can't make a processor for images and videos then, though images alone need PIL only.

    Raises
    ------
    ImportError
        If the processor is one that needs a package that is not there.

    """
    names: Any = processing_auto.PROCESSOR_MAPPING_NAMES  # type: ignore[attr-defined]
    described, _ = transformers.ProcessorMixin.get_processor_dict(**source)
    name = described.get("processor_class") or names.get(AutoConfig.from_pretrained(**source).model_type) or ""
    if name == "PixtralProcessor" and not import_utils.is_torchvision_available():
        return _import_pixtral_processor().from_pretrained(**source)
    kind: Any = getattr(transformers, name, None)
    if import_utils.is_torchvision_available() or kind is None or "video_processor" not in kind.get_attributes():
        return AutoProcessor.from_pretrained(**source)
    loaders = {"image_processor": AutoImageProcessor, "tokenizer": AutoTokenizer}
    parts = [loaders[name].from_pretrained(**source) if name in loaders else None for name in kind.get_attributes()]
    return without_videos(kind).from_args_and_dict(parts, described)


def limit_pixels(processor: Any, identity: Backbone) -> None:
    """Let a processor that resizes images to a range of pixels, as Qwen's do, take the one that was asked for.

    Raises
    ------
    UserError
        If it has no such range, or if the range is empty.

    """
    if identity.min_pixels is None and identity.max_pixels is None:
        return
    images = processor.image_processor
    if "max_pixels" not in images.valid_kwargs.__annotations__:
        raise UserError(
            f"model.min_pixels, model.max_pixels: the processor of '{identity.name}' ({type(images).__name__}) has no "
            "range of pixels; leave both null"
        )
    least = identity.min_pixels or images.size["shortest_edge"]
    most = identity.max_pixels or images.size["longest_edge"]
    if least > most:
        raise UserError(
            f"model.min_pixels: {least} is more than the most pixels of an image, {most}; "
            "give model.min_pixels and model.max_pixels together"
        )
    images.size = type(images.size)(shortest_edge=least, longest_edge=most)


def _import_pixtral_processor() -> Any:
    """Import Pixtral's processor, which takes one function on sizes from a module that needs torchvision.

    The same function lies in its twin for PIL.
    """
    package = "transformers.models.pixtral"
    twin = import_module(f"{package}.image_processing_pil_pixtral")
    spec = find_spec(f"{package}.processing_pixtral")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with patch.dict(sys.modules, {f"{package}.image_processing_pixtral": twin, spec.name: module}):
        spec.loader.exec_module(module)
    return module.PixtralProcessor


def without_videos(kind: Any) -> Any:
    """Derive a processor that does not ask for its part for videos."""

    class ImageProcessing(kind):
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if argument_name == "video_processor":
                return None
            return super().check_argument_for_proper_class(argument_name, argument)

    ImageProcessing.__name__ = kind.__name__
    return ImageProcessing
