"""Seeds of an arm on top of each other, and pairs of arms on the seeds that both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cg_lab.analysis.bootstrap import FloatArray, Scores, subtract
from cg_lab.planning.plan import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Scores of an arm, or of a pair of arms, with a row for each seed."""

    seeds: tuple[int, ...]
    """Of the rows, ascending; empty for the one row of the untouched backbone."""
    scores: Scores
    models: tuple[str, ...] = ()
    """Ids of the rows' fine-tunes, of merged ones together; empty without seeds."""

    @property
    def mean(self) -> float:
        """Over seeds and questions."""
        return float(self.scores.correct_SQ.mean())

    @property
    def means_S(self) -> FloatArray:
        """Over questions, for each seed."""
        return np.asarray(self.scores.correct_SQ.mean(axis=1), dtype=np.float64)


def stack_seeds(cells: Sequence[Cell], scores: Mapping[str, Scores]) -> Stack | None:
    """Put an arm's seeds on top of each other; None if none has been scored."""
    scored = sorted((cell for cell in cells if cell.eval_job in scores), key=lambda cell: cell.seed or 0)
    if not scored:
        return None
    parts = [scores[cell.eval_job] for cell in scored]
    assert all(part.questions == parts[0].questions for part in parts)
    together = Scores(
        questions=parts[0].questions,
        groups=parts[0].groups,
        correct_SQ=np.concatenate([part.correct_SQ for part in parts]),
    )
    return Stack(
        seeds=tuple(cell.seed for cell in scored if cell.seed is not None),
        scores=together,
        models=tuple("+".join(cell.finetunes) for cell in scored if cell.finetunes),
    )


def keep_seeds(stack: Stack, num_seeds: int) -> Stack:
    """Give the first seeds alone."""
    if len(stack.seeds) <= num_seeds:
        return stack
    seeds = stack.seeds[:num_seeds]
    return Stack(seeds=seeds, scores=take_seeds(stack, seeds), models=stack.models[:num_seeds])


def pair_stacks(first: Stack | None, second: Stack | None) -> Stack | None:
    """Subtract an arm from another on the seeds that both have; an arm without seeds meets them all."""
    if first is None or second is None:
        return None
    seeds = first.seeds or second.seeds
    if first.seeds and second.seeds:
        seeds = tuple(seed for seed in first.seeds if seed in second.seeds)
        if not seeds:
            return None
    return Stack(seeds=seeds, scores=subtract(take_seeds(first, seeds), take_seeds(second, seeds)))


def take_seeds(stack: Stack, seeds: tuple[int, ...]) -> Scores:
    """Give the rows of some seeds; the one row of the untouched backbone stands for all."""
    if not stack.seeds or stack.seeds == seeds:
        return stack.scores
    rows = [stack.seeds.index(seed) for seed in seeds]
    return Scores(
        questions=stack.scores.questions, groups=stack.scores.groups, correct_SQ=stack.scores.correct_SQ[rows]
    )
