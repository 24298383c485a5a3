"""One run as MLflow shall show it, and how its parts are written; no MLflow in here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cg_lab.catalog import DataRef
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import Mixture
from cg_lab.recipe import Recipe
from cg_lab.results import Failure
from cg_lab.serialize import content_id, to_plain
from cg_lab.tracking.jobs import Point, RunStatus, digest_curve

RECORD_SCHEMA = 4
"""Raised when equal files come to give other runs, so that the next mirroring brings all of them up to date."""
MOST_INPUTS = 64
"""Datasets of one run; MLflow's page of a run lists them all."""
DIGITS = 3
"""Of numbers behind the point."""
MAX_NAME = 250
"""Characters of a run's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Samples that a run was trained on or asked about."""

    name: str
    """Of the subset."""
    digest: str
    """Of the data and the subset; the same samples have the same one in every study."""
    context: Literal["training", "testing"]
    num_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """The model that a fine-tune made."""

    job_id: str
    made: str
    """When its training began: one that was trained anew is another model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run as it should be."""

    key: str
    """Unique in the study; runs are found again by it."""
    job_id: str
    """The work that the run tells about; a run of other work is replaced, never written over."""
    name: str
    status: RunStatus
    tags: dict[str, str]
    """May change; an empty value means that there is no such tag."""
    params: dict[str, str]
    """Fixed for good."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Single values."""
    curve: tuple[Point, ...] = ()
    artifacts: tuple[Path, ...] = ()
    inputs: tuple[Input, ...] = ()
    """Shown as MLflow's datasets."""
    weights: str | None = None
    """Folder of the model that the run made, empty if it was not kept; None if there is no model."""
    asked: TrainedModel | None = None
    """The model whose answers the run tells about; None for the untouched backbone."""
    start_ms: int | None = None
    end_ms: int | None = None

    @property
    def fingerprint(self) -> str:
        """Changes whenever something about the run does."""
        plain = [self.job_id, self.name, self.status, self.tags, self.params, self.metrics, self.start_ms, self.end_ms]
        more = [digest_curve(self.curve), self.artifact_marks, self.weights, self.asked]
        return content_id("record", RECORD_SCHEMA, [*plain, *more])

    @property
    def artifact_marks(self) -> dict[str, str]:
        """For each artifact's name, its size and time."""
        stats = {path.name: path.stat() for path in self.artifacts}
        return {name: f"{stat.st_size}-{stat.st_mtime_ns}" for name, stat in stats.items()}


def make_input(data: DataRef, subset: str, context: Literal["training", "testing"], num_samples: int) -> Input:
    """Make an input whose digest is that of the same samples in every study."""
    digest = content_id("input", 1, [data, subset, context])
    return Input(name=subset, digest=digest, context=context, num_samples=num_samples)


def list_trained(data: DataRef, mixture: Mixture) -> tuple[Input, ...]:
    """Give an input for each subset that is trained on; one for all together where they are very many."""
    if len(mixture.parts) <= MOST_INPUTS:
        return tuple(make_input(data, part.subset, "training", part.count) for part in mixture.parts)
    parts = [[part.subset, part.count] for part in mixture.parts]
    return (
        Input(
            name=f"{len(parts)} subsets",
            digest=content_id("input", 1, [data, parts, "training"]),
            context="training",
            num_samples=mixture.num_samples,
        ),
    )


def round_metrics(metrics: dict[str, float]) -> dict[str, float]:
    """Round what tables show, to what one reads; files have every digit.

    >>> round_metrics({"gain": 0.0458333, "p_holm": 0.0000012})
    {'gain': 0.046, 'p_holm': 0.001}
    """
    least = 10**-DIGITS
    return {
        name: max(round(value, DIGITS), least) if name.startswith("p_") and value > 0 else round(value, DIGITS)
        for name, value in metrics.items()
    }


def shorten(name: str) -> str:
    """Cut a run's name to what PostgreSQL's column takes.

    >>> len(shorten("x" * 300)), shorten("tune s0 ct-lung-mass")
    (250, 'tune s0 ct-lung-mass')
    """
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 4]} ..."


def name_sources(mixture: Mixture | None) -> str:
    """Name what a model was trained on; empty for the untouched backbone."""
    return ",".join(part.subset for part in mixture.parts) if mixture else ""


def tell_failure(failure: Failure | None) -> dict[str, str]:
    """Give the tags of a failure, empty ones where there is none."""
    return {
        "failure": failure.kind if failure else "",
        "failure_message": failure.message if failure else "",
    }


def identify_catalogs(plan: Plan) -> dict[DataRef, str]:
    """Give an id of each catalogue's content, by its data; equal catalogues have equal ids in every study."""
    return {catalog.data: content_id("catalog", 1, catalog) for catalog in plan.catalogs}


def tell_recipe(recipe: Recipe) -> dict[str, str]:
    """Give a recipe's fields as text."""
    return {name: str(value) for name, value in to_plain(recipe).items() if name in recipe.said}
