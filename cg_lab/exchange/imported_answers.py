"""`import_files`: answers that other tools got become results of a study's evaluations, each whole or not at all."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from cg_lab.arms import Arm
from cg_lab.errors import UserError, list_faults, suggest
from cg_lab.evaluation.predictions import Asked, tabulate_choices, write_predictions
from cg_lab.exchange.answer_files import AnswerFile, Whose
from cg_lab.exchange.study_tests import Sources, StudyTest, list_tests
from cg_lab.journal import append_event, now
from cg_lab.locks import holding
from cg_lab.planning.plan import Cell, Plan
from cg_lab.planning.work import EvalJob
from cg_lab.questions import Question
from cg_lab.results import AnswerSource, EvalResult, Layout, read_eval_result, write_result
from cg_lab.study import Backbone

MOST_FAULTS = 20
"""That a message lists."""
MOST_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Incomplete:
    """An evaluation that files do not answer as a whole."""

    cell: str
    num_missing: int
    num_questions: int
    examples: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class ImportOutcome:
    """What became of the answers; cells by their keys, one for each evaluation."""

    written: list[EvalResult] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    """Of those written."""
    known: list[str] = field(default_factory=list)
    """That have the same answers already."""
    incomplete: list[Incomplete] = field(default_factory=list)


@dataclass(slots=True)
class _Answers:
    """What files say for one evaluation."""

    cell: Cell
    test: StudyTest
    texts: dict[str, str] = field(default_factory=dict)
    """By id of the question, as it was exported."""
    sources: dict[AnswerSource, None] = field(default_factory=dict)


def import_files(layout: Layout, plan: Plan, files: Sequence[AnswerFile], told: Whose) -> ImportOutcome:
    """Write the results that files of answers amount to.

    Parameters
    ----------
    layout, plan
        The study that asked; its model is one that is trained and asked elsewhere.
    files
        Answers; together they may answer a part of the study's evaluations.
    told
        Whose answers they are, as far as they do not say it themselves.

    Raises
    ------
    UserError
        If an answer is to no question of the study, or is given twice, if it can't be told whose it is, or if an
        evaluation has other answers already; nothing is written then.

    """
    tests = list_tests(plan)
    sources = Sources(layout.data)
    by_job, faults = _Sorter(plan, tests, sources).sort(files, told)
    if faults:
        shown = [*faults[:MOST_FAULTS], *([f"and {len(faults) - MOST_FAULTS} more"] * (len(faults) > MOST_FAULTS))]
        raise list_faults("import: nothing was written, since there are faults", shown)
    outcome = ImportOutcome()
    ready = list(_list_ready(by_job.values(), plan, sources, outcome))
    new = [(job, asked, found) for job, asked, found in ready if not _is_known(layout, job, asked, found, outcome)]
    for job, asked, found in new:
        outcome.written.append(_write(layout, job, asked, found))
        outcome.cells.append(found.cell.key)
    return outcome


class _Sorter:
    """Finds for each answer the evaluation that it belongs to."""

    def __init__(self, plan: Plan, tests: Sequence[StudyTest], sources: Sources) -> None:
        self._plan = plan
        self._test_of = {job.id: test for test in tests for job in test.jobs}
        self._tests = {
            test.name_question(sample.id): test.name
            for test, exam in sources.pose_all(tuple(tests))
            for sample in exam.samples
        }
        self._cells: dict[Whose, dict[str, list[Cell]]] = {}

    def sort(self, files: Sequence[AnswerFile], told: Whose) -> tuple[dict[str, _Answers], list[str]]:
        """Give the answers of each evaluation by its id, and what is wrong with them."""
        by_job: dict[str, _Answers] = {}
        faults: list[str] = []
        for file in files:
            for answer in file.answers:
                where = f"{file.source.name}, {answer.place}"
                test = self._tests.get(answer.question)
                if test is None:
                    faults.append(f"{where}: no question '{answer.question}' in study '{self._plan.study}'")
                    continue
                cell = self._find_cell(_join(answer.whose, told), test)
                found = by_job.setdefault(cell.eval_job, _Answers(cell, self._test_of[cell.eval_job]))
                if answer.question in found.texts:
                    faults.append(f"{where}: question '{answer.question}' is answered twice for {cell.key}")
                elif answer.text is not None:
                    found.texts[answer.question] = answer.text
                    found.sources[file.source] = None
        return by_job, faults

    def _find_cell(self, whose: Whose, test: str) -> Cell:
        """Find the cell that an answer belongs to; cells of one evaluation are one here.

        Raises
        ------
        UserError
            If there is none, or several.

        """
        if whose not in self._cells:
            self._cells[whose] = self._list_cells(whose)
        cells = self._cells[whose].get(test, [])
        told = _tell(whose)
        if not cells:
            raise UserError(f"import: no cell of {told} is asked '{test}' in study '{self._plan.study}'")
        if len(cells) > 1:
            ways = [name for name, values in _list_ways(cells).items() if len(values) > 1]
            shown = ", ".join(cell.key for cell in cells[:MOST_EXAMPLES])
            raise UserError(
                f"import: {len(cells)} evaluations of {told} ask '{test}' ({shown}{', ...' * (len(cells) > MOST_EXAMPLES)}); "
                f"say which by {' and '.join(ways)}"
            )
        return cells[0]

    def _list_cells(self, whose: Whose) -> dict[str, list[Cell]]:
        """List the cells of a model by test, one for each evaluation."""
        known = sorted({str(cell.arm) for cell in self._plan.cells})
        if whose.arm not in known:
            raise UserError(
                f"import: whose answers are these? --arm '{whose.arm or ''}': {suggest(whose.arm or '', known)}"
            )
        is_trained = Arm(whose.arm).traits.model != "untouched"
        found: dict[str, dict[str, Cell]] = {}
        for cell in self._plan.cells:
            if (
                cell.arm == whose.arm
                and whose.variant in {None, cell.variant}
                and whose.held_out in {None, cell.contrast}
                and (not is_trained or whose.seed in {None, cell.seed})
            ):
                found.setdefault(self._test_of[cell.eval_job].name, {}).setdefault(cell.eval_job, cell)
        return {test: list(cells.values()) for test, cells in found.items()}


def _join(said: Whose, told: Whose) -> Whose:
    """Say whose an answer is: what its file says goes before what the command says."""
    return Whose(
        arm=said.arm or told.arm,
        variant=said.variant or told.variant,
        seed=told.seed if said.seed is None else said.seed,
        held_out=said.held_out or told.held_out,
    )


def _tell(whose: Whose) -> str:
    parts = [f"arm {whose.arm}", whose.variant, None if whose.seed is None else f"seed {whose.seed}", whose.held_out]
    return ", ".join(part for part in parts if part)


def _list_ways(cells: Iterable[Cell]) -> dict[str, set[object]]:
    """Give, for each option or column, what it can tell some cells apart by."""
    found = list(cells)
    return {
        "--seed": {cell.seed for cell in found},
        "--variant": {cell.variant for cell in found},
        "--held-out": {cell.contrast for cell in found},
    }


def _list_ready(
    found: Iterable[_Answers], plan: Plan, sources: Sources, outcome: ImportOutcome
) -> Iterator[tuple[EvalJob, list[Asked], _Answers]]:
    """Give the evaluations that are answered as a whole; the others are told of."""
    jobs = {job.id: job for job in plan.evals}
    for answers in found:
        job, test = jobs[answers.cell.eval_job], answers.test
        _check_job(job, answers.cell, plan)
        exam = test.pose(sources.open(test.catalog))
        asked = [
            Asked(id=sample.id, subset=sample.subset, group=sample.group, label=sample.label, question=question)
            for sample, question in zip(exam.samples, exam.questions, strict=True)
        ]
        missing = [one.id for one in asked if test.name_question(one.id) not in answers.texts]
        if missing:
            outcome.incomplete.append(
                Incomplete(
                    cell=answers.cell.key,
                    num_missing=len(missing),
                    num_questions=len(asked),
                    examples=tuple(missing[:MOST_EXAMPLES]),
                )
            )
        else:
            yield job, asked, answers


def _check_job(job: EvalJob, cell: Cell, plan: Plan) -> None:
    """Refuse evaluations whose answers can't come from elsewhere.

    Raises
    ------
    UserError
        With the way out.

    """
    backbone = job.backbone
    if not (isinstance(backbone, Backbone) and backbone.is_elsewhere):
        raise UserError(
            f"import: study '{plan.study}' is about '{backbone.name}', which cg_lab asks itself, and results of one are never taken for the other's; "
            "plan it for a model that is asked elsewhere, with a name of its own: plan model=elsewhere model.name=NAME study=OTHER"
        )
    if job.protocol.rotations == "all":
        raise UserError(
            "import: the study asks in every order of options, which files of answers do not hold; plan it with evaluation.rotations=one"
        )
    if cell.proof.detectable is None:
        raise UserError(f"import: {cell.key} is answered by boxes, which are not imported")


def _is_known(layout: Layout, job: EvalJob, asked: Sequence[Asked], found: _Answers, outcome: ImportOutcome) -> bool:
    """Tell whether an evaluation has these very answers already.

    Raises
    ------
    UserError
        If it has others.

    """
    result = read_eval_result(layout, job.id)
    if result is None:
        return False
    table = pq.read_table(layout.predictions(job.id), columns=["question", "written"]).to_pylist()
    before = {row["question"]: row["written"] for row in table}
    now_given = {one.id: [found.texts[found.test.name_question(one.id)].strip()] for one in asked}
    if before != now_given:
        differing = sum(before.get(name) != text for name, text in now_given.items())
        names = ", ".join(source.name for source in result.imported) or "another run"
        raise UserError(
            f"import: {found.cell.key} has other answers already ({differing} of {len(asked)} differ), from {names}; nothing was written. "
            f"Another version of the model is another model: plan it with model.revision=MARK. If the first import was a mistake, remove {layout.job(job.id)}"
        )
    outcome.known.append(found.cell.key)
    return True


def _write(layout: Layout, job: EvalJob, asked: list[Asked], found: _Answers) -> EvalResult:
    texts = [(found.texts[found.test.name_question(one.id)].strip(),) for one in asked]
    assert all(isinstance(one.question, Question) for one in asked)
    layout.job(job.id).mkdir(parents=True, exist_ok=True)
    with holding(layout.lock(job.id)) as held:
        if not held:
            raise UserError(f"import: a process works on {found.cell.key}; try again once it has ended")
        rows, metrics = tabulate_choices(asked, [()] * len(asked), texts, job.backbone.answer)
        done = write_predictions(layout.predictions(job.id), rows, metrics, 0.0)
        result = EvalResult(
            job=job,
            num_questions=done.num_questions,
            accuracy=done.accuracy,
            metrics={name: round(value, 6) for name, value in done.metrics.items()},
            seconds=0.0,
            host=socket.gethostname(),
            started=now(),
            imported=tuple(found.sources),
        )
        write_result(layout, result)
        append_event(layout.journal(job.id), "imported", files=[source.name for source in result.imported])
    return result
