"""What a user asks for, typed: the settings of one study."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, islice, pairwise
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
)

from cg_lab.arms import Arm
from cg_lab.data_settings import DataSettings, NonEmptyText
from cg_lab.endpoint_settings import EndpointSettings, ServedModel, tell_endpoint
from cg_lab.mat import Kind
from cg_lab.questions import AnswerForm
from cg_lab.recipe import Recipe

STUDY_NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"
"""What a study may be called, as it is a folder; up to `MAX_STUDY_NAME` characters."""
MAX_STUDY_NAME = 100
FEWEST_SEEDS = 3
"""Of the arms that carry a claim, for a verdict."""
Keep = Literal["full", "adapter", "nothing"]
"""All weights, only those of adapters, or none; what is gone and needed again is trained again."""
Attention = Literal["sdpa", "flash_attention_2", "eager"]
"""Kernels, as transformers names them."""


def _refuse_main(arm: Arm) -> Arm:
    if not arm.traits.has_own_model or arm.traits.is_main:
        raise ValueError("only an arm that is trained beside the main one has a number of seeds of its own; set seeds")
    return arm


Control = Annotated[Arm, AfterValidator(_refuse_main)]
"""An arm that is trained beside the one that a held-out question is about."""


def _check_looks(looks: tuple[int, ...]) -> tuple[int, ...]:
    if any(later <= look for look, later in pairwise(looks)):
        raise ValueError("each look has more seeds than the one before, as in [3,5,8]")
    if looks and looks[0] < FEWEST_SEEDS:
        raise ValueError(f"a verdict takes {FEWEST_SEEDS} seeds, so that the first look can't have {looks[0]}")
    return looks


Looks = Annotated[tuple[PositiveInt, ...], AfterValidator(_check_looks)]
"""Seeds of the arms that carry a claim at each look at the results; empty for a number of seeds that is fixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignSettings:
    """What every design has; the module of a design adds its own."""

    name: NonEmptyText
    """Of its module in `cg_lab.planning.designs`, or a dotted module of one's own."""
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)]
    """Subsets that take part."""
    max_samples: PositiveInt
    """Training samples of every budgeted arm, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillerSettings:
    """Non-medical questions mixed into every trained arm (Med-MAT, section 3.2: against option-count bias)."""

    subset: str | None
    """A subset of kind `filler`; None mixes nothing in."""
    share: Annotated[float, Field(ge=0, lt=1)]
    """Samples of the filler for each sample of the arm."""


MergeMethod = Literal[
    "linear", "cat", "svd", "ties", "ties_svd", "dare_linear", "dare_linear_svd", "dare_ties", "dare_ties_svd",
    "magnitude_prune", "magnitude_prune_svd",
]  # fmt: skip
"""How adapters are merged, as peft names it."""
PRUNING = ("ties", "dare", "magnitude")
"""How the methods begin that keep only a part of each adapter's values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSettings:
    """How arms that ask merged adapters merge them."""

    method: MergeMethod
    weights: PositiveFloat | Literal["share"]
    """Of each adapter: a number for all, or the share of the samples that it was trained on."""
    density: Annotated[float, Field(gt=0, le=1)]
    """Of the methods that prune: the part of each adapter's values that is kept."""

    @property
    def draws(self) -> bool:
        """Whether the method draws at random which values it keeps."""
        return self.method.startswith("dare")

    @property
    def prunes(self) -> bool:
        """Whether the method keeps only a part of each adapter's values."""
        return self.method.startswith(PRUNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """What a study may cost; the planner then chooses its held-out questions. None sets no limit."""

    gpu_hours: PositiveFloat | None
    """By the model's declared training rate."""
    samples: PositiveInt | None
    """Training samples over all epochs."""
    finetunes: PositiveInt | None

    @property
    def is_set(self) -> bool:
        """Whether there is a limit."""
        return any(limit is not None for limit in (self.gpu_hours, self.samples, self.finetunes))


ELSEWHERE = "elsewhere:"
"""In place of the path of a model that other tools train and ask, whose answers are imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """Identity of an untouched model."""

    name: str
    path: str
    """`package:tiny_llava`, a Hugging Face name, a local folder, or `elsewhere:`."""
    revision: str
    """Commit or tag of a hub model, or hash of a local one's files."""
    answer: AnswerForm
    adapter: Annotated[str, Field(exclude_if=lambda given: not given)] = ""
    """Adapters that it is asked with, `PATH@HASH` or `NAME@COMMIT`; empty for none."""
    min_pixels: Annotated[PositiveInt | None, Field(exclude_if=lambda given: given is None)] = None
    max_pixels: Annotated[PositiveInt | None, Field(exclude_if=lambda given: given is None)] = None
    """Fewest and most pixels that an image is resized to; None for what the processor says."""
    max_tiles: Annotated[PositiveInt | None, Field(exclude_if=lambda given: given is None)] = None
    """Most tiles that an image is cut into, beside the whole of it; 1 cuts none, None is what the processor says."""
    attention: Annotated[Attention | None, Field(exclude_if=lambda given: given is None)] = None
    """Kernels of attention; None for what transformers chooses."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether other tools train and ask it."""
        return self.path == ELSEWHERE


AnyBackbone = Annotated[
    Annotated[Backbone, Tag("weights")] | Annotated[ServedModel, Tag("endpoint")], Discriminator(tell_endpoint)
]
"""What can be asked untouched; only weights are trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Which backbone, and how fast it is here."""

    name: NonEmptyText
    path: NonEmptyText
    revision: str | None
    """Commit or tag of a hub model; None for local weights, whose hash is taken."""
    adapter: NonEmptyText | None = None
    """Adapters that the model is asked with: a folder as peft writes it, or `NAME@COMMIT` of the hub."""
    min_pixels: PositiveInt | None = None
    max_pixels: PositiveInt | None = None
    """Fewest and most pixels that an image is resized to; None for what the processor says."""
    max_tiles: PositiveInt | None = None
    """Most tiles that an image is cut into, beside the whole of it; 1 cuts none, None is what the processor says."""
    attention: Attention | None = None
    """Kernels of attention; None for what transformers chooses."""
    answer: AnswerForm
    train_samples_per_s: PositiveFloat
    """For the time that a plan foretells."""
    eval_samples_per_s: PositiveFloat
    rate_gpus: PositiveInt = 1
    """GPUs that reach these rates together; where there are none, a rate is that of one slot."""
    checkpoint_gb: PositiveFloat
    """Disk that one fine-tune's weights take."""
    adapter_mb: PositiveFloat
    """Disk that low-rank adapters on every linear layer of language model and projector take, for each rank."""


AnyModelSettings = Annotated[
    Annotated[ModelSettings, Tag("weights")] | Annotated[EndpointSettings, Tag("endpoint")],
    Discriminator(tell_endpoint),
]


AnsweredBy = Literal["likelihood", "generation", "both"]
"""How an answer is read: the likeliest option, what the model writes and a parser finds in it, or both, the likeliest
counting. Boxes are always written."""
Rotations = Literal["one", "all"]
"""Whether a question is asked once, or with its options in every cyclic order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """How checkpoints are scored."""

    by: AnsweredBy
    """Of fine-tuned models."""
    untouched_by: AnsweredBy
    """Of the untouched backbone, which was not trained to answer in one form."""
    rotations: Rotations
    batch_size: PositiveInt
    """Questions of one forward pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """The machine that the command is given on."""

    name: Literal["local"]
    slots: PositiveInt | None
    """Processes at one time; None for one a GPU, or one a core where there is none."""
    gpus: tuple[NonNegativeInt, ...] | None
    """Numbers of the GPUs to use; None for all that are visible."""
    save_every_s: PositiveFloat
    """Seconds between checkpoints of a running fine-tune at least; more, up to an hour, where saving one takes long."""
    silence_min: PositiveFloat | None = 60
    """How long a process may give no sign before it is taken away; None for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DebugSettings:
    """The command's own process, so that a debugger sees everything."""

    name: Literal["debug"]
    save_every_s: PositiveFloat


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSettings:
    """What the tasks of one stage ask for where it differs; None for the same as fine-tunes."""

    nodes: PositiveInt | None = None
    gpus: NonNegativeInt | None = None
    cpus: PositiveInt | None = None
    memory_gb: PositiveFloat | None = None
    timeout_min: PositiveInt | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodelist: str | None = None
    setup: tuple[str, ...] | None = None
    environment: dict[str, str] | None = None
    container: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmSettings:
    """A Slurm cluster, from a login node."""

    name: Literal["slurm"]
    slots: PositiveInt
    """Tasks at one time."""
    eval: Literal["fused", "separate"]
    """Evaluations in the task of their fine-tune, or in tasks of their own that depend on it."""
    save_every_s: PositiveFloat
    """Seconds between checkpoints of a running fine-tune at least; more, up to an hour, where saving one takes long."""
    task_min: PositiveFloat | None
    """Work of one task in minutes, by the model's declared rates; None for half of `timeout_min`."""
    max_array_size: PositiveInt | None
    """Tasks of one array at most; None for the cluster's own limit."""
    max_tasks: PositiveInt | None
    """Tasks that wait or run at one time; None for the cluster's own limit."""
    patience_min: PositiveFloat
    """How long Slurm may be out of reach before the command leaves; tasks go on meanwhile."""
    warn_s: PositiveInt
    """Seconds before the time limit at which Slurm asks a task to save and to queue again."""
    nodes: PositiveInt
    """Of each task; more than one splits each batch of a fine-tune over all of their GPUs."""
    gpus: NonNegativeInt | None
    """Of each node; None for one where nodes have any. More than one splits each batch over them."""
    processes: PositiveInt | None
    """On each node, between which each batch is split; None for one a GPU."""
    sharding: Literal["ddp", "fsdp"]
    """What several processes hold: all weights each, or a part of them each."""
    cpus: PositiveInt | None
    """Of each process; None for the cluster's default."""
    memory_gb: PositiveFloat | None
    timeout_min: PositiveInt
    """Of each task; what is left then goes on in another one."""
    partition: str | None
    account: str | None
    qos: str | None
    constraint: str | None
    nodelist: str | None
    setup: tuple[str, ...]
    """Shell lines before each task, such as `module load cuda`."""
    environment: dict[str, str] | None
    """Variables of each task."""
    container: str | None
    """Command that python is given to, such as `apptainer exec --nv image.sif`."""
    evaluation: StageSettings
    """Of tasks that only evaluate."""
    report: StageSettings
    """Of the last task, which mirrors and reports."""
    silence_min: PositiveFloat | None = 60
    """How long a process may give no sign before it is taken away; None for ever."""


ClusterSettings = Annotated[LocalSettings | DebugSettings | SlurmSettings, Discriminator("name")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingSettings:
    """Where results are mirrored."""

    name: Literal["mlflow", "none"]
    uri: str | None
    """MLflow tracking URI; None for a SQLite file in the results folder."""
    experiment: NonEmptyText | None = None
    """Name of the MLflow experiment; None for that of the study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a verdict is reached; frozen in the plan before anything runs."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100)] = 10_000
    seed: NonNegativeInt = 0
    """Of the bootstrap."""
    family: Literal["graphical", "false_discovery_rate"] = "graphical"
    """What is held at `1 - confidence` over all held-out questions: the chance of any false claim, or the share of
    false claims among those made."""
    looks: Looks = ()
    matters: PositiveFloat = 10.0
    """Points; a question whose gain is below that with `confidence` gets no more seeds at a look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One study, as resolved from configuration."""

    study: Annotated[str, Field(pattern=rf"^{STUDY_NAME}$", max_length=MAX_STUDY_NAME)]
    """Its name, and its folder's."""
    data: DataSettings
    design: DesignSettings
    targets: tuple[str, ...] | None
    """Subsets to hold out; None for every subset that the design can use."""
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    looks: Looks
    arm_seeds: dict[Control, PositiveInt] | None
    """How many of the seeds, the first ones, an arm is trained with; of those that it does not name, as many as
    `cg_lab.arms` says."""
    arms: tuple[Arm, ...] | None
    """Arms to plan, of those that the design offers; None for all of them."""
    twins: Literal["shared", "equal"]
    """Which subsets count as the target itself: those that share an element of every factor, or only equal ones."""
    filler: FillerSettings
    merge: MergeSettings
    budget: BudgetSettings
    model: AnyModelSettings
    finetune: Recipe
    evaluation: EvaluationSettings
    cluster: ClusterSettings
    tracking: TrackingSettings
    rule: Rule
    results_dir: NonEmptyText
    keep: Keep
    """Weights that stay once their last evaluation is done."""
    cache_gb: NonNegativeFloat
    """Disk for images as backbones read them, below the results folder."""
    report_images: bool
    """Whether report.html shows test images."""

    @property
    def planned_seeds(self) -> tuple[int, ...]:
        """Seeds of the arms that carry the claim: as many as the last look has, counted on from those listed."""
        if not self.looks:
            return self.seeds
        further = (seed for seed in count() if seed not in self.seeds)
        return (*self.seeds, *islice(further, max(0, self.looks[-1] - len(self.seeds))))[: self.looks[-1]]
