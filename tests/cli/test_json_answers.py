"""What reading verbs print with `--json`: one shape each, and the docs say which."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from cg_lab.cli import main
from cg_lab.cli.explain import QuestionAnswer, TargetAnswer
from cg_lab.cli.job_history import JobHistory
from cg_lab.cli.jobs import CellStatus, StudyStatus
from cg_lab.execution.attempts import Attempt
from cg_lab.execution.states import Silence
from cg_lab.journal import append_event
from cg_lab.recommendation import RankedMixture, Recommendation
from cg_lab.recommendation.calibration import Calibration, Miss
from cg_lab.recommendation.ranked_mixtures import Shown, SourceView, UsefulSubset, ValidatedMixture
from cg_lab.results import Failure, Layout, read_plan, write_failure
from cg_lab.serialize import parse
from cg_lab.studies.job_pool import PoolUse
from cg_lab.studies.overview import StudyDetails, StudyList, StudyOverview
from tests.cli.small_study import BREAST, run

DOCS = Path(__file__).parents[2] / "docs/json.md"
SHAPES = (
    StudyStatus, CellStatus, Silence, Failure, JobHistory, Attempt, TargetAnswer, QuestionAnswer, StudyList,
    StudyOverview, StudyDetails, PoolUse, Recommendation, RankedMixture, Shown, UsefulSubset, Calibration, Miss,
    SourceView, ValidatedMixture,
)  # fmt: skip


def ask(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> Any:
    capsys.readouterr()
    assert main([*words, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_each_verb_prints_what_its_shape_says(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout, where = Layout(root), (f"results_dir={root}", "tracking=none")
    job = read_plan(layout.plan("s")).evals[0].id
    layout.result(job).unlink()
    append_event(layout.journal(job), "started", host="h", task="local 1")
    write_failure(layout, Failure(job_id=job, kind="crash", message="http://me:pass@h", attempts=1, host="h", when="t"))
    status = parse(StudyStatus, ask(capsys, "status", "--cells", "study=s", *where, status=1), where="status")
    assert [part.message for part in status.failures] == ["http://me:***@h"]
    assert status.cells is not None
    assert len(status.cells) == 3
    history = ask(capsys, "explain", job, "study=s", *where)
    assert len(parse(JobHistory, history, where="explain").attempts) == 1
    parse(StudyList, ask(capsys, "studies", *where), where="studies")
    parse(StudyDetails, ask(capsys, "studies", "show", "s", *where), where="studies show")
    parse(PoolUse, ask(capsys, "gc", "--dry-run", *where), where="gc")


def test_a_target_is_explained_as_data(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run("explain", root, BREAST, "us-breast-mass", "--json") == 0
    told = parse(TargetAnswer, json.loads(capsys.readouterr().out), where="explain")
    assert told.target == "us-breast-mass"
    assert {"us-lung-mass", "xray-breast-mass"} <= set(told.questions[0].related)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_the_docs_list_the_fields_of_each_shape(shape: type[Any]) -> None:
    page = DOCS.read_text(encoding="utf-8")
    section = page.split(f"\n## {shape.__name__}", 1)[1].split("\n## ", 1)[0]
    told = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert told == [part.name for part in dataclasses.fields(shape)]
