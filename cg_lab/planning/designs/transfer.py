"""Train on each subset or on a few together, ask about every target (task affinity, Taskonomy, arXiv 1804.08328)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

from pydantic import PositiveInt

from cg_lab.arms import Arm
from cg_lab.errors import UserError, suggest
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Skipped, Training
from cg_lab.planning.posing import ENUMERATED, choose, covers, list_or_draw
from cg_lab.study import DesignSettings

KEY = "transfer"
"""Of the hash that draws mixtures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """Which mixtures are trained on."""

    sizes: tuple[PositiveInt, ...]
    """Numbers of subsets that are mixed; 1 trains on each subset alone."""
    per_size: PositiveInt | None
    """Mixtures of each size that are drawn; None takes all."""
    mixtures: tuple[tuple[str, ...], ...]
    """Further mixtures, by the names of their subsets."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast | Skipped]:
    """Train once on each mixture, and ask its model about every target of which the mixture shows nothing.

    The number of samples depends on the mixture alone, so that all targets share its fine-tune, and `alone` arms of
    other designs too.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> graph = make_graph("CT Brain Mass", "CT Lung Side", "US Breast Side")
    >>> settings = Settings(
    ...     name="transfer", kinds=("classification",), max_samples=9, sizes=(1,), per_size=None, mixtures=()
    ... )
    >>> [(question.related, question.target) for question in find(graph, graph.subsets[:2], settings)]
    [(('ct-brain-mass',), 'ct-lung-side'), (('ct-lung-side',), 'ct-brain-mass'), (('us-breast-side',), 'ct-brain-mass'), (('us-breast-side',), 'ct-lung-side')]

    """  # noqa: E501 - what the example prints
    for mixture in _list_mixtures(graph, settings):
        sources = graph.gather(mixture)
        size = min(settings.max_samples, graph.count_train(sources))
        if size < len(mixture):
            yield from (
                Skipped(
                    target=target.name,
                    question=_name(target, mixture),
                    reason=f"{size} training samples can't be spread over {len(mixture)} subsets",
                )
                for target in targets
            )
            continue
        training = Training(arm=Arm.RELATED, subsets=mixture, num_samples=size)
        for target in targets:
            if sources & (graph.bit(target) | graph.twins(target)):
                continue
            yield Contrast(
                id=_name(target, mixture),
                design=settings.name,
                target=target.name,
                view=target.own,
                trainings=(training,),
                unrelated=graph.unrelated_pool(target).names,
                fully_covered=covers(graph, target.own, mixture, size),
            )


def explain_absence(settings: Settings) -> str:
    """Say what a target would have needed."""
    sizes = " or ".join(map(str, settings.sizes)) or "the named"
    return f"every mixture of {sizes} subsets shows it, or a subset that counts as it"


def _name(target: Subset, mixture: tuple[str, ...]) -> str:
    return f"{target.name}/{'+'.join(mixture)}"


def _list_mixtures(graph: MatGraph, settings: Settings) -> list[tuple[str, ...]]:
    """List the mixtures in order of size and name; each subset in them has training samples."""
    filled = graph.names(graph.filled)
    found: dict[tuple[str, ...], None] = {}
    for size in sorted({*settings.sizes}):
        picks = combinations(filled, size)
        if settings.per_size is not None and comb(len(filled), size) > ENUMERATED:
            picks = {
                tuple(sorted(pick)) for pick in list_or_draw((filled,) * size, settings.per_size, [KEY, str(size)])
            }
        found |= dict.fromkeys(choose(picks, settings.per_size, [KEY, str(size)]))
    for mixture in settings.mixtures:
        for name in mixture:
            if name not in graph.index:
                raise UserError(f"design.mixtures: no subset '{name}'; {suggest(name, graph.index)}")
            if name not in filled:
                raise UserError(f"design.mixtures: subset '{name}' has no training samples")
        found[tuple(sorted({*mixture}))] = None
    return sorted(found, key=lambda mixture: (len(mixture), mixture))
