"""Log-likelihood of every option of a question in one forward pass, the prompt and its image read once."""

from __future__ import annotations

import torch

from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.encoding import Example
from cg_lab.questions import AnswerForm


@torch.inference_mode()
def score_options(backbone: LoadedBackbone, examples: list[Example], batch_size: int) -> list[tuple[float, ...]]:
    """Score the options of each question.

    A letter counts by its first token. An option's text counts by all of its tokens and the turn's end. The options
    of a question follow its prompt side by side: each sees the prompt and itself, none sees another.

    Returns
    -------
    For each question, the natural log-likelihood of each option, in the options' order; not normalised.

    """
    backbone.model.eval()
    order = sorted(range(len(examples)), key=lambda index: (len(examples[index].prompt), index))
    scores: list[tuple[float, ...]] = [()] * len(examples)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        for row, score in zip(rows, _score_batch(backbone, [examples[row] for row in rows]), strict=True):
            scores[row] = score
    return scores


def _score_batch(backbone: LoadedBackbone, examples: list[Example]) -> list[tuple[float, ...]]:
    letters = backbone.identity.answer is AnswerForm.LETTER
    options = [[option[:1] if letters else option for option in example.options] for example in examples]
    layouts = [_lay_out(example.prompt, choices) for example, choices in zip(examples, options, strict=True)]
    longest = max(len(layout.ids) for layout in layouts)
    model = backbone.model
    ids_BT = torch.full((len(layouts), longest), backbone.processor.tokenizer.pad_token_id)
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
    hidden_BTD = model.model(
        input_ids=ids_BT.to(model.device),
        pixel_values=torch.stack([example.pixels for example in examples]).to(model.device, model.dtype),
        attention_mask=torch.where(sees_BTT, 0.0, smallest)[:, None].to(model.device, model.dtype),
        position_ids=positions_BT.to(model.device),
    ).last_hidden_state
    row_N = torch.tensor([row for row, layout in enumerate(layouts) for _ in layout.sources])
    source_N = torch.tensor([source for layout in layouts for source in layout.sources])
    token_N = torch.tensor([token for layout in layouts for token in layout.tokens])
    logits_NV = model.lm_head(hidden_BTD[row_N, source_N]).float().cpu()
    gained_N = logits_NV.log_softmax(dim=-1).gather(1, token_N[:, None])[:, 0].tolist()
    values = iter(gained_N)
    return [tuple(sum(next(values) for _ in option) for option in choices) for choices in options]


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
