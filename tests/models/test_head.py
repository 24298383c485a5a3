"""Log-probabilities that bfloat16 does not round to ties."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cg_lab.models import head
from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.batches import Example, collate, move_batch
from cg_lab.models.encoding import encode_questions
from cg_lab.models.head import compute_log_probs, compute_logits
from cg_lab.models.scoring import score_options
from cg_lab.questions import AnswerForm, Question
from tests.models.test_scoring import make_images


def make_model(dtype: torch.dtype, kind: str = "llava", bias: bool = False, **text: Any) -> Any:
    torch.manual_seed(0)
    lm_head = torch.nn.Linear(8, 50, bias=bias).to(dtype)
    config = SimpleNamespace(model_type=kind, get_text_config=lambda: SimpleNamespace(**text))
    return SimpleNamespace(lm_head=lm_head, config=config)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("kind", "text"),
    [("llava", {}), ("paligemma", {"final_logit_softcapping": 3.0}), ("granite4_vision", {"logits_scaling": 4.0})],
)
def test_a_head_in_bfloat16_is_read_in_float32_a_few_rows_at_a_time(
    kind: str,
    text: dict[str, float],
    bias: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    half = make_model(torch.bfloat16, kind, bias, **text)
    wide = SimpleNamespace(config=half.config, lm_head=deepcopy(half.lm_head).float())
    hidden_ND = (20 * torch.randn(6, 8)).to(torch.bfloat16)
    place_P, token_P = torch.tensor([0, 0, 1, 5, 5]), torch.tensor([0, 49, 7, 30, 31])
    expected = compute_logits(wide, hidden_ND.float()).log_softmax(-1)[place_P, token_P]
    for chunk in (7, 50, 1000):
        monkeypatch.setattr(head, "CHUNK", chunk)
        assert torch.allclose(compute_log_probs(half, hidden_ND, place_P, token_P), expected, atol=1e-5)
    assert compute_log_probs(wide, hidden_ND.float(), place_P, token_P).equal(expected)


def make_half(backbone: LoadedBackbone) -> LoadedBackbone:
    return replace(
        backbone,
        model=deepcopy(backbone.model).to(torch.bfloat16),
        untouched={},
        identity=replace(backbone.identity, answer=AnswerForm.LETTER),
    )


def ask(backbone: LoadedBackbone, count: int) -> list[Example]:
    questions = [
        Question(text=f"What is shown in number {n}?", options=("circle", "square", "ring", "cross"), answer=0)
        for n in range(count)
    ]
    return encode_questions(backbone, questions, make_images(count))


def test_letters_of_a_model_in_bfloat16_tie_no_more_than_in_float32(backbone: LoadedBackbone) -> None:
    half = make_half(backbone)
    rows = [row for (row,) in score_options(half, [(example,) for example in ask(half, 48)], 16)]
    assert not any(len(set(row)) < len(row) for row in rows)


@torch.inference_mode()
def test_letters_of_a_model_in_bfloat16_are_rounded_as_its_own_forward_rounds_and_no_more(
    backbone: LoadedBackbone,
) -> None:
    half = make_half(backbone)
    examples = ask(half, 16)
    scores = torch.tensor([row for (row,) in score_options(half, [(example,) for example in examples], 16)])
    pad_id = half.processor.tokenizer.pad_token_id
    batch = move_batch(half.model, collate(examples, [one.options[0][: one.lead] for one in examples], pad_id))
    hidden_BTD = half.model.model(**batch).last_hidden_state
    ends_B = batch["attention_mask"].sum(dim=1) - 1
    logits_BV = hidden_BTD[torch.arange(len(examples)), ends_B].float() @ half.model.lm_head.weight.float().T
    own = logits_BV.log_softmax(-1)
    letters = torch.tensor([[option[one.lead] for option in one.options] for one in examples])
    assert torch.allclose(scores, own.gather(1, letters), atol=1e-5)
