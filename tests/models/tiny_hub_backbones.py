"""Tiny random models of architectures that come by `model=hub`, each with its own checkpoints' kind of template."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers

from tests.models.chat_templates import Template, write_chatml, write_template
from tests.models.tiny_backbones import SIGHT, SIZE, TEXT, Parts, find, make_tokenizer, write_backbone, write_parts

ROPE = {"rope_type": "default", "rope_theta": 1e4}
INSTRUCT = {"inst_token": "[INST]", "inst_end_token": "[/INST]"}
PIXTRAL = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}


def make_paligemma() -> Parts:
    tokenizer = make_tokenizer(image_token="<image>")
    config = transformers.PaliGemmaConfig(
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, "projection_dim": 32, **SIGHT},
        text_config={"model_type": "gemma", "vocab_size": len(tokenizer) + 1200, "head_dim": 8, **TEXT},
        image_token_index=find(tokenizer, "<image>"), projection_dim=32, hidden_size=32,
    )  # fmt: skip
    image_processor = transformers.SiglipImageProcessorPil(size=SIZE)
    image_processor.image_seq_length = 4
    return Parts(config, "PaliGemmaProcessor", image_processor, tokenizer)


def make_llava_next() -> Parts:
    tokenizer = make_tokenizer(image_token="<image>", **INSTRUCT)
    points = [[28, 56], [56, 28], [56, 56]]
    config = transformers.LlavaNextConfig(
        vision_config={"model_type": "clip_vision_model", "projection_dim": 32, **SIGHT},
        text_config={"model_type": "mistral", "vocab_size": len(tokenizer), **TEXT, "sliding_window": None},
        image_token_index=find(tokenizer, "<image>"), image_grid_pinpoints=points, image_seq_length=4,
    )  # fmt: skip
    image_processor = transformers.LlavaNextImageProcessorPil(
        size={"shortest_edge": 28}, crop_size=SIZE, image_grid_pinpoints=points
    )
    options = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return Parts(config, "LlavaNextProcessor", image_processor, tokenizer, options)


def make_pixtral_parts(config: Callable[..., Any], merge: int, **more: Any) -> Parts:
    tokenizer = make_tokenizer(**PIXTRAL, **INSTRUCT, system_token="[SYSTEM_PROMPT]", system_end="[/SYSTEM_PROMPT]")
    sight = {**SIGHT, "image_size": 56, "model_type": "pixtral", "head_dim": 8, "rope_parameters": ROPE}
    made = config(
        vision_config=sight,
        text_config={"model_type": "mistral", "vocab_size": len(tokenizer), "head_dim": 8, "sliding_window": None,
                     **TEXT},
        image_token_index=find(tokenizer, "[IMG]"), vision_feature_layer=-1, **more,
    )  # fmt: skip
    image_processor = transformers.PixtralImageProcessorPil(size={"longest_edge": 56}, patch_size=14 * merge)
    return Parts(made, "PixtralProcessor", image_processor, tokenizer, {"patch_size": 14, "spatial_merge_size": merge})


def make_pixtral() -> Parts:
    return make_pixtral_parts(transformers.LlavaConfig, 1, vision_feature_select_strategy="full")


def make_mistral3() -> Parts:
    return make_pixtral_parts(transformers.Mistral3Config, 2, spatial_merge_size=2)


def make_aya_vision() -> Parts:
    names = {
        "image_token": "<image>", "start_image": "<|START_OF_IMG|>", "end_image": "<|END_OF_IMG|>",
        "patch_token": "<|IMG_PATCH|>", "line_break": "<|IMG_LINE_BREAK|>", "tile": "TILE", "tile_all": "TILE_GLOBAL",
        "turn": "<|START_OF_TURN_TOKEN|>", "turn_end": "<|END_OF_TURN_TOKEN|>", "user": "<|USER_TOKEN|>",
        "chatbot": "<|CHATBOT_TOKEN|>", "response": "<|START_RESPONSE|>", "response_end": "<|END_RESPONSE|>",
    }  # fmt: skip
    tokenizer = make_tokenizer(**names)
    config = transformers.AyaVisionConfig(
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **SIGHT},
        text_config={"model_type": "cohere2", "vocab_size": len(tokenizer), "sliding_window": 256, "head_dim": 8,
                     "layer_types": ["sliding_attention", "full_attention"], **TEXT},
        image_token_index=find(tokenizer, "<|IMG_PATCH|>"), downsample_factor=2, alignment_intermediate_size=64,
    )  # fmt: skip
    image_processor = transformers.GotOcr2ImageProcessorPil(
        size=SIZE, crop_to_patches=True, min_patches=2, max_patches=2
    )
    options = {"patch_size": 14, "img_size": 28, "downsample_factor": 2}
    return Parts(config, "AyaVisionProcessor", image_processor, tokenizer, options)


def make_janus() -> Parts:
    tokenizer = make_tokenizer(
        image_token="<image_placeholder>", boi_token="<begin_of_image>", eoi_token="<end_of_image>",
        user="<|User|>", assistant="<|Assistant|>",
    )  # fmt: skip
    config = transformers.JanusConfig(
        vision_config={
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 28, "patch_size": 14,
            "projection_dim": 32, "num_image_tokens": 4, "mlp_ratio": 2.0,
        },
        vq_config={
            "embed_dim": 4, "num_embeddings": 16, "latent_channels": 8, "base_channels": 32,
            "channel_multiplier": [1, 1], "num_res_blocks": 1, "num_patches": 2, "projection_dim": 32,
            "image_token_embed_dim": 32,
        },
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **TEXT},
        image_token_id=find(tokenizer, "<image_placeholder>"),
    )  # fmt: skip
    image_processor = transformers.JanusImageProcessorPil(size=SIZE, min_size=14)
    return Parts(config, "JanusProcessor", image_processor, tokenizer, {"num_image_tokens": 4})


def make_ovis2() -> Parts:
    indicators = ("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
    names = {f"indicator{number}": token for number, token in enumerate(indicators)}
    tokenizer = make_tokenizer(image_token="<image>", atom="<IMG_ATOM>", **names)
    config = transformers.Ovis2Config(
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "image_size": 28, "patch_size": 14, "vocab_size": 24, "hidden_stride": 2,
        },
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **TEXT},
        image_token_id=find(tokenizer, "<IMG_ATOM>"), vocab_size=len(tokenizer), hidden_size=32,
        visual_indicator_token_ids=[find(tokenizer, token) for token in indicators],
    )  # fmt: skip
    image_processor = transformers.Ovis2ImageProcessorPil(size=SIZE, crop_to_patches=True, min_patches=2, max_patches=2)
    return Parts(config, "Ovis2Processor", image_processor, tokenizer, {"image_seq_length": 1})


def make_glm4v() -> Parts:
    names = {
        "image": "<|image|>", "video": "<|video|>", "image_start": "<|begin_of_image|>",
        "image_end": "<|end_of_image|>", "video_start": "<|begin_of_video|>", "video_end": "<|end_of_video|>",
    }  # fmt: skip
    turns = {"mask": "[gMASK]", "sop": "<sop>", "user": "<|user|>", "assistant": "<|assistant|>"}
    tokenizer = make_tokenizer(**{f"{name}_token": token for name, token in (names | turns).items()})
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2], "partial_rotary_factor": 1.0}
    config = transformers.Glm4vConfig(
        text_config={"vocab_size": len(tokenizer), **TEXT, "rope_parameters": rope},
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "image_size": 56, "patch_size": 14,
            "out_hidden_size": 32,
        },
        **{f"{name}_token_id": find(tokenizer, token) for name, token in names.items()},
    )  # fmt: skip
    image_processor = transformers.Glm4vImageProcessorPil(
        size={"shortest_edge": 28 * 28 * 2, "longest_edge": 56 * 56 * 2}, patch_size=14
    )
    return Parts(config, "Glm4vProcessor", image_processor, tokenizer)


ASKED = "{{ '[INST] ' if role == 'user' else '' }}"
INSTRUCTED = write_template(
    "{{ '[INST]' if role == 'user' else '' }}", "{{ '[IMG]' }}", "{{ text + '[/INST]' }}", "{{ text + '</s>' }}", "",
    "", "{{ '<s>' }}",
)  # fmt: skip
SYSTEM = "{{ '<s>[SYSTEM_PROMPT]Today is ' + strftime_now('%d %b %Y') + '.[/SYSTEM_PROMPT]' }}"
HUB_TEMPLATES = {
    "paligemma": Template(
        text=write_template("", "{{ '<image>' }}", "{{ text }}", "{{ text }}", "", ""), end="</s>"
    ),  # its checkpoints have none
    "llava_next": Template(
        text=write_template(
            ASKED, "{{ '<image>\n' }}", "{{ text + ' [/INST]' }}", "{{ ' ' + text }}", "", ""
        ),
        end="</s>", ahead=" ",
    ),
    "pixtral": Template(text=INSTRUCTED, end="</s>"),
    "mistral3": Template(text=INSTRUCTED.replace("{{ '<s>' }}", SYSTEM), end="</s>"),
    "aya_vision": Template(
        text=write_template(
            "{{ '<|START_OF_TURN_TOKEN|>' + ('<|USER_TOKEN|>' if role == 'user' else "
            "'<|CHATBOT_TOKEN|><|START_RESPONSE|>') }}",
            "{{ '<image>' }}", "{{ text | trim }}", "{{ text | trim + '<|END_RESPONSE|>' }}",
            "{{ '<|END_OF_TURN_TOKEN|>' }}", "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>' }}",
            "{{ '<s>' }}",
        ),
        end="<|END_OF_TURN_TOKEN|>",
    ),
    "janus": Template(
        text=write_template(
            "{{ ('<|User|>' if role == 'user' else '<|Assistant|>') + ': ' }}", "{{ '<image_placeholder>\n' }}",
            "{{ text + '\n\n' }}", "{{ text + '</s>' }}", "", "{{ '<|Assistant|>:' }}",
            "{{ 'You are a helpful language and vision assistant.\n\n' }}",
        ),
        end="</s>", ahead=" ",
    ),
    "ovis2": Template(text=write_chatml("<image>\\n"), end="<|im_end|>"),
    "glm4v": Template(
        text=write_template(
            "{{ '<|' + role + '|>\n' }}", "{{ '<|begin_of_image|><|image|><|end_of_image|>' }}", "{{ text }}",
            "{{ text }}", "", "{{ '<|assistant|>\n' }}", "{{ '[gMASK]<sop>' }}",
        ),
        end="</s>",
    ),
}  # fmt: skip
"""By architecture."""

HUB_ARCHITECTURES: dict[str, Callable[[], Parts]] = {
    "paligemma": make_paligemma,
    "llava_next": make_llava_next,
    "pixtral": make_pixtral,
    "mistral3": make_mistral3,
    "aya_vision": make_aya_vision,
    "janus": make_janus,
    "ovis2": make_ovis2,
    "glm4v": make_glm4v,
}


def write_any_backbone(architecture: str, folder: Path) -> None:
    """Write a tiny random model of an architecture, whether it has a preset or comes by `model=hub`."""
    if architecture in HUB_ARCHITECTURES:
        write_parts(HUB_ARCHITECTURES[architecture](), folder, HUB_TEMPLATES[architecture])
    else:
        write_backbone(architecture, folder)


RANGE = {"min_pixels": 100 * 100, "max_pixels": 130 * 130}
SIZES: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, RANGE) for name in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v")),
    ("llava_onevision", {"max_tiles": 1}),
    ("llava_next", {"max_tiles": 2}),
    *((name, {"max_tiles": 4}) for name in ("idefics3", "smolvlm", "internvl", "aya_vision", "ovis2")),
    *((name, {"max_tiles": 1}) for name in ("internvl", "aya_vision", "ovis2")),
)
"""Architectures that can be told how large to read an image, each with settings that differ from its processor's."""


def tell_case(case: tuple[str, dict[str, Any]]) -> str:
    """Name an architecture with settings."""
    name, given = case
    return "-".join((name, *(f"{key}={value}" for key, value in given.items())))
