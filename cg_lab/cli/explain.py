"""`explain TARGET`: tell in words what a target is, who is related to it, and why it is asked about as it is."""

from __future__ import annotations

from dataclasses import dataclass

from cg_lab.catalog import Catalog
from cg_lab.errors import UserError
from cg_lab.mat import Subset
from cg_lab.percentages import percent
from cg_lab.planning.build import build_graph, find_targets
from cg_lab.planning.designs import load_design
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Skipped
from cg_lab.planning.proof import compute_detectable_gain, is_askable
from cg_lab.reporting.names import name_arm
from cg_lab.study import Study

SCHEMA = 1
"""Of what `--json` prints; raised when a field goes or changes its meaning."""
MOST_QUESTIONS = 6
"""Held-out questions that are told one by one."""
MOST_NAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAnswer:
    """One held-out question about a target."""

    question: str
    """Its id."""
    related: tuple[str, ...]
    """Subsets that it is trained on."""
    is_fully_covered: bool
    trainings: dict[str, tuple[str, ...]]
    """Subsets of each arm, by the arm's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetAnswer:
    """Why a target is asked about as it is."""

    schema: int = SCHEMA
    target: str
    elements: dict[str, tuple[str, ...]]
    """Its values of each factor, its own first."""
    num_train: int
    num_test: int
    twins: tuple[str, ...]
    """Subsets that count as the target itself."""
    related: tuple[str, ...]
    """Subsets that share an element."""
    design: str
    questions: tuple[QuestionAnswer, ...]
    not_asked: tuple[str, ...]
    """Reasons why something can't be asked."""


def explain_target(name: str, study: Study, catalog: Catalog) -> None:
    """Print why a target has the sources that it has under a study's design.

    Raises
    ------
    UserError
        If the catalogue has no such subset.

    """
    target, graph = _find(name, study, catalog)
    print("\n".join(_describe(target, graph, catalog)))
    design = load_design(study.design.name)
    if not is_askable(target):
        print("\nIt has no test samples, so that it can't be held out.")
        return
    posed = _pose(target, graph, study, catalog)
    found = [part for part in posed if isinstance(part, Contrast)]
    for part in posed:
        if isinstance(part, Skipped):
            print(f"\nUnder design={study.design.name} {part.question or 'it'} can't be asked: {part.reason}.")
    if not posed:
        print(
            f"\nUnder design={study.design.name} nothing can be asked about it: {design.explain_absence(study.design)}."
        )
        return
    if not found:
        return
    print(f"\nUnder design={study.design.name} it is held out in {len(found)} question{'s' if len(found) > 1 else ''}:")
    for contrast in found[:MOST_QUESTIONS]:
        print("\n" + "\n".join(_tell(contrast, graph)))
    if len(found) > MOST_QUESTIONS:
        print(f"\n... and {len(found) - MOST_QUESTIONS} more; `plan` lists all.")


def _find(name: str, study: Study, catalog: Catalog) -> tuple[Subset, MatGraph]:
    target = catalog.find(name)
    graph = build_graph(catalog, study)
    if target.name not in graph.index:
        raise UserError(f"'{target.name}' is a {target.kind} subset; design.kinds has {', '.join(study.design.kinds)}")
    return target, graph


def _pose(target: Subset, graph: MatGraph, study: Study, catalog: Catalog) -> list[Contrast | Skipped]:
    """Ask about a target under the study's design."""
    targets = find_targets(study, catalog, graph)
    if target not in targets:
        targets = (*targets, target)
    design = load_design(study.design.name)
    return [part for part in design.find(graph, targets, study.design) if part.target == target.name]


def read_target(name: str, study: Study, catalog: Catalog) -> TargetAnswer:
    """Give what `explain_target` tells, as data.

    Raises
    ------
    UserError
        If the catalogue has no such subset.

    """
    target, graph = _find(name, study, catalog)
    posed = _pose(target, graph, study, catalog) if is_askable(target) else []
    return TargetAnswer(
        target=target.name,
        elements=dict(zip(graph.factors, target.elements, strict=True)),
        num_train=target.num_train,
        num_test=target.num_test,
        twins=graph.names(graph.twins(target)),
        related=graph.names(graph.related(target)),
        design=study.design.name,
        questions=tuple(
            QuestionAnswer(
                question=part.id,
                related=part.related,
                is_fully_covered=part.fully_covered,
                trainings={name_arm(training.arm, training.variant): training.subsets for training in part.trainings},
            )
            for part in posed
            if isinstance(part, Contrast)
        ),
        not_asked=tuple(part.reason for part in posed if isinstance(part, Skipped)),
    )


def _describe(target: Subset, graph: MatGraph, catalog: Catalog) -> list[str]:
    lines = [f"{target.name}" + (f": {target.title}" if target.title else "")]
    for number, factor in enumerate(graph.factors):
        own, *tags = target.elements[number]
        also = f" (counts as {', '.join(tags)} too)" if tags else ""
        lines.append(f"  {factor:<10} {own}{also}; also in {_join(graph.names(graph.sharing(target, number)))}")
    twins = graph.names(graph.twins(target))
    lines.append(
        f"  twins      {_join(twins)}: they share an element of every factor and are never trained on for it"
        if twins
        else "  twins      none: no other subset counts as the target itself"
    )
    related, unrelated = graph.related(target).bit_count(), graph.unrelated_pool(target)
    lines.append(
        f"  related    {related} subsets share an element; {len(unrelated.names)} share none "
        f"({unrelated.num_train:,} training samples for the unrelated arm)"
    )
    lines.append(f"  samples    {target.num_train:,} to train a ceiling, {target.num_test:,} to test")
    if target.num_options:
        gain = compute_detectable_gain(target.chance, target.num_test)
        chance, shown = percent(target.chance), percent(gain)
        lines.append(f"  power      a guess reaches {chance}; one seed shows gains from {shown} (80 % power)")
    if catalog.overlaps is None:
        lines.append("  sides      not checked for shared images or patients: this catalogue has no images")
    return lines


def _tell(contrast: Contrast, graph: MatGraph) -> list[str]:
    direction = f"; shared by all: {contrast.direction}" if contrast.direction in graph.factors else ""
    lines = [f"{contrast.id}: asked as {' '.join(contrast.view)}{direction}"]
    for name in contrast.related[:MOST_NAMES]:
        shown = [
            f"{factor} {contrast.view[number]}"
            for number, factor in enumerate(graph.factors)
            if contrast.view[number] in graph[name].elements[number]
        ]
        lines.append(f"  {name} shows {' and '.join(shown) or 'nothing of it'}")
    if len(contrast.related) > MOST_NAMES:
        lines.append(f"  ... and {len(contrast.related) - MOST_NAMES} more sources")
    if contrast.sees_target:
        lines.append("  its own data are part of the training by intent, so that nothing is held out")
    elif not contrast.fully_covered:
        lines.append("  not every element is shown by a source: a gain would be transfer, not recombination")
    for training in contrast.trainings:
        extra = f" and {training.num_target:,} of the target" if training.num_target else ""
        lines.append(
            f"  {name_arm(training.arm, training.variant)}: {training.num_samples:,} samples of "
            f"{_join(training.subsets)}{extra}"
        )
    lines += [f"  {fact.name}: {fact.value}" for fact in contrast.facts]
    return lines


def _join(names: tuple[str, ...]) -> str:
    if not names:
        return "no other subset"
    return ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} subsets ({', '.join(names[:3])}, ...)"
