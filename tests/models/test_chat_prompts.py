"""What is trained on and where writing ends, with templates in the shapes that checkpoints carry."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from cg_lab.errors import UserError
from cg_lab.models import chat_prompts
from cg_lab.models.backbone import LoadedBackbone, load_backbone
from cg_lab.models.batches import IGNORED, collate_training
from cg_lab.models.chat_prompts import continues_as_asked, decode_written, list_stops, read_frame
from cg_lab.models.contract import prove_contract
from cg_lab.models.encoding import encode_questions, see_images
from cg_lab.models.scoring import score_options
from cg_lab.questions import AnswerForm, Question
from cg_lab.study import Backbone
from tests.models.chat_templates import (
    LLAVA,
    MLLAMA,
    QWEN_IMAGE,
    SKIPPED_THOUGHT,
    THINKING,
    THINKING_IN_HISTORY,
    Template,
    write_chatml,
)
from tests.models.test_contract import make_images
from tests.models.tiny_backbones import write_backbone

QUESTION = Question(text="What is shown?", options=("mass", "cyst", "left lung"), answer=1)
TRIMMED = Template(
    text=write_chatml(QWEN_IMAGE).replace("{{ text }}", "{{ text | trim }}").replace("'assistant\\n'", "'assistant'"),
    end="<|im_end|>",
)
STRINGS = Template(  # an answer is one text, not a list of parts
    text="{%- for m in messages -%}{%- if m['role'] == 'user' -%}"
    "{{ '[INST] <|vision_start|><|image_pad|><|vision_end|>' + m['content'][1]['text'] + ' [/INST]' }}"
    "{%- else -%}{{ ' ' + m['content'] + '</s>' }}{%- endif -%}{%- endfor -%}",
    end="</s>", ahead=" ",
)  # fmt: skip
NO_ANSWERS = Template(
    text="{%- for m in messages -%}{%- if m['role'] != 'user' -%}{{ raise_exception('one turn') }}{%- endif -%}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' + m['content'][1]['text'] + '\nAnswer:\n' }}{%- endfor -%}",
    end="</s>",
)
SHAPES = {
    "thinking": THINKING, "thinking_in_history": THINKING_IN_HISTORY, "skipped_thought": SKIPPED_THOUGHT,
    "trimmed": TRIMMED, "strings": STRINGS, "no_answers": NO_ANSWERS,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen3_vl")
    write_backbone("qwen3_vl", folder)
    return folder


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedBackbone:
    torch.set_num_threads(1)
    return load_backbone(name(folder))


def name(folder: Path, answer: AnswerForm = AnswerForm.LETTER) -> Backbone:
    return Backbone(name="mine", path=str(folder), revision="tiny", answer=answer)


def with_template(loaded: LoadedBackbone, text: str | None, monkeypatch: pytest.MonkeyPatch) -> LoadedBackbone:
    monkeypatch.setattr(loaded.processor, "chat_template", text)
    if text is None:
        monkeypatch.setattr(loaded.processor.tokenizer, "chat_template", None)
    return loaded


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        (write_chatml(QWEN_IMAGE), True),
        (STRINGS.text, True),
        (TRIMMED.text, True),
        (write_chatml(QWEN_IMAGE).replace("assistant\n", "assistant "), False),  # history goes on otherwise
        (THINKING.text, False),
        (NO_ANSWERS.text, False),
        (LLAVA.text.replace("<image>", QWEN_IMAGE), False),  # ends no turn
    ],
)
def test_a_template_whose_history_is_not_what_inference_makes_is_known(
    text: str, is_so: bool, loaded: LoadedBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert continues_as_asked(with_template(loaded, text, monkeypatch).processor, "mine") is is_so


@pytest.mark.parametrize("form", list(AnswerForm))
@pytest.mark.parametrize("shape", list(SHAPES))
def test_labels_are_the_answer_and_one_end_behind_the_prompt_of_inference(
    shape: str, form: AnswerForm, loaded: LoadedBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = SHAPES[shape]
    asked = with_template(replace(loaded, identity=replace(loaded.identity, answer=form)), template.text, monkeypatch)
    (example,) = encode_questions(asked, [QUESTION], make_images(1))
    frame, tokenizer = read_frame(asked.processor, "mine"), asked.processor.tokenizer
    assert tokenizer.decode(example.prompt).endswith(frame.between)
    (row,) = collate_training([example], pad_id=0)["labels"].tolist()
    labels = [one for one in row if one != IGNORED]
    assert tokenizer.decode(labels[:-1]) == template.ahead + ("B" if form is AnswerForm.LETTER else "cyst")
    assert labels[-1] == tokenizer.convert_tokens_to_ids(template.end)
    assert labels[-1] in list_stops(asked.model, tokenizer)
    assert labels.count(labels[-1]) == 1
    (seen,) = see_images(asked, make_images(1)) or [None]
    assert seen is not None  # images are prepared apart, whatever the frame


def test_a_letter_is_read_behind_the_thought_that_the_prompt_opens(
    loaded: LoadedBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the model itself gives it behind an empty thought."""
    asked = with_template(loaded, THINKING.text, monkeypatch)
    (example,) = encode_questions(asked, [QUESTION], make_images(1))
    (((first, *_),),) = score_options(asked, [(example,)], 1)
    tokenizer = asked.processor.tokenizer
    closing = tokenizer("\n</think>\n\n", add_special_tokens=False)["input_ids"]
    types = [*example.tokens["mm_token_type_ids"].tolist(), *[0] * len(closing)]
    with torch.inference_mode():
        logits_TV = asked.model(
            input_ids=torch.tensor([[*example.prompt, *closing]]),
            mm_token_type_ids=torch.tensor([types]),
            **{key: example.image[key] for key in example.image},
        ).logits[0]
    assert first == pytest.approx(float(logits_TV[-1].log_softmax(-1)[tokenizer.convert_tokens_to_ids("A")]), abs=1e-4)


def test_what_is_written_behind_an_open_thought_begins_in_it(
    loaded: LoadedBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = loaded.processor.tokenizer
    ids = tokenizer("It may be A.</think>B<|im_end|>", add_special_tokens=False)["input_ids"]
    plain = read_frame(loaded.processor, "mine")
    assert decode_written(tokenizer, ids, plain) == "It may be A.</think>B"
    thinking = read_frame(with_template(loaded, THINKING.text, monkeypatch).processor, "mine")
    assert decode_written(tokenizer, ids, thinking) == "<think>It may be A.</think>B"
    assert decode_written(tokenizer, ids[:5], thinking).startswith("<think>It")


def test_a_prompt_that_tells_the_day_is_the_same_on_every_day(
    loaded: LoadedBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = MLLAMA.text.replace("<|image|>", QWEN_IMAGE)
    asked = with_template(loaded, text, monkeypatch)
    frames = []
    for day in (1, 2):
        today = datetime(2031, 1, day, tzinfo=UTC)

        class Today(datetime):
            @classmethod
            def now(cls, tz: Any = None, today: datetime = today) -> Any:
                return today

        monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Today)
        frames.append(read_frame(asked.processor, "mine"))
        shown = asked.processor.tokenizer.apply_chat_template(
            [{"role": "user", "content": []}], chat_template=text, tokenize=False
        )
        assert f"0{day} Jan 2031" in shown  # others still see the day
    assert frames[0] == frames[1]
    assert f"{chat_prompts.DATE:%d %b %Y}" in frames[0].before


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "can't ask a question about an image (Cannot use chat template functions because"),
        ("{{ messages[0]['content'] + 'x' }}", "can't ask a question about an image ("),
        ("{% for m in messages %}{{ m['role'] }}:{% endfor %}", "writes a question 0 times into its prompt, not once"),
        ("{{ raise_exception('no images here') }}", "can't ask a question about an image (no images here)"),
        ("{{ messages[0]['content'][1]['text'] }} Answer:", "can't read an image in the prompt of its chat template ("),
    ],
)  # fmt: skip
def test_a_template_that_can_not_ask_is_refused_by_name_with_a_way_out(
    text: str | None, reason: str, loaded: LoadedBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = with_template(loaded, text, monkeypatch)
    with pytest.raises(UserError) as caught:
        prove_contract(asked.processor, asked.model, asked.identity)
    assert str(caught.value).startswith("model.path: ")
    assert "'mine'" in str(caught.value)
    assert reason in str(caught.value)


def test_a_model_that_would_never_stop_is_refused_before_any_job(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "endless"
    shutil.copytree(folder, broken)
    for file, key in (("generation_config.json", "eos_token_id"), ("tokenizer_config.json", "eos_token")):
        settings = json.loads((broken / file).read_text())
        settings.pop(key, None)
        (broken / file).write_text(json.dumps(settings))
    config = json.loads((broken / "config.json").read_text())
    config["text_config"]["eos_token_id"] = None
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="^model.path: 'mine' names no token that ends a turn.*generation_config.json"):
        load_backbone(name(broken))


def test_a_processor_that_cuts_prompts_is_refused_before_any_job(
    loaded: LoadedBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = type(loaded.processor).__call__

    def cut(self: Any, *arguments: Any, **options: Any) -> Any:
        given = whole(self, *arguments, **options)
        return {**given, "input_ids": [row[-300:] for row in given["input_ids"]]}

    monkeypatch.setattr(type(loaded.processor), "__call__", cut)
    with pytest.raises(UserError, match="^model.path: the processor of 'mine' cuts long prompts"):
        prove_contract(loaded.processor, loaded.model, loaded.identity)


def test_a_contract_tells_what_is_trained_on(loaded: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = prove_contract(loaded.processor, loaded.model, loaded.identity)
    assert contract.trained_on == ("A", "<|im_end|>")
    assert contract.prompt.startswith("<|im_start|>user\n<|vision_start|>")
    assert contract.prompt.endswith("<|im_start|>assistant\n")
    text = LLAVA.text.replace("<image>", QWEN_IMAGE)
    contract = prove_contract(with_template(loaded, text, monkeypatch).processor, loaded.model, loaded.identity)
    assert contract.trained_on == (" ", "A", "</s>")
    assert contract.num_lead == 1
