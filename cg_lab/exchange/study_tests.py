"""The tests of a study: which questions its evaluations ask, each set once, and by which ids others know them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cg_lab.data.asking import Exam, pose_test
from cg_lab.data.samples import DataSource
from cg_lab.data.sources import open_source
from cg_lab.mat import Kind, Subset
from cg_lab.planning.plan import Plan, PlannedCatalog
from cg_lab.planning.work import ORIGINAL, EvalJob


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTest:
    """A set of test questions."""

    name: str
    """That of its subset; the second test of the same subset is `NAME#2`."""
    catalog: PlannedCatalog
    jobs: tuple[EvalJob, ...]
    """That ask it."""

    @property
    def target(self) -> str:
        """The subset whose test samples are asked about."""
        return self.jobs[0].target

    @property
    def subset(self) -> Subset:
        """The same with all that its catalogue says of it."""
        return next(one for one in self.catalog.subsets if one.name == self.target)

    @property
    def num_questions(self) -> int:
        """One a test sample."""
        return self.subset.num_test

    @property
    def asks_boxes(self) -> bool:
        """Whether answers are boxes."""
        return self.jobs[0].protocol.ask == "finding" and self.subset.kind is Kind.DETECTION

    def name_question(self, sample: str) -> str:
        """Name a question so that it is the only one of the study's with this name.

        It is the id of its sample, marked where the study asks about a subset in several ways.
        """
        return sample + self.name.removeprefix(self.target)

    def pose(self, source: DataSource) -> Exam:
        """Pose its questions."""
        subsets = {subset.name: subset for subset in self.catalog.subsets}
        return pose_test(source, subsets, self.target, self.jobs[0].protocol)


def list_tests(plan: Plan) -> tuple[StudyTest, ...]:
    """List the tests of a plan, in the order of its evaluations."""
    found: dict[object, list[EvalJob]] = {}
    for job in plan.evals:
        protocol = job.protocol
        asked = replace(ORIGINAL, ask=protocol.ask, places=protocol.places, candidates=protocol.candidates)
        found.setdefault((job.data, job.target, asked), []).append(job)
    counts: dict[str, int] = {}
    tests: list[StudyTest] = []
    for jobs in found.values():
        target = jobs[0].target
        counts[target] = counts.get(target, 0) + 1
        name = target if counts[target] == 1 else f"{target}#{counts[target]}"
        tests.append(StudyTest(name=name, catalog=plan.catalog_of(jobs[0].data), jobs=tuple(jobs)))
    return tuple(tests)


class Sources:
    """Opens the images of each catalogue once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[int, DataSource] = {}

    def open(self, catalog: PlannedCatalog) -> DataSource:
        """Open the source of a catalogue."""
        if id(catalog) not in self._open:
            self._open[id(catalog)] = open_source(catalog, self.folder)
        return self._open[id(catalog)]

    def pose_all(self, tests: tuple[StudyTest, ...]) -> Iterator[tuple[StudyTest, Exam]]:
        """Pose the questions of some tests, one test after the other."""
        for test in tests:
            yield test, test.pose(self.open(test.catalog))
