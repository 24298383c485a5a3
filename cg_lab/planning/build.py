"""From studies to a plan: questions are posed once, compiled, and equal work becomes one job."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from cg_lab.arms import Arm
from cg_lab.catalog import Catalog
from cg_lab.errors import UserError
from cg_lab.mat import Subset
from cg_lab.planning.budget import OVER_BUDGET, choose_within
from cg_lab.planning.compile import Compiler, Draft
from cg_lab.planning.criterion import COMPARISONS, CRITERION
from cg_lab.planning.designs import load_design
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import PLAN_SCHEMA, Contrast, Plan, PlannedCatalog, Rates, Setting, Skipped
from cg_lab.planning.validity import Prover, is_askable
from cg_lab.serialize import to_plain
from cg_lab.study import Backbone, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One configuration to plan: the only one, or one of a multirun."""

    name: str
    """What tells it from the others; empty for the only one."""
    study: Study
    catalog: Catalog
    backbone: Backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class _Questions:
    """What a design asks over a catalogue; the same for every run that differs in neither."""

    contrasts: tuple[Contrast, ...]
    skipped: tuple[Skipped, ...]


@contextmanager
def _without_scans() -> Generator[None]:
    """Keep Python from searching for cycles meanwhile: plans have none, and looking takes a sixth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_without_scans()
def build_plan(runs: Sequence[Run]) -> Plan:
    """Plan one or more configurations together; the same input gives the same plan, byte for byte.

    Equal work is one job, over arms, targets, designs and runs.

    Raises
    ------
    UserError
        If a named target is unknown or has no valid sources, if no target has any, or if a cell is not valid.

    """
    first = runs[0].study
    catalogs: list[Catalog] = []
    graphs: dict[tuple[object, ...], MatGraph] = {}
    provers: dict[tuple[object, ...], Prover] = {}
    asked: dict[tuple[object, ...], _Questions] = {}
    settings: list[Setting] = []
    posed: list[tuple[Contrast, Compiler]] = []
    skipped: list[Skipped] = []
    for run in runs:
        study = run.study
        if run.catalog not in catalogs:
            catalogs.append(run.catalog)
        place = catalogs.index(run.catalog)
        graph_key = (place, study.twins, study.design.kinds)
        if graph_key not in graphs:
            graphs[graph_key] = build_graph(run.catalog, study)
            provers[graph_key] = Prover(run.catalog, graphs[graph_key])
        key = (*graph_key, study.design, study.targets)
        if key not in asked:
            asked[key] = _ask(run, graphs[graph_key])
        compiler = Compiler(study, run.catalog, graphs[graph_key], provers[graph_key], run.backbone)
        posed += [(_name(compiler.restrict(part), run.name), compiler) for part in asked[key].contrasts]
        skipped += [replace(part, setting=run.name) for part in asked[key].skipped]
        settings.append(
            Setting(
                name=run.name,
                catalog=place,
                backbone=run.backbone,
                recipe=study.finetune,
                design=to_plain(study.design),
                rates=Rates(
                    train_samples_per_s=study.model.train_samples_per_s,
                    eval_samples_per_s=study.model.eval_samples_per_s,
                    checkpoint_gb=study.model.checkpoint_gb,
                    adapter_mb=study.model.adapter_mb,
                ),
            )
        )
    if first.budget.is_set:
        kept = choose_within([compiler.weigh(contrast) for contrast, compiler in posed], first.budget)
        skipped += [
            Skipped(target=contrast.target, reason=OVER_BUDGET, question=contrast.id, setting=contrast.setting)
            for contrast, _ in posed
            if contrast.id not in kept
        ]
        posed = [(contrast, compiler) for contrast, compiler in posed if contrast.id in kept]
    drafts = [draft for contrast, compiler in posed for draft in compiler.compile(contrast)]
    if not drafts:
        wanted = ", ".join(first.arms or ())
        raise UserError(f"arms: {first.design.name} offers none of {wanted} here; arms=null plans all that it offers")
    compiled = {draft.cell.contrast for draft in drafts}
    contrasts = [contrast for contrast, _ in posed if contrast.id in compiled]
    finetunes = {draft.finetune.id: draft.finetune for draft in drafts if draft.finetune}
    evaluations = {draft.evaluation.id: draft.evaluation for draft in drafts}
    declared = sum(draft.finetune is not None and draft.cell.arm not in {Arm.BLIND, Arm.SOURCES} for draft in drafts)
    return Plan(
        schema=PLAN_SCHEMA,
        study=first.study,
        rule=first.rule,
        criterion=CRITERION,
        comparisons=COMPARISONS,
        settings=tuple(settings),
        catalogs=tuple(describe(catalog) for catalog in catalogs),
        contrasts=tuple(contrasts),
        cells=tuple(draft.cell for draft in drafts),
        finetunes=tuple(finetunes[job_id] for job_id in sorted(finetunes)),
        evals=tuple(evaluations[job_id] for job_id in sorted(evaluations)),
        skipped=tuple(skipped),
        num_declared_finetunes=declared,
    )


def stream_drafts(run: Run) -> Iterator[Draft]:
    """Give the cells of one configuration one by one, for studies that are too large to hold; a budget is not kept.

    Equal jobs come again with equal ids; who collects them merges them.
    """
    study, catalog = run.study, run.catalog
    graph = build_graph(catalog, study)
    compiler = Compiler(study, catalog, graph, Prover(catalog, graph), run.backbone)
    targets = tuple(target for target in find_targets(study, catalog, graph) if is_askable(target))
    for contrast in load_design(study.design.name).find(graph, targets, study.design):
        yield from compiler.compile(compiler.restrict(contrast))


def build_graph(catalog: Catalog, study: Study) -> MatGraph:
    """Make the graph of the subsets that a study's design looks at."""
    members = tuple(subset for subset in catalog.subsets if subset.kind in study.design.kinds)
    if not members:
        raise UserError(f"design.kinds: the catalogue has no subset of kind {' or '.join(study.design.kinds)}")
    return MatGraph(members, catalog.factors, strict=study.twins == "shared", tied=catalog.tied)


def find_targets(study: Study, catalog: Catalog, graph: MatGraph) -> tuple[Subset, ...]:
    """Give the subsets that a study holds out: those that it names, or all that have test samples."""
    if study.targets is None:
        return tuple(subset for subset in graph.subsets if is_askable(subset))
    targets = [catalog.find(name) for name in study.targets]
    outside = [target.name for target in targets if target.name not in graph.index]
    if outside:
        raise UserError(
            f"targets: '{outside[0]}' is a {catalog.find(outside[0]).kind} subset, "
            f"design.kinds has {', '.join(study.design.kinds)}"
        )
    return tuple(dict.fromkeys(targets))


def _ask(run: Run, graph: MatGraph) -> _Questions:
    study, catalog = run.study, run.catalog
    targets = find_targets(study, catalog, graph)
    design = load_design(study.design.name)
    askable = tuple(target for target in targets if is_askable(target))
    found = {contrast.id: contrast for contrast in design.find(graph, askable, study.design)}
    present = {contrast.target for contrast in found.values()}
    reason = design.explain_absence(study.design)
    skipped = tuple(
        Skipped(target=target.name, reason=reason if is_askable(target) else "it has no test samples")
        for target in targets
        if target.name not in present
    )
    if not found or (skipped and study.targets is not None):
        told = "\n".join(f"  - {part.target}: {part.reason}" for part in skipped[:20])
        where = f" ({run.name})" if run.name else ""
        raise UserError(
            f"targets: no valid sources in the catalogue under design={study.design.name}{where} for\n{told}"
        )
    return _Questions(contrasts=tuple(found.values()), skipped=skipped)


def _name(contrast: Contrast, setting: str) -> Contrast:
    """Make a question's id unique among the runs."""
    return replace(contrast, id=f"{setting}/{contrast.id}", setting=setting) if setting else contrast


def describe(catalog: Catalog) -> PlannedCatalog:
    """Give a catalogue as a plan keeps it."""
    return PlannedCatalog(
        data=catalog.data,
        factors=catalog.factors,
        tied=MatGraph(catalog.subsets, catalog.factors, tied=catalog.tied).tied,
        subsets=catalog.subsets,
        notes=catalog.notes,
    )
