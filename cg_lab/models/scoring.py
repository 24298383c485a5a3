"""Log-likelihood of every option of a question in one forward pass, the prompt and its image read once."""

from __future__ import annotations

from collections.abc import Callable

import torch

from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.encoding import Example, collate
from cg_lab.questions import AnswerForm

SIDE_BY_SIDE = ("llava",)
"""Architectures whose attention takes a mask that hides the options of a question from each other."""


@torch.inference_mode()
def score_options(backbone: LoadedBackbone, examples: list[Example], batch_size: int) -> list[tuple[float, ...]]:
    """Score the options of each question.

    A letter counts by its token, read at the prompt's end. An option's text counts by all of its tokens and the turn's
    end. The texts of a question follow its prompt side by side where the architecture allows: each sees the prompt and
    itself, none sees another. Elsewhere each has a forward pass of its own.

    Returns
    -------
    For each question, the natural log-likelihood of each option, in the options' order; not normalised.

    """
    backbone.model.eval()
    order = sorted(range(len(examples)), key=lambda index: (len(examples[index].prompt), index))
    score = _choose_way(backbone)
    scores: list[tuple[float, ...]] = [()] * len(examples)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        for row, found in zip(rows, score(backbone, [examples[row] for row in rows]), strict=True):
            scores[row] = found
    return scores


def _choose_way(backbone: LoadedBackbone) -> Callable[[LoadedBackbone, list[Example]], list[tuple[float, ...]]]:
    if backbone.identity.answer is AnswerForm.LETTER:
        return _score_letters
    return _score_texts if backbone.model.config.model_type in SIDE_BY_SIDE else _score_texts_apart


def _score_letters(backbone: LoadedBackbone, examples: list[Example]) -> list[tuple[float, ...]]:
    """Read the next token after each prompt: one forward for all options of all questions."""
    hidden_BTD = _run(backbone, collate(examples, [()] * len(examples), _pad_id(backbone)))
    ends_B = torch.tensor([len(example.prompt) - 1 for example in examples])
    logits_BV = backbone.model.lm_head(hidden_BTD[torch.arange(len(examples)), ends_B]).float().cpu()
    gained_BV = logits_BV.log_softmax(dim=-1)
    return [
        tuple(gained_BV[row, [option[0] for option in example.options]].tolist())
        for row, example in enumerate(examples)
    ]


def _score_texts_apart(backbone: LoadedBackbone, examples: list[Example]) -> list[tuple[float, ...]]:
    """Score each option in a forward pass of its own."""
    scores: list[list[float]] = [[] for _ in examples]
    for choice in range(max(len(example.options) for example in examples)):
        rows = [row for row, example in enumerate(examples) if choice < len(example.options)]
        chosen = [examples[row] for row in rows]
        endings = [example.options[choice] for example in chosen]
        hidden_BTD = _run(backbone, collate(chosen, endings, _pad_id(backbone)))
        for place, (row, example, ending) in enumerate(zip(rows, chosen, endings, strict=True)):
            start = len(example.prompt) - 1
            logits_NV = backbone.model.lm_head(hidden_BTD[place, start : start + len(ending)]).float().cpu()
            gained_NV = logits_NV.log_softmax(dim=-1)
            scores[row].append(float(gained_NV[torch.arange(len(ending)), list(ending)].sum()))
    return [tuple(found) for found in scores]


def _run(backbone: LoadedBackbone, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Run everything below the head."""
    model = backbone.model
    moved = {
        key: values.to(model.device, model.dtype if values.is_floating_point() else values.dtype)
        for key, values in batch.items()
    }
    return model.model(**moved).last_hidden_state


def _pad_id(backbone: LoadedBackbone) -> int:
    return backbone.processor.tokenizer.pad_token_id


def _score_texts(backbone: LoadedBackbone, examples: list[Example]) -> list[tuple[float, ...]]:
    layouts = [_lay_out(example.prompt, list(example.options)) for example in examples]
    longest = max(len(layout.ids) for layout in layouts)
    model = backbone.model
    ids_BT = torch.full((len(layouts), longest), _pad_id(backbone))
    positions_BT = torch.zeros_like(ids_BT)
    sees_BTT = torch.eye(longest, dtype=torch.bool).repeat(len(layouts), 1, 1)
    for row, layout in enumerate(layouts):
        length = len(layout.ids)
        ids_BT[row, :length] = torch.tensor(layout.ids)
        positions_BT[row, :length] = torch.tensor(layout.positions)
        branch = torch.tensor(layout.branches)
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        sees_BTT[row, :length, :length] = causal & ((branch[:, None] == branch[None, :]) | (branch == 0)[None, :])
    smallest = torch.finfo(model.dtype).min
    hidden_BTD = _run(
        backbone,
        {
            **collate(examples, [()] * len(examples), _pad_id(backbone)),
            "input_ids": ids_BT,
            "attention_mask": torch.where(sees_BTT, 0.0, smallest)[:, None],
            "position_ids": positions_BT,
        },
    )
    row_N = torch.tensor([row for row, layout in enumerate(layouts) for _ in layout.sources])
    source_N = torch.tensor([source for layout in layouts for source in layout.sources])
    token_N = torch.tensor([token for layout in layouts for token in layout.tokens])
    logits_NV = model.lm_head(hidden_BTD[row_N, source_N]).float().cpu()
    gained_N = logits_NV.log_softmax(dim=-1).gather(1, token_N[:, None])[:, 0].tolist()
    values = iter(gained_N)
    return [tuple(sum(next(values) for _ in option) for option in example.options) for example in examples]


class _Layout:
    """Where the tokens of one question and its options stand in one sequence."""

    def __init__(self, prompt: list[int]) -> None:
        self.ids = list(prompt)
        self.positions = list(range(len(prompt)))
        self.branches = [0] * len(prompt)
        """0 for the prompt, then the number of the option."""
        self.sources: list[int] = []
        """For each token of each option, the place whose output foretells it."""
        self.tokens: list[int] = []


def _lay_out(prompt: list[int], options: list[tuple[int, ...]]) -> _Layout:
    layout = _Layout(prompt)
    for number, option in enumerate(options, start=1):
        source = len(prompt) - 1
        for place, token in enumerate(option):
            layout.sources.append(source)
            layout.tokens.append(token)
            if place + 1 < len(option):
                source = len(layout.ids)
                layout.ids.append(token)
                layout.positions.append(len(prompt) + place)
                layout.branches.append(number)
    return layout
