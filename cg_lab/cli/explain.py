"""`explain TARGET`: tell in words what a target is, who is related to it, and why it is asked about as it is."""

from __future__ import annotations

from cg_lab.catalog import Catalog
from cg_lab.errors import UserError
from cg_lab.mat import Subset
from cg_lab.planning.build import build_graph, find_targets
from cg_lab.planning.designs import load_design
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Skipped
from cg_lab.planning.proof import compute_detectable_gain, is_askable
from cg_lab.reporting.names import name_arm
from cg_lab.study import Study

MOST_QUESTIONS = 6
"""Held-out questions that are told one by one."""
MOST_NAMES = 8


def explain_target(name: str, study: Study, catalog: Catalog) -> None:
    """Print why a target has the sources that it has under a study's design.

    Raises
    ------
    UserError
        If the catalogue has no such subset.

    """
    target = catalog.find(name)
    graph = build_graph(catalog, study)
    if target.name not in graph.index:
        raise UserError(f"'{target.name}' is a {target.kind} subset; design.kinds has {', '.join(study.design.kinds)}")
    print("\n".join(_describe(target, graph, catalog)))
    design = load_design(study.design.name)
    if not is_askable(target):
        print("\nIt has no test samples, so that it can't be held out.")
        return
    targets = find_targets(study, catalog, graph)
    if target not in targets:
        targets = (*targets, target)
    posed = [part for part in design.find(graph, targets, study.design) if part.target == target.name]
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
        lines.append(
            f"  power      a guess reaches {target.chance:.0%}; one seed shows gains from {gain:.0%} (80 % power)"
        )
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
