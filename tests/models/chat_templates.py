"""Chat templates in the shape of those that each listed model's checkpoint carries, written anew."""

from __future__ import annotations

from dataclasses import dataclass

CHAT_TOKENS = (
    "<|im_start|>", "<|im_end|>", "<end_of_utterance>", "<start_of_turn>", "<end_of_turn>", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>", "<think>", "</think>",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Template:
    """A template, and what it makes of an answer."""

    text: str
    end: str
    """The token that a checkpoint's generation stops at behind a turn."""
    ahead: str = ""
    """What a model writes before its answer."""


def write_template(  # noqa: PLR0917 - in the order of what they write
    turn: str, image: str, asked: str, replied: str, close: str, begin: str, first: str = ""
) -> str:
    """Write a template that goes through turns; the pieces are Jinja, `role` and `text` their variables."""
    return (
        f"{first}{{%- for message in messages -%}}{{%- set role = message['role'] -%}}{turn}"
        f"{{%- for part in message['content'] -%}}{{%- if part['type'] == 'image' -%}}{image}{{%- endif -%}}"
        "{%- endfor -%}"
        "{%- for part in message['content'] -%}{%- if part['type'] == 'text' -%}{%- set text = part['text'] -%}"
        f"{{%- if role == 'assistant' -%}}{replied}{{%- else -%}}{asked}{{%- endif -%}}{{%- endif -%}}{{%- endfor -%}}"
        f"{close}{{%- endfor -%}}{{%- if add_generation_prompt -%}}{begin}{{%- endif -%}}"
    )


def write_chatml(image: str, first: str = "", begin: str = "") -> str:
    """Write what Qwen's models and many after them have."""
    return write_template(
        "{{ '<|im_start|>' + role + '\n' }}", f"{{{{ '{image}' }}}}", "{{ text }}", "{{ text }}",
        "{{ '<|im_end|>\n' }}", f"{{{{ '<|im_start|>assistant\n{begin}' }}}}", first,
    )  # fmt: skip


QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
SYSTEM = "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"
LLAVA = Template(
    text=write_template(
        "{{ role.upper() + ': ' }}", "{{ '<image>\n' }}", "{{ text + ' ' }}", "{{ text + ' ' }}", "",
        "{{ 'ASSISTANT:' }}",
    ),
    end="</s>", ahead=" ",
)  # fmt: skip
"""A reply has no end at all."""
LLAVA_ONEVISION = Template(
    text=write_template(
        "{{ '<|im_start|>' + role + ' ' }}", "{{ '<image>' }}", "{{ '\n' + text }}", "{{ '\n' + text }}",
        "{{ '<|im_end|>' }}", "{{ '<|im_start|>assistant\n' }}",
    ),
    end="<|im_end|>",
)  # fmt: skip
"""A reply in history stands behind a space that the generation prompt does not have."""
MLLAMA = Template(
    text=write_template(
        "{{ '<|start_header_id|>' + role + '<|end_header_id|>\n\n' }}", "{{ '<|image|>' }}", "{{ text | trim }}",
        "{{ text | trim }}", "{{ '<|eot_id|>' }}", "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}",
        "{{ '<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + strftime_now('%d %b %Y') }}"
        "{{ '<|eot_id|>' }}",
    ),
    end="<|eot_id|>",
)  # fmt: skip
"""The prompt tells the day."""
IDEFICS = Template(
    text=write_template(
        "{{ ('<|im_start|>' if loop.first else '') + role.capitalize() + ':' }}", "{{ '<image>' }}", "{{ text }}",
        "{{ ' ' + text }}", "{{ '<end_of_utterance>\n' }}", "{{ 'Assistant:' }}",
    ),
    end="<end_of_utterance>", ahead=" ",
)  # fmt: skip
GEMMA = Template(
    text=write_template(
        "{{ '<start_of_turn>' + ('model' if role == 'assistant' else role) + '\n' }}", "{{ '<start_of_image>' }}",
        "{{ text | trim }}", "{{ text | trim }}", "{{ '<end_of_turn>\n' }}", "{{ '<start_of_turn>model\n' }}",
        "{{ '<s>' }}",
    ),
    end="<end_of_turn>",
)  # fmt: skip

TEMPLATES = {
    "llava": LLAVA,
    "llava_onevision": LLAVA_ONEVISION,
    "qwen2_vl": Template(text=write_chatml(QWEN_IMAGE, SYSTEM), end="<|im_end|>"),
    "qwen2_5_vl": Template(text=write_chatml(QWEN_IMAGE, SYSTEM), end="<|im_end|>"),
    "qwen3_vl": Template(text=write_chatml(QWEN_IMAGE), end="<|im_end|>"),
    "mllama": MLLAMA,
    "idefics3": IDEFICS,
    "smolvlm": IDEFICS,
    "internvl": Template(text=write_chatml("<IMG_CONTEXT>\\n"), end="<|im_end|>"),
    "gemma3": GEMMA,
}
"""By architecture."""

THINKING = Template(text=write_chatml(QWEN_IMAGE, begin="<think>\\n"), end="<|im_end|>", ahead="\n</think>\n\n")
"""The generation prompt opens a thought that history does not keep."""
THINKING_IN_HISTORY = Template(
    text=write_chatml(QWEN_IMAGE, begin="<think>\\n").replace(
        "'assistant' -%}{{ text }}", "'assistant' -%}{{ '<think>\n\n</think>\n\n' + text }}"
    ),
    end="<|im_end|>", ahead="\n</think>\n\n",
)  # fmt: skip
SKIPPED_THOUGHT = Template(text=write_chatml(QWEN_IMAGE, begin="<think>\\n\\n</think>\\n\\n"), end="<|im_end|>")
"""The generation prompt holds an empty thought."""
