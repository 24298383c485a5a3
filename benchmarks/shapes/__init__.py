"""Random models of true shape, and small ones of the same architectures, for measuring speed without any download.

Tokenizers know little more than bytes; what models know, image tokens and prompt lengths are the real numbers, so that
work is as large.
"""

from __future__ import annotations

import gc
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import PreTrainedTokenizerFast

from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.encoding import encode_questions
from cg_lab.models.linear import OneDnnLinear
from cg_lab.models.processors import without_videos
from cg_lab.questions import AnswerForm, Question, format_question
from cg_lab.study import Backbone

library: Any = transformers
"""Its configurations take more than their types say."""
PLAIN = Question(text="?", options=("mass", "cyst", "bleed", "none"), answer=0)
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


TINY_SIDE = 56


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model to measure."""

    title: str
    prompt_tokens: int
    """Of a question with its image; on tiny models as many as fall out."""
    image_side: int
    """Pixels."""
    build: Callable[[bool], tuple[Any, Any]]
    """Gives configuration and processor; true: tiny."""

    def find_side(self, *, tiny: bool) -> int:
        """Give the pixels of images; small ones do where a tiny model only shows that all runs."""
        return min(self.image_side, TINY_SIDE) if tiny else self.image_side


def make_tokenizer(**named: str) -> PreTrainedTokenizerFast:
    """Make a tokenizer with special tokens by the names that processors ask for.

    A question's frame takes about as many tokens as in a real vocabulary; everything else is written in bytes.
    """
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<pad>", "<s>", "</s>", *dict.fromkeys(named.values())],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([format_question(PLAIN, AnswerForm.LETTER)] * 2, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", extra_special_tokens=named
    )


def build_llava(tiny: bool) -> tuple[Any, Any]:  # noqa: FBT001
    """Build LLaVA-1.5 with Vicuna-7B."""
    tokenizer = make_tokenizer(image_token="<image>")
    side = 28 if tiny else 336
    config = library.LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model", "image_size": side, "patch_size": 14, "projection_dim": 32,
            **(_sight(32, 2) if tiny else _sight(1024, 24, heads=16)),
        },
        text_config={"model_type": "llama", **(_text(32, 2, 512) if tiny else _text(4096, 32, 32064, width=11008))},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), image_seq_length=(side // 14) ** 2,
    )  # fmt: skip
    images = library.CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    return config, library.LlavaProcessor(
        image_processor=images, tokenizer=tokenizer, patch_size=14, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )  # fmt: skip


def build_qwen2_5_vl(tiny: bool) -> tuple[Any, Any]:  # noqa: FBT001
    """Build Qwen2.5-VL-7B."""
    names = {"image": "<|image_pad|>", "video": "<|video_pad|>", "vision_start": "<|vision_start|>",
             "vision_end": "<|vision_end|>"}  # fmt: skip
    tokenizer = make_tokenizer(**{f"{name}_token": token for name, token in names.items()})
    sight = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 32,
             "patch_size": 14, "fullatt_block_indexes": [1], "window_size": 56} if tiny else {
             "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584,
             "patch_size": 14, "fullatt_block_indexes": [7, 15, 23, 31], "window_size": 112}  # fmt: skip
    section = [1, 1, 2] if tiny else [16, 24, 24]
    text = _text(32, 2, 512, keys=2) if tiny else _text(3584, 28, 152064, width=18944, heads=28, keys=4)
    config = library.Qwen2_5_VLConfig(
        vision_config=sight,
        text_config={**text, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": section}},
        **{f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in names.items()},
    )
    images = library.Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=28 * 28 * 1280, patch_size=14)
    kind = without_videos(library.Qwen2_5_VLProcessor)
    return config, kind(
        image_processor=images, tokenizer=tokenizer, video_processor=None,
        chat_template=TEMPLATE.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )  # fmt: skip


def build_smolvlm(tiny: bool) -> tuple[Any, Any]:  # noqa: FBT001
    """Build SmolVLM-256M, one tile an image."""
    tokenizer = make_tokenizer(
        image_token="<image>", fake_image_token="<fake_token_around_image>", global_image_token="<global-img>",
        end_of_utterance_token="<end_of_utterance>",
    )  # fmt: skip
    side, scale = (32, 2) if tiny else (512, 4)
    config = library.SmolVLMConfig(
        vision_config={"image_size": side, "patch_size": 16, **(_sight(32, 2) if tiny else _sight(768, 12, heads=12))},
        text_config={
            "model_type": "llama",
            **(_text(32, 2, 512) if tiny else _text(576, 30, 49280, width=1536, heads=9, keys=3)),
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"), scale_factor=scale, pad_token_id=0,
    )  # fmt: skip
    edge = {"longest_edge": side}
    images = library.SmolVLMImageProcessorPil(size=edge, max_image_size=edge, do_image_splitting=False)
    kind = without_videos(library.SmolVLMProcessor)
    return config, kind(
        image_processor=images, tokenizer=tokenizer, video_processor=None,
        image_seq_len=(side // 16 // scale) ** 2, chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )  # fmt: skip


def _text(
    hidden: int, layers: int, vocabulary: int, *, width: int = 64, heads: int = 0, keys: int = 0
) -> dict[str, Any]:
    heads = heads or hidden // (8 if hidden < 64 else 128)
    return {
        "hidden_size": hidden, "intermediate_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": keys or heads, "vocab_size": vocabulary, "max_position_embeddings": 4096,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip


def _sight(hidden: int, layers: int, *, heads: int = 4) -> dict[str, Any]:
    return {
        "hidden_size": hidden, "intermediate_size": hidden * (2 if hidden < 64 else 4), "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }  # fmt: skip


SHAPES = {
    "llava_v1_5_7b": Shape(title="LLaVA-1.5-7B", prompt_tokens=676, image_side=336, build=build_llava),
    "qwen2_5_vl_7b": Shape(title="Qwen2.5-VL-7B", prompt_tokens=244, image_side=336, build=build_qwen2_5_vl),
    "smolvlm_256m": Shape(title="SmolVLM-256M", prompt_tokens=164, image_side=512, build=build_smolvlm),
}


def make_backbone(name: str, *, tiny: bool = False, device: str | None = None) -> LoadedBackbone:
    """Make a model with random weights, on the GPU in bfloat16 if there is one; on `meta` without weights."""
    config, processor = SHAPES[name].build(tiny)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    try:
        with torch.device(device):
            model: Any = library.AutoModelForImageTextToText.from_config(config)
    finally:
        torch.set_default_dtype(before)
    identity = Backbone(name=name, path=name, revision="random", answer=AnswerForm.LETTER)
    return LoadedBackbone(identity=identity, model=model, processor=processor)


def make_images(count: int, side: int) -> list[Image.Image]:
    """Make noise."""
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 255, (side, side, 3), dtype=np.uint8)) for _ in range(count)]


def make_questions(backbone: LoadedBackbone, count: int, *, tiny: bool = False) -> list[Question]:
    """Make questions with four options whose prompts have the shape's number of tokens."""
    shape = SHAPES[backbone.identity.name]
    (example,) = encode_questions(backbone, [PLAIN], make_images(1, shape.image_side))
    room = 8 if tiny else shape.prompt_tokens - len(example.prompt)
    assert room > 0, f"{shape.title}: {len(example.prompt)} tokens, more than {shape.prompt_tokens}"
    return [
        replace(PLAIN, text=f"{number:x}".rjust(room, "~")[-room:] + "?", answer=number % 4) for number in range(count)
    ]


@contextmanager
def as_transformers_has_it(model: nn.Module) -> Iterator[None]:
    """Give a model's linear layers back to torch, and all objects to the garbage collector, as without cg_lab."""
    gc.unfreeze()
    layers: list[Any] = [layer for layer in model.modules() if isinstance(layer, OneDnnLinear)]
    for layer in layers:
        layer.__class__ = nn.Linear
    try:
        yield
    finally:
        for layer in layers:
            layer.__class__ = OneDnnLinear


def describe_machine() -> str:
    """Say what the figures were measured on."""
    if torch.cuda.is_available():
        where = torch.cuda.get_device_name()
    else:
        where = f"{_find_processor()}, {torch.get_num_threads()} threads"
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    return f"{where}; Python {platform.python_version()}, {libraries}"


def _find_processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
