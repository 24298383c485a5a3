"""Shape of the embedded model, its tokenizer and its processor."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SegformerConfig,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from cg_lab.questions import LETTERS, AnswerForm, Question, format_question
from tools.tiny_llava.rendering import SIDE
from tools.tiny_llava.topics import list_words

WIDTH = 128
"""Channels of the vision tower's output and of the language model."""
PATCH = 8
"""Pixels of one side of what an image token stands for."""
NUM_IMAGE_TOKENS = (SIDE // PATCH) ** 2
SPECIAL_TOKENS = ("<pad>", "<eos>", "<image>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|>{% else %}<|assistant|> {% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}<eos>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Train a byte-level BPE in which every word of the lexicon, with its leading space, is one token.

    Any other text is spelled from smaller pieces, down to single bytes.
    """
    words = list_words()
    letters = Question(text="", options=tuple(LETTERS), answer=0)
    corpus = [f" {word}" for word in (*words, *LETTERS)] + [word for word in words if word[:1].isupper()]
    corpus += [format_question(letters, AnswerForm.LETTER)] * 50
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        min_frequency=1,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        padding_side="right",
        model_max_length=1024,
        extra_special_tokens={"image_token": "<image>"},
    )


def build_processor() -> LlavaProcessor:
    """Put tokenizer, image processor and chat template together."""
    images = SiglipImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=build_tokenizer(),
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=0,
    )


def build_model(processor: LlavaProcessor) -> LlavaForConditionalGeneration:
    """Make the model with random weights; seed torch before.

    The vision tower begins with overlapping convolutions (SegFormer, arXiv 2105.15203): at this size they learn from
    fewer pictures, and run faster, than one linear map of whole patches.
    """
    tokenizer = processor.tokenizer
    vision = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 3],
        sr_ratios=[2, 1],
        hidden_sizes=[48, WIDTH],
        hidden_size=WIDTH,  # type: ignore[call-arg] - LLaVA's projector asks for it
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 4],
        mlp_ratios=[2, 3],
        reshape_last_stage=False,
        image_size=SIDE,  # type: ignore[call-arg]
        hidden_dropout_prob=0.0,
        drop_path_rate=0.0,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=4,
        initializer_range=0.04,
        num_attention_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        image_seq_length=NUM_IMAGE_TOKENS,
        tie_word_embeddings=True,
        initializer_range=0.04,  # type: ignore[call-arg]
    )
    return LlavaForConditionalGeneration(config)
