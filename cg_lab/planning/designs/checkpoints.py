"""Models that were trained elsewhere, as a table lists them, compared as Med-MAT compares its (arXiv 2412.20070)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cg_lab.arms import Arm
from cg_lab.data_settings import NonEmptyText
from cg_lab.errors import UserError, suggest
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Skipped, Training
from cg_lab.planning.posing import covers
from cg_lab.planning.work import GivenCheckpoint
from cg_lab.study import DesignSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRow:
    """A line of the table: whose model it is, and where."""

    target: str
    arm: Arm
    variant: str = ""
    question: str = ""
    """Tells questions about one target apart."""
    checkpoint: GivenCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """The table of checkpoints."""

    table: NonEmptyText
    """CSV, YAML or JSON: see `cg_lab.training.checkpoint_table`."""
    rows: tuple[CheckpointRow, ...] = ()
    """What it lists; read from the table, never given."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast | Skipped]:
    """Pose a question for each target and name of a question in the table.

    What each model was trained on is what the table declares of it; it is proved as that of any fine-tune.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_graph
    >>> from cg_lab.planning.work import MixturePart
    >>> graph = make_graph("CT Brain Mass", "CT Lung Mass", "US Brain Side")
    >>> parts = (MixturePart(subset="ct-lung-mass", count=8), MixturePart(subset="us-brain-side", count=8))
    >>> given = GivenCheckpoint(seed=0, weights="/models/a@123", parts=parts)
    >>> row = CheckpointRow(target="ct-brain-mass", arm=Arm.RELATED, checkpoint=given)
    >>> settings = Settings(name="checkpoints", kinds=("classification",), max_samples=9, table="a.csv", rows=(row,))
    >>> (question,) = find(graph, graph.subsets[:1], settings)
    >>> question.id, question.fully_covered
    ('ct-brain-mass/ct-lung-mass+us-brain-side', True)

    """
    named = {row.target for row in settings.rows}
    for name in [*named, *(part.subset for row in settings.rows for part in row.checkpoint.parts)]:
        if name not in graph.index:
            raise UserError(f"checkpoints: {settings.table} has the subset '{name}'; {suggest(name, graph.index)}")
    for target in targets:
        rows = [row for row in settings.rows if row.target == target.name]
        for question in dict.fromkeys(row.question for row in rows):
            yield _pose(graph, target, question, [row for row in rows if row.question == question], settings)


def explain_absence(settings: Settings) -> str:
    """Say what a target would have needed."""
    return f"{settings.table} lists no checkpoint for it"


def _pose(
    graph: MatGraph, target: Subset, question: str, rows: Sequence[CheckpointRow], settings: Settings
) -> Contrast | Skipped:
    trainings = [
        _gather(arm, variant, [row for row in rows if (row.arm, row.variant) == (arm, variant)], settings)
        for arm, variant in dict.fromkeys((row.arm, row.variant) for row in rows)
    ]
    by_arm = {training.arm: training for training in trainings}
    main = by_arm.get(Arm.RELATED)
    if main is None:
        return Skipped(
            target=target.name,
            reason=f"{settings.table} lists no checkpoint of the arm {Arm.RELATED}, which the question is about",
            question=question,
        )
    return Contrast(
        id=f"{target.name}/{question or '+'.join(main.subsets)}",
        design=settings.name,
        target=target.name,
        view=target.own,
        trainings=tuple(trainings),
        unrelated=by_arm[Arm.UNRELATED].subsets if Arm.UNRELATED in by_arm else graph.unrelated_pool(target).names,
        fully_covered=covers(graph, target.own, main.subsets),
        asks_sources=True,
    )


def _gather(arm: Arm, variant: str, rows: Sequence[CheckpointRow], settings: Settings) -> Training:
    """Put the checkpoints of an arm together, which differ in nothing but their seeds.

    Raises
    ------
    UserError
        If they differ in what they were trained on, or two have one seed.

    """
    where = f"checkpoints: {settings.table}, {rows[0].target}, arm {arm} {variant}".rstrip()
    seeds = [row.checkpoint.seed for row in rows]
    if len({*seeds}) < len(seeds):
        raise UserError(f"{where}: two checkpoints have the seed {next(one for one in seeds if seeds.count(one) > 1)}")
    subsets = {tuple(sorted(part.subset for part in row.checkpoint.parts)) for row in rows}
    sizes = {row.checkpoint.num_samples for row in rows}
    if len(subsets) > 1 or len(sizes) > 1:
        raise UserError(
            f"{where}: its checkpoints are seeds of one training, and differ in what they were trained on "
            f"({' or '.join(sorted('+'.join(names) for names in subsets))}; "
            f"{' or '.join(map(str, sorted(sizes)))} samples); tell two questions apart by the column question"
        )
    (names,), (size,) = subsets, sizes
    return Training(
        arm=arm,
        variant=variant or (names[0] if arm is Arm.ALONE and len(names) == 1 else ""),
        subsets=names,
        num_samples=size,
        labels="shuffled" if arm is Arm.SHUFFLED else "true",
        given=tuple(sorted((row.checkpoint for row in rows), key=lambda given: given.seed)),
    )
