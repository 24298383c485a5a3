"""Result types, and the one place that knows where files lie."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from cg_lab.errors import UserError
from cg_lab.passwords import hide_passwords
from cg_lab.planning.jobs import share_parts
from cg_lab.planning.plan import OLDEST_PLAN_SCHEMA, PLAN_SCHEMA, Plan, hash_plan, parse_plan
from cg_lab.planning.work import POOL_VERSION, EvalJob, FinetuneJob
from cg_lab.serialize import ID_LENGTH, content_id, parse, read_json, write_json, write_lines
from cg_lab.version import __version__

ADAPTER_CONFIG = "adapter_config.json"
"""Tells a folder of adapters from one of whole weights, as peft names it."""
RESULTS_SCHEMA = 1
"""Of the results folder; a folder with a higher number was written by a newer version and is not touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneResult:
    """What a finished fine-tune did; its weights lie beside it."""

    job: FinetuneJob
    state: Literal["done"] = "done"
    steps: int | None
    samples: int | None
    """Samples seen over all epochs; this and what is beside it is None where a trainer's command does not say it."""
    loss_first: float | None
    loss_last: float | None
    """Mean training loss of the first and of the last logged steps."""
    seconds: float
    """Wall clock of the training alone, loading left out; of a trainer's command, all of it."""
    host: str
    started: str
    """UTC, ISO 8601."""
    gpu: str = ""
    """Name of the accelerator; empty where there is none."""
    energy_joules: float | None = None
    """Of the GPU over `seconds`, or of the machine's processors where there is none, with all else that ran on them;
    None if it could not be read, and if several processes took part."""

    @property
    def samples_per_s(self) -> float | None:
        """Mean speed; None if the samples are not known."""
        if self.samples is None:
            return None
        return self.samples / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFacts:
    """How a served model was asked, and what its server reported."""

    reported: dict[str, str]
    """By `model`, `root`, `parent` and `version`, as far as it says."""
    fingerprints: tuple[str, ...]
    """That came with answers."""
    num_scored: int
    """Questions that count by the log-probabilities of their letters; the others count as written."""
    num_asked: int
    """Requests that were sent, tries of one included."""
    num_found: int
    """Answers that were kept before, or are those of an equal request."""
    num_read: int
    num_written: int
    """Tokens of all answers, as the server counts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSource:
    """A file that answers were imported from."""

    name: str
    sha256: str
    tool: str
    """That wrote it."""
    model: str
    """As the tool calls it; empty where it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """What a finished evaluation found; each question's probabilities lie in predictions.parquet beside it."""

    job: EvalJob
    state: Literal["done"] = "done"
    num_questions: int
    accuracy: float
    """Share of questions answered right; of boxes, the mean intersection over union."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Further ones, as `cg_lab.evaluation.metrics` names them."""
    seconds: float
    host: str
    started: str
    served: ServedFacts | None = None
    """None for weights that were loaded."""
    imported: tuple[AnswerSource, ...] = ()
    """Files that its answers are from, where another tool asked."""


FailureKind = Literal[
    "out_of_memory", "not_finite", "too_long", "unreadable_weights", "user_error", "no_weights", "crash", "died",
    "disk", "lost", "silent", "cancelled",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job has no result, and won't get one before somebody asks for it again."""

    job_id: str
    kind: FailureKind
    message: str
    attempts: int
    host: str
    when: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies below the results folder."""

    root: Path

    @property
    def stamp(self) -> Path:
        """Say which versions of the folder and of job ids it holds."""
        return self.root / "schema.json"

    @property
    def jobs(self) -> Path:
        """The pool of jobs that all studies share."""
        return self.root / "jobs"

    @property
    def data(self) -> Path:
        """Tables of images, and what was found out about each image."""
        return self.root / "data"

    def answers(self, name: str) -> Path:
        """Folder of the answers of one served model, for all studies."""
        return self.root / "answers" / name

    @property
    def prepared(self) -> Path:
        """Images as backbones read them, for all studies; may be removed at any time."""
        return self.root / "prepared"

    @property
    def features(self) -> Path:
        """What untouched backbones see of subsets, for recommendations; may be removed at any time."""
        return self.root / "features"

    @property
    def database(self) -> Path:
        """MLflow's SQLite file."""
        return self.root / "mlflow.db"

    def job(self, job_id: str) -> Path:
        """Folder of one job: job.json, result.json or failure.json, journal.jsonl and its outputs."""
        return self.jobs / job_id

    def lock(self, job_id: str) -> Path:
        """Held by the process that works on the job."""
        return self.job(job_id) / "lock"

    def checkpoints(self, job_id: str) -> Path:
        """Folder of an unfinished fine-tune's checkpoints."""
        return self.job(job_id) / "checkpoints"

    def result(self, job_id: str) -> Path:
        """Existence means that the job is done."""
        return self.job(job_id) / "result.json"

    def list_done(self) -> frozenset[str]:
        """List the jobs of the pool that are done; jobs without a folder cost nothing."""
        pool = str(self.jobs)
        return frozenset(name for name in self.list_tried() if os.access(f"{pool}/{name}/result.json", os.F_OK))

    def list_tried(self) -> frozenset[str]:
        """List the jobs of the pool that have a folder: done, failed, or begun."""
        return frozenset(os.listdir(self.jobs)) if self.jobs.is_dir() else frozenset()  # noqa: PTH208 - names are enough

    def failure(self, job_id: str) -> Path:
        """Written when a job is given up; a later success or a new request removes it."""
        return self.job(job_id) / "failure.json"

    def journal(self, job_id: str) -> Path:
        """One JSON object a line: what happened, as it happened."""
        return self.job(job_id) / "journal.jsonl"

    def predictions(self, job_id: str) -> Path:
        """One row a question."""
        return self.job(job_id) / "predictions.parquet"

    def weights(self, job_id: str) -> Path:
        """Folder of the fine-tuned weights."""
        return self.job(job_id) / "model"

    def study(self, name: str) -> Path:
        """Folder of one study: plan.json, effects.csv and the reports."""
        return self.root / "studies" / name

    @property
    def removed(self) -> Path:
        """Plans and registrations of studies that were removed."""
        return self.root / "removed"

    def list_studies(self) -> tuple[str, ...]:
        """List the names of all studies that have a plan or a draft; a hidden folder is one that is being made."""
        folder = self.root / "studies"
        names = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208 - names are enough
        return tuple(
            name
            for name in names
            if not name.startswith(".") and (self.plan(name).exists() or self.draft(name).exists())
        )

    def driver_lock(self, name: str) -> Path:
        """Held by the process that drives a study."""
        return self.study(name) / "driver.lock"

    def packs(self, name: str) -> Path:
        """Folder of what was submitted for a study, and of what its processes printed."""
        return self.study(name) / "packs"

    def submitted_plan(self, name: str) -> Path:
        """Hold the plan that tasks work from, which a later `plan` does not touch."""
        return self.packs(name) / "plan.json"

    def plan(self, name: str) -> Path:
        """Hold the frozen plan of a study."""
        return self.study(name) / "plan.json"

    def draft(self, name: str) -> Path:
        """Hold what was planned beside a study that has begun."""
        return self.study(name) / "draft.json"


def open_results(root: Path) -> Layout:
    """Make sure that the results folder can be written and was not written by a newer version.

    Raises
    ------
    UserError
        If it can't be made or written, or if its schema is newer than this version's.

    """
    layout = Layout(root)
    stamp = layout.stamp
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"results_dir: '{root}' can't be written ({reason}); give a folder of yours: results_dir=PATH"
        ) from None
    if not stamp.exists():
        write_json(stamp, _make_stamp())
    check_results_schema(root)
    return layout


def identify_results(layout: Layout) -> str:
    """Give the id of a results folder, which it keeps wherever it is moved to; one without is given one.

    Of a folder that may only be read it is made from its place.
    """
    stamp = read_json(layout.stamp) if layout.stamp.exists() else {}
    if "id" not in stamp:
        stamp = _make_stamp() | stamp
        try:
            write_json(layout.stamp, stamp)
        except OSError:
            return content_id("results", 1, str(layout.root.resolve()))
    return str(stamp["id"])


def _make_stamp() -> dict[str, Any]:
    return {"schema": RESULTS_SCHEMA, "jobs": POOL_VERSION, "id": uuid4().hex[:ID_LENGTH]}


def check_results_schema(root: Path) -> None:
    """Refuse a results folder whose schema this version does not know.

    Raises
    ------
    UserError
        If the folder says that a newer version wrote it, or does not say it readably.

    """
    stamp = root / "schema.json"
    if not stamp.exists():
        return
    found = read_json(stamp)
    schema = found.get("schema") if isinstance(found, dict) else None
    if not isinstance(schema, int):
        raise UserError(f"{stamp}: 'schema' must be a whole number, not {schema!r}")
    if schema > RESULTS_SCHEMA:
        raise UserError(
            f"results_dir: '{root}' was written by a newer cg_lab "
            f"(schema {schema}, this version knows {RESULTS_SCHEMA}); "
            "update cg_lab or give another folder: results_dir=PATH"
        )


def read_plan(path: Path) -> Plan:
    """Read a frozen plan.

    Raises
    ------
    UserError
        If the file is missing, not a plan, or of a newer schema; all faults at once.

    """
    raw = read_json(path)
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if isinstance(schema, int) and schema > PLAN_SCHEMA:
        raise UserError(f"{path}: plan schema {schema} is newer than this version's {PLAN_SCHEMA}; update cg_lab")
    if isinstance(schema, int) and schema < OLDEST_PLAN_SCHEMA:
        raise UserError(
            f"{path}: plan schema {schema} is older than {OLDEST_PLAN_SCHEMA}, the oldest that this version reads; "
            "plan or sweep the study again, its finished jobs stay valid"
        )
    return share_parts(parse_plan(raw, where=str(path)))


def read_finetune_result(layout: Layout, job_id: str) -> FinetuneResult | None:
    """Read the result of a fine-tune; None while there is none."""
    path = layout.result(job_id)
    return parse(FinetuneResult, read_json(path), where=str(path)) if path.exists() else None


def read_eval_result(layout: Layout, job_id: str) -> EvalResult | None:
    """Read the result of an evaluation; None while there is none."""
    path = layout.result(job_id)
    return parse(EvalResult, read_json(path), where=str(path)) if path.exists() else None


def read_failure(layout: Layout, job_id: str) -> Failure | None:
    """Read why a job failed; None if it did not, or has a result since."""
    path = layout.failure(job_id)
    if layout.result(job_id).exists() or not path.exists():
        return None
    return parse(Failure, read_json(path), where=str(path))


def write_result(layout: Layout, result: FinetuneResult | EvalResult) -> None:
    """Declare a job done; the last thing that a job does."""
    write_json(layout.result(result.job.id), result)
    layout.failure(result.job.id).unlink(missing_ok=True)


def write_failure(layout: Layout, failure: Failure) -> None:
    """Give a job up."""
    write_json(layout.failure(failure.job_id), replace(failure, message=hide_passwords(failure.message)))


def write_plan(layout: Layout, plan: Plan) -> None:
    """Write a plan to its study's folder; an equal one is left as it is."""
    if not is_current(layout, plan):
        write_lines(layout.plan(plan.study), plan.write_lines())


def is_current(layout: Layout, plan: Plan) -> bool:
    """Tell whether a plan is the one that is frozen in its study's folder."""
    path = layout.plan(plan.study)
    if not path.exists():
        return False
    with path.open("rb") as file:
        return hash_plan(file) == plan.id


def fingerprint(layout: Layout, plan: Plan) -> str:
    """Hash what a report is made from, by size and time of files: cheap, and changed by every new result."""
    marks: list[str] = [plan.id, __version__]
    for job in (*plan.finetunes, *plan.evals):
        for path in (layout.result(job.id), layout.failure(job.id)):
            if path.exists():
                stat = path.stat()
                marks.append(f"{path.name} {job.id} {stat.st_size} {stat.st_mtime_ns}")
    return content_id("fingerprint", 1, marks)
