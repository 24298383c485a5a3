"""`recommend TARGET`: which subsets to train on for a target, how well that is known, and how to try it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cg_lab.cli.arguments import Arguments
from cg_lab.cli.json_output import print_json
from cg_lab.cli.recommendation_text import MOST_TOLD, show_recommendation
from cg_lab.cli.runs import PlannedRun
from cg_lab.config import Request, compose
from cg_lab.errors import UserError
from cg_lab.planning.build import build_graph
from cg_lab.planning.schedule import schedule_epochs
from cg_lab.recommendation import Recommendation, rank_mixtures
from cg_lab.recommendation.finished_answers import Evidence, read_evidence
from cg_lab.recommendation.ranked_mixtures import prefer_validated, show_views
from cg_lab.recommendation.subset_features import add_features
from cg_lab.recommendation.subset_relations import relate_subsets
from cg_lab.recommendation.validation_answers import rank_validated
from cg_lab.results import Layout
from cg_lab.study import Backbone, Study

if TYPE_CHECKING:
    from cg_lab.execution.subset_views import SubsetViews

OWN_KEYS = ("budget.", "design", "targets=", "study=")
"""Of overrides that a sweep of a recommendation does not take over."""


def run_recommend(run: PlannedRun, arguments: Arguments) -> int:
    """Print which mixtures to train on for a target.

    Raises
    ------
    UserError
        If the catalogue has no such subset, or the design looks at none of its kind.

    """
    if arguments.json and arguments.confirms:
        raise UserError("recommend: --json prints data alone; leave it out to see how to --confirm")
    found = recommend(run, arguments.name, features=arguments.features, validation=arguments.validation)
    if arguments.json:
        print_json(found)
    else:
        show_recommendation(found, run.study)
    if arguments.confirms and found.mixtures:
        print(f"\ntry it:\n{_write_command(found, arguments.request)}")
    return 0


def recommend(run: PlannedRun, name: str, *, features: bool = False, validation: int = 0) -> Recommendation:
    """Rank the mixtures for a target from the catalogue and from what stands in the results folder.

    Parameters
    ----------
    run, name
        The catalogue and model, and the target.
    features
        Let the untouched model look at training images of each subset; what it sees is kept in the results folder.
    validation
        Training images of the target that may be looked at as well, and that fine-tunes are asked about; loads a model.

    """
    study, catalog = run.study, run.catalog
    assert catalog is not None
    if not isinstance(run.backbone, Backbone):
        raise UserError(
            f"recommend: '{study.model.name}' is asked at a server, not trained; take a model whose weights you have"
        )
    if validation < 0:
        raise UserError(f"recommend: --validation {validation}; it is a number of images, 1 or more")
    target = catalog.find(name)
    graph = build_graph(catalog, study)
    if target.name not in graph.index:
        raise UserError(f"'{target.name}' is a {target.kind} subset; design.kinds has {', '.join(study.design.kinds)}")
    layout, relations = Layout(Path(study.results_dir)), relate_subsets(graph)
    evidence = read_evidence(
        layout, relations, target.name, data=catalog.data, backbone=run.backbone, recipe=study.finetune
    )
    views = None
    if features or validation:
        from cg_lab.execution.subset_views import SubsetViews  # torch

        views = SubsetViews(
            catalog=catalog, identity=run.backbone, layout=layout, batch_size=study.evaluation.batch_size
        )
    if views and features:
        counts = dict.fromkeys(relations.list_allowed(target.name), views.num_images)
        seen = views.view(counts | ({target.name: validation} if validation else {}), _tell)
        relations = add_features(relations, seen, sees_target=validation > 0)
    found = rank_mixtures(
        relations,
        evidence,
        target.name,
        _count_samples(study),
        most=study.budget.finetunes or MOST_TOLD,
        confidence=study.rule.confidence,
    )
    if views and features:
        found = replace(show_views(relations, found), num_images=views.num_images)
    return _validate(views, found, evidence, validation) if views and validation else found


def _validate(views: SubsetViews, found: Recommendation, evidence: Evidence, validation: int) -> Recommendation:
    """Ask the fine-tunes that stand behind a recommendation about images that the target gives."""
    right, asked = views.ask(found.target, validation, [tune.id for tune in evidence.finetunes], _tell)
    found = replace(found, num_target_images=asked)
    if not right:
        return found
    validated = rank_validated(
        evidence.finetunes, right, asked, num_samples=found.num_samples, confidence=found.confidence
    )
    return prefer_validated(found, validated)


def _tell(name: str) -> None:
    """Say on standard error what is looked at; what was looked at before takes no time."""
    print(f"looking at {name}", file=sys.stderr)


def _count_samples(study: Study) -> int:
    """Give the samples of one fine-tune that the budget allows; without one those of the design."""
    budget, recipe = study.budget, study.finetune
    limits = [float(budget.samples)] if budget.samples else []
    if budget.gpu_hours:
        limits.append(budget.gpu_hours * 3600 * study.model.train_samples_per_s / study.model.rate_gpus)
    if not limits:
        return study.design.max_samples
    counts = range(int(min(limits) / recipe.epochs), 0, -1)
    most = next((count for count in counts if schedule_epochs(recipe, count).samples <= min(limits)), 0)
    if not most:
        raise UserError("budget: not one training sample fits; give more of budget.samples or budget.gpu_hours")
    return most


def _write_command(found: Recommendation, request: Request) -> str:
    """Write the sweep that holds the first mixture against simple rules, over the same data and model."""
    single = f", single: {found.single}" if found.single else ""
    first = found.validated[0].subsets if found.validated else found.mixtures[0].subsets
    row = f"{{target: {found.target}, sources: [{', '.join(first)}]{single}}}"
    kept = [part for part in request.overrides if not part.lstrip("+").startswith(OWN_KEYS)]
    own = [
        "design=recommended_mixture",
        f"design.rows=[{row}]",
        f"design.max_samples={found.num_samples}",
        f"targets=[{found.target}]",
        f"study=recommended_{found.target}",
    ]
    if request.config_dir is not None:
        kept += ["--config-dir", str(request.config_dir)]
    return shlex.join(["python", "-m", "cg_lab", "sweep", *own, *_undo_overlays(request), *kept])


def _undo_overlays(request: Request) -> list[str]:
    """Take back what a chosen experiment says of its own design and arms."""
    chosen = [part for part in request.overrides if part.lstrip("+").startswith("experiment=")]
    if not chosen:
        return []
    bare, laid = (
        compose(replace(request, overrides=("design=recommended_mixture", *parts), multirun=False))[0].plain
        for parts in ((), chosen)
    )
    undone = [f"~design.{key}" for key in laid["design"] if key not in bare["design"]]
    return [*undone, *(["arms=null"] if laid["arms"] != bare["arms"] else [])]
