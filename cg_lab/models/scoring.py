"""Log-likelihood of every option of a question: what prompts have in common, image and all, is read once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.batches import PREFIXED, Example, collate, move_batch, without_mask
from cg_lab.models.branches import Branch, Bunch, branching, lay_side_by_side
from cg_lab.models.head import compute_log_probs
from cg_lab.models.reading import reading_in_places
from cg_lab.models.tower import hand_to_tower, playing_back
from cg_lab.questions import AnswerForm

SIDE_BY_SIDE = ("llava",)
"""Architectures whose attention is causal and transformers' own, so that branches behind a trunk fit in one row."""
APART = ("mllama",)
"""Architectures that can't go on from a trunk's keys and values without its image; elsewhere these are kept."""

Turns = Sequence[Example]
"""One question in several orders of its options; with one image."""


@torch.inference_mode()
def score_options(
    backbone: LoadedBackbone, asked: Sequence[Turns], batch_size: int
) -> list[tuple[tuple[float, ...], ...]]:
    """Score the options of each question, in each order in which it is asked.

    A letter counts by its token, read behind the prompt and what leads to any answer. An option's text counts by all of
    its tokens and the turn's end. Both are read in float32 from the head on. The beginning that the prompts of a
    question share is read once.

    Returns
    -------
    For each question and each of its orders, the natural log-likelihood of each option, in that order; not normalised.

    """
    if backbone.model.config.model_type in PREFIXED and any(len(turns) > 1 for turns in asked):
        # What prompts share is read otherwise before each end.
        alone = iter(score_options(backbone, [(turn,) for turns in asked for turn in turns], batch_size))
        return [tuple(next(alone)[0] for _ in turns) for turns in asked]
    backbone.model.eval()
    is_lettered = backbone.identity.answer is AnswerForm.LETTER
    trees = [_grow(turns, is_lettered=is_lettered) for turns in asked]
    score = _choose_way(backbone)
    # Side by side a question is one row, longer by each branch; elsewhere each of its continuations is a row.
    most = max(((tree.num_times if score is _score_side_by_side else tree.num_rows) for tree in trees), default=1)
    at_once = max(1, int(batch_size / most))
    order = sorted(range(len(trees)), key=lambda index: (trees[index].length, index))
    scores: list[tuple[tuple[float, ...], ...]] = [()] * len(trees)
    with playing_back(backbone), reading_in_places(backbone.model):
        for start in range(0, len(order), at_once):
            rows = order[start : start + at_once]
            found: dict[tuple[int, int, int], float] = defaultdict(float)
            for leaf, gained in score(backbone, [trees[row] for row in rows]):
                found[leaf] += gained
            for place, row in enumerate(rows):
                scores[row] = tuple(
                    tuple(found[place, number, choice] for choice in range(len(branch.leaves)))
                    for number, branch in enumerate(trees[row].branches)
                )
    return scores


def _choose_way(backbone: LoadedBackbone) -> Callable[[LoadedBackbone, list[_Tree]], Iterator[Gain]]:
    config = backbone.model.config
    # Sliding windows count places, not positions: padding behind a trunk would count as distance.
    is_sliding = "sliding_attention" in (getattr(config.get_text_config(), "layer_types", None) or ())
    if is_sliding or config.model_type in (*APART, *PREFIXED):
        return _score_apart
    return _score_side_by_side if config.model_type in SIDE_BY_SIDE else _score_behind_trunks


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """All prompts of a question with all of their options."""

    trunk: Example
    """What they begin with."""
    branches: list[Branch]
    """What follows in each order of the options: these, and the tokens of each option that count."""

    @property
    def length(self) -> int:
        """Tokens if everything stands side by side."""
        return len(self.trunk.prompt) + sum(len(branch.stem) for branch in self.branches)

    @property
    def num_times(self) -> float:
        """Tokens of all orders for each token of one."""
        return self.length / (len(self.trunk.prompt) + len(self.branches[0].stem))

    @property
    def num_rows(self) -> int:
        """Rows that it takes with one continuation each."""
        return sum(len(_list_twigs(branch)) for branch in self.branches)


Gain = tuple[tuple[int, int, int], float]
"""Tree, branch and leaf, and the log-likelihood of one of its tokens."""


def _grow(turns: Turns, *, is_lettered: bool) -> _Tree:
    prompts = [turn.prompt for turn in turns]
    shared = len(prompts[0])
    if len(prompts) > 1:
        columns = zip(*prompts, strict=False)
        shared = next((place for place, column in enumerate(columns) if len(set(column)) > 1), min(map(len, prompts)))
    first = turns[0]
    trunk = replace(
        first, prompt=first.prompt[:shared], tokens={key: values[:shared] for key, values in first.tokens.items()}
    )
    branches = [
        Branch(
            stem=[*turn.prompt[shared:], *turn.options[0][: turn.lead]],
            leaves=[option[turn.lead :][: 1 if is_lettered else None] for option in turn.options],
        )
        for turn in turns
    ]
    return _Tree(trunk=trunk, branches=branches)


@dataclass(frozen=True, slots=True)
class _Twig:
    """One continuation of a trunk, and which of its tokens tell of which leaf."""

    tokens: list[int]
    readings: list[tuple[int, int, int]]
    """Place whose output foretells the token, counted from the trunk's last one; the token; the leaf."""


def _list_twigs(branch: Branch) -> list[_Twig]:
    """List a branch's continuations: one if every leaf is a single token, else one for each leaf."""
    end = len(branch.stem)
    if all(len(leaf) == 1 for leaf in branch.leaves):
        return [_Twig(branch.stem, [(end, leaf[0], choice) for choice, leaf in enumerate(branch.leaves)])]
    return [
        _Twig([*branch.stem, *leaf[:-1]], [(end + place, token, choice) for place, token in enumerate(leaf)])
        for choice, leaf in enumerate(branch.leaves)
    ]


def _list_rows(trees: list[_Tree]) -> list[tuple[int, int, _Twig]]:
    return [
        (number, place, twig)
        for number, tree in enumerate(trees)
        for place, branch in enumerate(tree.branches)
        for twig in _list_twigs(branch)
    ]


def _score_apart(backbone: LoadedBackbone, trees: list[_Tree]) -> Iterator[Gain]:
    """Give every continuation a forward pass with its trunk."""
    rows = _list_rows(trees)
    batch = collate(
        [trees[number].trunk for number, _, _ in rows], [tuple(twig.tokens) for _, _, twig in rows], _pad_id(backbone)
    )
    starts = [len(trees[number].trunk.prompt) - 1 for number, _, _ in rows]
    picks = _pick(rows, starts)
    inputs = without_mask(backbone.model, batch)
    yield from _foretell(backbone, _run(backbone, inputs, _list_places(picks)).last_hidden_state, picks)


def _score_behind_trunks(backbone: LoadedBackbone, trees: list[_Tree]) -> Iterator[Gain]:
    """Read the trunks once and go on from their keys and values; with one continuation each, in one pass."""
    rows = _list_rows(trees)
    if len(rows) == len(trees):
        yield from _score_apart(backbone, trees)
        return
    batch = collate([tree.trunk for tree in trees], [()] * len(trees), _pad_id(backbone))
    ends = [(number, len(tree.trunk.prompt) - 1) for number, tree in enumerate(trees)]
    trunk = _run(backbone, batch, ends, use_cache=True)
    owner_R = torch.tensor([number for number, _, _ in rows])
    length_R = batch["attention_mask"].sum(dim=1)[owner_R]
    longest = max(len(twig.tokens) for _, _, twig in rows)
    # The trunk's last token goes first once more where a row has none of its own.
    width = max(longest, 1)
    ids_RT = torch.full((len(rows), width), _pad_id(backbone))
    here_RT = torch.zeros_like(ids_RT)
    for row, (_, _, twig) in enumerate(rows):
        ids_RT[row, : len(twig.tokens)] = torch.tensor(twig.tokens, dtype=ids_RT.dtype)
        here_RT[row, : len(twig.tokens)] = 1
    positions_RT = length_R[:, None] + torch.arange(width)
    shift_B = getattr(backbone.model.model, "rope_deltas", None)
    if shift_B is not None:  # positions run on in time, height and width together behind an image
        positions_RT = (positions_RT + shift_B.cpu().reshape(-1)[owner_R][:, None]).expand(3, -1, -1)
    end_BD = trunk.last_hidden_state[torch.arange(len(trees)), batch["attention_mask"].sum(dim=1) - 1]
    cache = trunk.past_key_values
    cache.batch_select_indices(owner_R.to(backbone.model.device))
    hidden_RTD = _run(
        backbone,
        {
            "input_ids": ids_RT,
            "attention_mask": torch.cat([batch["attention_mask"][owner_R], here_RT], dim=1),
            "position_ids": positions_RT,
        },
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    hidden_RTD = torch.cat([end_BD[owner_R.to(end_BD.device)][:, None], hidden_RTD], dim=1)
    yield from _foretell(backbone, hidden_RTD, _pick(rows, [0] * len(rows)))


Pick = tuple[tuple[int, int, int], tuple[int, int], int]
"""A leaf, the row and place whose output foretells one of its tokens, and the token."""


def _pick(rows: list[tuple[int, int, _Twig]], starts: list[int]) -> list[Pick]:
    """Say where each token of each leaf is foretold."""
    return [
        ((number, branch, choice), (row, starts[row] + place), token)
        for row, (number, branch, twig) in enumerate(rows)
        for place, token, choice in twig.readings
    ]


def _list_places(picks: Sequence[Pick]) -> list[tuple[int, int]]:
    """List rows and places, each once: several leaves may be foretold in one."""
    return list(dict.fromkeys(place for _, place, _ in picks))


def _run(
    backbone: LoadedBackbone, batch: dict[str, torch.Tensor], read: Sequence[tuple[int, int]] | None = None, **more: Any
) -> Any:
    """Run everything below the head, the last layer only where it is read, or everywhere."""
    model = backbone.model
    model.read_places = None if read is None else torch.tensor(read, device=model.device).unbind(dim=1)
    return model.model(**hand_to_tower(model, move_batch(model, batch)), **more)


def _foretell(backbone: LoadedBackbone, hidden_BTD: torch.Tensor, picks: Sequence[Pick]) -> Iterator[Gain]:
    """Give log-probabilities of tokens behind some places; the head runs once for each place."""
    places = {place: number for number, place in enumerate(_list_places(picks))}
    device = hidden_BTD.device
    row_N, place_N = torch.tensor(list(places), device=device).unbind(dim=1)
    number_P = torch.tensor([places[place] for _, place, _ in picks], device=device)
    token_P = torch.tensor([token for _, _, token in picks], device=device)
    gained_P = compute_log_probs(backbone.model, hidden_BTD[row_N, place_N], number_P, token_P)
    yield from zip((leaf for leaf, _, _ in picks), gained_P.tolist(), strict=True)


def _pad_id(backbone: LoadedBackbone) -> int:
    return backbone.processor.tokenizer.pad_token_id


def _score_side_by_side(backbone: LoadedBackbone, trees: list[_Tree]) -> Iterator[Gain]:
    """Lay all of a question in one row: each branch sees the trunk and itself, each leaf its stem as well.

    Where nothing is to be parted, an ordinary pass is faster.
    """
    if all(tree.num_rows == 1 for tree in trees):
        yield from _score_apart(backbone, trees)
        return
    bunch = lay_side_by_side(
        [tree.trunk.prompt for tree in trees], [tree.branches for tree in trees], _pad_id(backbone)
    )
    image = collate([tree.trunk for tree in trees], [()] * len(trees), _pad_id(backbone))
    picks = [
        ((number, place, choice), (number, where), token)
        for number, tree in enumerate(trees)
        for place, branch in enumerate(tree.branches)
        for where, token, choice in _list_readings(bunch, tree, place, branch)
    ]
    with branching(backbone.model):
        hidden_BTD = _run(backbone, image | bunch.inputs, _list_places(picks)).last_hidden_state
    yield from _foretell(backbone, hidden_BTD, picks)


def _list_readings(bunch: Bunch, tree: _Tree, place: int, branch: Branch) -> Iterator[tuple[int, int, int]]:
    """Say in which place of a row each token of a branch's leaves is foretold: place, token, leaf."""
    end = bunch.find(place, len(branch.stem) - 1) if branch.stem else len(tree.trunk.prompt) - 1
    start = bunch.find(place, len(branch.stem))
    for choice, leaf in enumerate(branch.leaves):
        yield end, leaf[0], choice
        yield from ((start + step, token, choice) for step, token in enumerate(leaf[1:]))
        start += len(leaf) - 1
