"""Answers of a model that cg_lab never saw: each by its id, whole evaluations or none, and marked for ever."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cg_lab.arms import Arm
from cg_lab.cli import main
from cg_lab.errors import UserError
from cg_lab.exchange.answer_files import Whose, inspect_logs, read_answer_file
from cg_lab.exchange.export import ExportChoice, write_export
from cg_lab.exchange.formats import load_format
from cg_lab.exchange.imported_answers import ImportOutcome, import_files
from cg_lab.planning.plan import Cell, Plan
from cg_lab.results import Layout, read_eval_result
from tests.reporting.answering import plan_images, plan_study

Study = tuple[Layout, Plan]
SMALL = (
    "targets=[us-breast-mass]", "arms=[zero_shot,unrelated,related,blind]", "data.train_per_subset=24",
    "data.test_per_subset=12", "design.prefer=hash",
)  # fmt: skip
MINE = ("model=elsewhere", "model.name=mine")
Row = dict[str, Any]


@pytest.fixture
def mine(tmp_path: Path) -> Study:
    """Plan a study of a model that is elsewhere."""
    layout = Layout(tmp_path / "r")
    return layout, plan_study(layout, *MINE, *SMALL)


@pytest.fixture
def questions(mine: Study, tmp_path: Path) -> list[Row]:
    """Give the exported questions."""
    layout, plan = mine
    choice = ExportChoice(images="reference", form=None)
    write_export(layout, plan, load_format("hf"), tmp_path / "exported", choice)
    return pq.read_table(tmp_path / "exported" / "questions.parquet").to_pylist()


def write_csv(path: Path, rows: Iterable[Row]) -> Path:
    rows = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def answer_right(questions: list[Row], every: int = 1) -> list[Row]:
    """Be right in one question of so many, and else wrong."""
    return [
        {"question": row["id"], "answer": "ABCD"[(row["answer"] + bool(number % every)) % len(row["options"])]}
        for number, row in enumerate(questions)
    ]


def take(study: Study, *paths: Path, **told: Any) -> ImportOutcome:
    layout, plan = study
    return import_files(layout, plan, [read_answer_file(path) for path in paths], Whose(**told))


def find_cell(plan: Plan, arm: str, seed: int | None) -> Cell:
    return next(cell for cell in plan.cells if (cell.arm, cell.seed) == (arm, seed))


def list_written(layout: Layout) -> list[Path]:
    return [path for path in layout.root.rglob("*") if path.is_file() and "studies" not in path.parts]


def test_a_table_of_answers_becomes_a_result_that_says_where_it_is_from(
    mine: Study, questions: list[Row], tmp_path: Path
) -> None:
    layout, plan = mine
    path = write_csv(tmp_path / "a.csv", answer_right(questions, 3))
    done = take(mine, path, arm="related", seed=1)
    cell = find_cell(plan, "related", 1)
    assert done.cells == [cell.key]
    result = read_eval_result(layout, cell.eval_job)
    assert result
    assert result.accuracy == 4 / 12
    assert [source.name for source in result.imported] == ["a.csv"]
    assert len(result.imported[0].sha256) == 64
    rows = pq.read_table(layout.predictions(cell.eval_job)).to_pylist()
    assert [row["question"] for row in rows] == [row["question"] for row in questions]
    assert [row["written"] for row in rows] == [[one["answer"]] for one in answer_right(questions, 3)]
    assert {row["log_probs"] for row in rows} == {None}
    assert layout.list_done() == {cell.eval_job}


def test_words_and_intervals_for_models_that_cg_lab_never_saw(
    mine: Study, questions: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout, plan = mine
    every = {Arm.ZERO_SHOT: 3, Arm.UNRELATED: 3, Arm.RELATED: 1, Arm.BLIND: 3}
    rows = [
        {**row, "arm": cell.arm, "seed": "" if cell.seed is None else cell.seed}
        for cell in plan.cells
        for row in answer_right(questions, every[cell.arm])
    ]
    path = write_csv(tmp_path / "all.csv", rows)
    command = ["import", f"results_dir={layout.root}", str(path), "--study", "s"]
    assert main(command) == 0
    assert "12 answers, 100.0 % right, 0.0 % name no option" in capsys.readouterr().out
    assert main(["report", f"results_dir={layout.root}", "study=s"]) == 0
    page = (layout.study("s") / "report.md").read_text(encoding="utf-8")
    assert "mine, trained and asked by other tools" in page
    assert f"{len(plan.evals)} of {len(plan.evals)} evaluations are imported, from all.csv by a table (SHA-256" in page
    assert "highest likelihood" not in page
    with (layout.study("s") / "effects.csv").open(encoding="utf-8", newline="") as file:
        related = next(row for row in csv.DictReader(file) if row["arm"] == "related")
    assert float(related["accuracy"]) == 1
    assert float(related["gain_over_zero_shot"]) == pytest.approx(8 / 12, abs=1e-6)
    assert related["gain_over_zero_shot_low"]
    assert related["verdict"]
    assert main(command) == 0
    assert f"{len(plan.evals)} evaluations had the same answers already" in capsys.readouterr().out


def test_what_is_not_there_yet_is_told_and_nothing_of_it_is_written(
    mine: Study, questions: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout, plan = mine
    rows = answer_right(questions)
    rows[2]["answer"] = " "
    path = write_csv(tmp_path / "a.csv", rows[:-1])
    command = ["import", f"results_dir={layout.root}", str(path), "--study", "s", "--arm", "zero_shot"]
    assert main(command) == 1
    key = find_cell(plan, "zero_shot", None).key
    ids = f"{questions[2]['id']}, {questions[-1]['id']}"
    said = capsys.readouterr().err
    assert f"not imported: {key}: 2 of 12 questions have no answer, such as {ids}" in said
    assert not layout.list_done()
    assert main(["report", f"results_dir={layout.root}", "study=s"]) == 0
    assert "not imported yet" in (layout.study("s") / "cells.csv").read_text(encoding="utf-8")


def test_files_may_share_an_evaluation(mine: Study, questions: list[Row], tmp_path: Path) -> None:
    layout, plan = mine
    rows = answer_right(questions)
    paths = [write_csv(tmp_path / f"{part}.csv", rows[part::2]) for part in (0, 1)]
    assert take(mine, *paths, arm="zero_shot").cells
    result = read_eval_result(layout, find_cell(plan, "zero_shot", None).eval_job)
    assert result
    assert [source.name for source in result.imported] == ["0.csv", "1.csv"]


def spoil_twice(rows: list[Row]) -> list[Row]:
    return [*rows, {**rows[3], "answer": "A"}]


def spoil_invented(rows: list[Row]) -> list[Row]:
    return [*rows, {"question": "us-breast-mass/test/99", "answer": "A"}]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_twice, r"a\.csv, line 14: question 'us-breast-mass/test/3' is answered twice for .*zero_shot"),
        (spoil_invented, r"a\.csv, line 14: no question 'us-breast-mass/test/99' in study 's'"),
    ],
)
def test_no_answer_is_taken_twice_and_none_is_invented(
    spoil: Callable[[list[Row]], list[Row]], said: str, mine: Study, questions: list[Row], tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "a.csv", spoil(answer_right(questions)))
    with pytest.raises(UserError, match=said):
        take(mine, path, arm="zero_shot")
    assert not list_written(mine[0])


def test_other_answers_than_those_that_are_there_are_refused(mine: Study, questions: list[Row], tmp_path: Path) -> None:
    layout, _ = mine
    take(mine, write_csv(tmp_path / "a.csv", answer_right(questions)), arm="zero_shot")
    before = {path: path.read_bytes() for path in list_written(layout)}
    other = write_csv(tmp_path / "b.csv", answer_right(questions, 2))
    both = [{**row, "arm": "related", "seed": 0} for row in answer_right(questions)]
    with pytest.raises(UserError, match=r"other answers already \(6 of 12 differ\), from a\.csv.*model\.revision=MARK"):
        take(mine, write_csv(tmp_path / "c.csv", both), other, arm="zero_shot")
    assert {path: path.read_bytes() for path in list_written(layout)} == before


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, r"whose answers are these\? --arm '': known: blind, related, unrelated, zero_shot"),
        ({"arm": "relatd"}, "Did you mean 'related'"),
        ({"arm": "related"}, r"2 evaluations of arm related ask 'us-breast-mass' .* say which by --seed$"),
        ({"arm": "related", "seed": 7}, "no cell of arm related, seed 7 is asked 'us-breast-mass'"),
    ],
)
def test_it_must_be_clear_whose_answers_these_are(
    told: Row, said: str, mine: Study, questions: list[Row], tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "a.csv", answer_right(questions))
    with pytest.raises(UserError, match=said):
        take(mine, path, **told)
    assert not list_written(mine[0])


def test_results_of_weights_that_cg_lab_loads_are_never_taken_from_files(questions: list[Row], tmp_path: Path) -> None:
    layout = Layout(tmp_path / "own")
    plan = plan_study(layout, *SMALL)
    path = write_csv(tmp_path / "a.csv", answer_right(questions))
    with pytest.raises(UserError, match="about 'tiny_llava', which cg_lab asks itself.*model=elsewhere"):
        take((layout, plan), path, arm="zero_shot")


def test_a_study_of_a_model_elsewhere_is_not_swept(mine: Study, capsys: pytest.CaptureFixture[str]) -> None:
    layout, _ = mine
    settings = [part for part in SMALL if not part.startswith("design")]
    assert main(["sweep", f"results_dir={layout.root}", "study=t", "tracking=none", *MINE, *settings]) == 2
    assert "'mine' is trained and asked by other tools. `export` writes" in " ".join(capsys.readouterr().err.split())
    main(["status", f"results_dir={layout.root}", "study=s"])
    assert "answers come by: python -m cg_lab import FILE --study s" in capsys.readouterr().out


def test_boxes_and_every_order_are_not_imported(questions: list[Row], tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    layout = Layout(tmp_path / "boxes")
    plan = plan_images(layout, tmp_path / "files", *MINE, boxes=True)
    write_export(layout, plan, load_format("hf"), tmp_path / "o", ExportChoice(images="reference", form=None))
    ids = pq.read_table(tmp_path / "o" / "questions.parquet")["id"].to_pylist()
    path = write_csv(tmp_path / "a.csv", [{"question": one, "answer": "[0,0,1,1]"} for one in ids])
    with pytest.raises(UserError, match="answered by boxes"):
        take((layout, plan), path, arm="zero_shot")
    turned = Layout(tmp_path / "turned")
    plan = plan_study(turned, *MINE, *SMALL, "evaluation.rotations=all")
    with pytest.raises(UserError, match="every order of options"):
        take((turned, plan), write_csv(tmp_path / "b.csv", answer_right(questions)), arm="zero_shot")


# logs ---------------------------------------------------------------------------------------------------------------


def make_log(questions: list[Row], **task_args: Any) -> tuple[Row, list[Row]]:
    """Make a log of inspect_ai, with what is read of it."""
    samples = [
        {
            "id": row["id"],
            "epoch": 1,
            "output": {"choices": [{"message": {"content": f" {row['letter']}"}}]},
            "error": None,
        }
        for row in questions
    ]
    thought = [{"type": "reasoning", "reasoning": "A?"}, {"type": "text", "text": questions[0]["letter"]}]
    samples[0]["output"]["choices"][0]["message"]["content"] = thought
    return {"eval": {"model": "openai/m", "task_args": task_args}}, samples


def write_eval(path: Path, head: Row, samples: list[Row]) -> Path:
    """Write an archive as inspect_ai does, packed by Zstandard."""
    members = {f"samples/{one['id']}_epoch_1.json": one for one in samples} | {"header.json": head}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            raw = json.dumps(content).encode()
            archive.writestr(name, pa.compress(raw, "zstd", asbytes=True))
            info = archive.getinfo(name)
            info.compress_type, info.file_size = inspect_logs.ZSTANDARD, len(raw)
    return path


@pytest.mark.parametrize("form", ["eval", "json"])
def test_logs_of_inspect_say_whose_answers_they_hold(
    form: str, mine: Study, questions: list[Row], tmp_path: Path
) -> None:
    layout, plan = mine
    head, samples = make_log(questions, arm="related", seed=1)
    path = tmp_path / f"log.{form}"
    if form == "eval":
        write_eval(path, head, samples)
    else:
        path.write_text(json.dumps({**head, "samples": samples}), encoding="utf-8")
    assert take(mine, path).cells == [find_cell(plan, "related", 1).key]
    result = read_eval_result(layout, find_cell(plan, "related", 1).eval_job)
    assert result
    assert result.accuracy == 1
    assert (result.imported[0].tool, result.imported[0].model) == ("inspect_ai", "openai/m")


def test_what_failed_in_a_tool_is_no_answer(mine: Study, questions: list[Row], tmp_path: Path) -> None:
    head, samples = make_log(questions)
    samples[1]["error"] = {"message": "time-out"}
    samples[2]["output"]["choices"] = []
    path = write_eval(tmp_path / "log.eval", head, samples)
    (left_out,) = take(mine, path, arm="zero_shot").incomplete
    assert left_out.examples == (questions[1]["id"], questions[2]["id"])
    lines = [{"resps": row["letter"], "answered": {"id": row["id"]}} for row in questions]
    lines[4]["resps"] = "[LMMS_EVAL_REQUEST_FAILED after 5 retries] cut"
    lines[5]["resps"] = [[lines[5]["resps"]]]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    (left_out,) = take(mine, path, arm="zero_shot").incomplete
    assert left_out.examples == (questions[4]["id"],)


def test_an_evaluation_that_was_repeated_is_answered_twice(mine: Study, questions: list[Row], tmp_path: Path) -> None:
    head, samples = make_log(questions)
    path = tmp_path / "log.json"
    path.write_text(json.dumps({**head, "samples": [*samples, {**samples[0], "epoch": 2}]}), encoding="utf-8")
    with pytest.raises(UserError, match="epoch 2: question .* is answered twice"):
        take(mine, path, arm="zero_shot")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "", "is none of: a log of inspect_ai"),
        ("a.csv", "id,text\n1,A\n", "no column question and no column answer"),
        ("a.csv", "question,answer,seed\nq,A,x\n", "line 2: seed 'x' is no whole number"),
        ("a.jsonl", '{"doc_id": 1}\n', r"line 1: no sample of a task that `export --to lmms-eval` wrote"),
        ("a.eval", "no zip", "no log of inspect_ai that can be read"),
        ("a.json", "[]", "no log of inspect_ai that can be read"),
    ],
)
def test_what_holds_no_answers_is_refused_in_a_line(name: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read_answer_file(tmp_path / name)


def test_a_log_that_has_no_end_is_told(mine: Study, questions: list[Row], tmp_path: Path) -> None:
    _, samples = make_log(questions)
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("samples/a.json", json.dumps(samples[0]))
    with pytest.raises(UserError, match="was not finished; `inspect eval-retry`"):
        read_answer_file(path)
    assert not list_written(mine[0])
