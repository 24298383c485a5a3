"""Tiny random models of every architecture, written to a folder as a hub model is: weights, processor, template."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.models.chat_templates import CHAT_TOKENS, TEMPLATES, Template

TEXT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
SIGHT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip
SIZE = {"height": 28, "width": 28}


@dataclass
class Parts:
    """What a folder is written from."""

    config: Any
    processor: str
    """Name of its class."""
    image_processor: Any
    tokenizer: Any
    options: dict[str, Any] = field(default_factory=dict)
    """Of the processor."""


def make_tokenizer(**named: str) -> PreTrainedTokenizerFast:
    """Make a tokenizer of bytes, with special tokens by the names that processors ask for."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<unk>", *CHAT_TOKENS, *dict.fromkeys(named.values())]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        ["What is shown?"], trainers.BpeTrainer(vocab_size=310, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        extra_special_tokens=named,
    )  # fmt: skip


def find(tokenizer: Any, token: str) -> int:
    return tokenizer.convert_tokens_to_ids(token)


def make_llava() -> Parts:
    tokenizer = make_tokenizer(image_token="<image>")
    config = transformers.LlavaConfig(
        vision_config={"model_type": "clip_vision_model", "projection_dim": 32, **SIGHT},
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **TEXT},
        image_token_index=find(tokenizer, "<image>"), image_seq_length=4,
    )  # fmt: skip
    image_processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=SIZE)
    options = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return Parts(config, "LlavaProcessor", image_processor, tokenizer, options)


def make_llava_onevision() -> Parts:
    tokenizer = make_tokenizer(image_token="<image>", video_token="<video>")
    points = [[28, 28], [28, 56], [56, 28]]
    config = transformers.LlavaOnevisionConfig(
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **SIGHT},
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **TEXT}, image_grid_pinpoints=points,
        image_token_index=find(tokenizer, "<image>"), video_token_index=find(tokenizer, "<video>"),
    )  # fmt: skip
    image_processor = transformers.LlavaOnevisionImageProcessorPil(size=SIZE, image_grid_pinpoints=points)
    options = {"num_image_tokens": 4, "vision_feature_select_strategy": "full"}
    return Parts(config, "LlavaOnevisionProcessor", image_processor, tokenizer, options)


def make_qwen(config_name: str, processor: str, patch: int, sight: dict[str, Any], text: dict[str, Any]) -> Parts:
    names = {"image": "<|image_pad|>", "video": "<|video_pad|>", "vision_start": "<|vision_start|>",
             "vision_end": "<|vision_end|>"}  # fmt: skip
    tokenizer = make_tokenizer(**{f"{name}_token": token for name, token in names.items()})
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}
    config = getattr(transformers, config_name)(
        text_config={"vocab_size": len(tokenizer), **TEXT, "rope_parameters": rope, **text}, vision_config=sight,
        **{f"{name}_token_id": find(tokenizer, token) for name, token in names.items()},
    )  # fmt: skip
    image_processor = transformers.Qwen2VLImageProcessorPil(
        min_pixels=(2 * patch) ** 2, max_pixels=(4 * patch) ** 2, patch_size=patch
    )
    return Parts(config, processor, image_processor, tokenizer)


def make_qwen2_vl() -> Parts:
    sight = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2, "patch_size": 14}
    return make_qwen("Qwen2VLConfig", "Qwen2VLProcessor", 14, sight, {})


def make_qwen2_5_vl() -> Parts:
    sight = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 32,
             "patch_size": 14, "fullatt_block_indexes": [1], "window_size": 56}  # fmt: skip
    return make_qwen("Qwen2_5_VLConfig", "Qwen2_5_VLProcessor", 14, sight, {})


def make_qwen3_vl() -> Parts:
    sight = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 32,
             "patch_size": 16, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}  # fmt: skip
    return make_qwen("Qwen3VLConfig", "Qwen3VLProcessor", 16, sight, {"head_dim": 8})


def make_mllama() -> Parts:
    tokenizer = make_tokenizer(image_token="<|image|>")
    rope = {"rope_type": "default", "rope_theta": 1e4}
    config = transformers.MllamaConfig(
        vision_config={
            "hidden_size": 32, "attention_heads": 4, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_global_layers": 1, "image_size": 28, "patch_size": 14, "max_num_tiles": 2, "vision_output_dim": 96,
            "intermediate_layers_indices": [0, 1], "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
        },
        text_config={
            "vocab_size": len(tokenizer) - 1, "cross_attention_layers": [1], "rope_parameters": rope, **TEXT,
            "num_hidden_layers": 3,
        },
        image_token_index=find(tokenizer, "<|image|>"),
    )  # fmt: skip
    image_processor = transformers.MllamaImageProcessorPil(size=SIZE, max_image_tiles=2)
    return Parts(config, "MllamaProcessor", image_processor, tokenizer)


def make_idefics(config_name: str, processor: str, image_processor: str) -> Parts:
    tokenizer = make_tokenizer(
        image_token="<image>", fake_image_token="<fake_token_around_image>", global_image_token="<global-img>",
        end_of_utterance_token="<end_of_utterance>",
    )  # fmt: skip
    config = getattr(transformers, config_name)(
        vision_config=SIGHT, text_config={"model_type": "llama", "vocab_size": len(tokenizer), **TEXT},
        image_token_id=find(tokenizer, "<image>"), scale_factor=2, pad_token_id=0,
    )  # fmt: skip
    images = getattr(transformers, image_processor)(
        size={"longest_edge": 84}, max_image_size={"longest_edge": 28}, do_image_splitting=False
    )
    return Parts(config, processor, images, tokenizer, {"image_seq_len": 1})


def make_idefics3() -> Parts:
    return make_idefics("Idefics3Config", "Idefics3Processor", "Idefics3ImageProcessorPil")


def make_smolvlm() -> Parts:
    return make_idefics("SmolVLMConfig", "SmolVLMProcessor", "SmolVLMImageProcessorPil")


def make_internvl() -> Parts:
    tokenizer = make_tokenizer(
        start_image_token="<img>", end_image_token="</img>", context_image_token="<IMG_CONTEXT>", video_token="<video>"
    )
    config = transformers.InternVLConfig(
        vision_config={**SIGHT, "image_size": [28, 28], "patch_size": [14, 14]},
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **TEXT},
        image_token_id=find(tokenizer, "<IMG_CONTEXT>"), image_seq_length=1, downsample_ratio=0.5,
    )  # fmt: skip
    image_processor = transformers.GotOcr2ImageProcessorPil(size=SIZE, crop_to_patches=False)
    return Parts(config, "InternVLProcessor", image_processor, tokenizer, {"image_seq_length": 1})


def make_gemma3() -> Parts:
    tokenizer = make_tokenizer(
        image_token="<image_soft_token>", boi_token="<start_of_image>", eoi_token="<end_of_image>"
    )
    config = transformers.Gemma3Config(
        vision_config={"vision_use_head": False, **SIGHT},
        text_config={"vocab_size": len(tokenizer), "head_dim": 8, "sliding_window": 256, **TEXT}, mm_tokens_per_image=4,
        image_token_index=find(tokenizer, "<image_soft_token>"), boi_token_index=find(tokenizer, "<start_of_image>"),
        eoi_token_index=find(tokenizer, "<end_of_image>"),
    )  # fmt: skip
    image_processor = transformers.Gemma3ImageProcessorPil(size=SIZE)
    return Parts(config, "Gemma3Processor", image_processor, tokenizer, {"image_seq_length": 4})


ARCHITECTURES: dict[str, Callable[[], Parts]] = {
    "llava": make_llava,
    "llava_onevision": make_llava_onevision,
    "qwen2_vl": make_qwen2_vl,
    "qwen2_5_vl": make_qwen2_5_vl,
    "qwen3_vl": make_qwen3_vl,
    "mllama": make_mllama,
    "idefics3": make_idefics3,
    "smolvlm": make_smolvlm,
    "internvl": make_internvl,
    "gemma3": make_gemma3,
}


def write_backbone(architecture: str, folder: Path, template: Template | None = None) -> None:
    """Write a tiny random model of an architecture, the same at every call, with its own kind of chat template."""
    write_parts(ARCHITECTURES[architecture](), folder, template or TEMPLATES[architecture])


def write_parts(parts: Parts, folder: Path, template: Template) -> None:
    torch.manual_seed(0)
    model = transformers.AutoModelForImageTextToText.from_config(parts.config)
    for name, parameter in model.named_parameters():
        if "gate" in name.rsplit(".", 1)[-1] or "mm_input_projection" in name:
            torch.nn.init.normal_(parameter)  # they begin at zero, which would keep the image out
    model.generation_config.eos_token_id = sorted({find(parts.tokenizer, template.end), 2})
    model.save_pretrained(folder)
    parts.image_processor.save_pretrained(folder)
    parts.tokenizer.save_pretrained(folder)
    described = json.dumps({"processor_class": parts.processor, **parts.options})
    (folder / "processor_config.json").write_text(described, encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template.text, encoding="utf-8")
