"""Load what reads images and text, also where torchvision is absent, which images alone do not need."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any
from unittest.mock import patch

import transformers
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer
from transformers.image_utils import SizeDict
from transformers.models.auto import processing_auto
from transformers.utils import import_utils

from cg_lab.models.image_limits import is_limited, limit_images
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


def apply_image_limits(processor: Any, identity: Backbone) -> dict[str, Any]:
    """Let a processor read images as large as was asked for.

    Returns
    -------
    What was changed of its image processor.

    Raises
    ------
    UserError
        If it has no such limit, or none of that size.

    """
    if not is_limited(identity):
        return {}
    images = processor.image_processor
    changed = limit_images(identity, images.to_dict())
    for name, value in changed.items():
        setattr(images, name, SizeDict(**value) if name == "size" else value)
    return changed


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
