"""The answers beside a report, as its page loads them."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cg_lab.arms import Arm
from cg_lab.planning.plan import Cell, Plan
from cg_lab.questions import AnyQuestion
from cg_lab.reporting import answer_images
from cg_lab.reporting.answer_pages import write_answer_pages
from cg_lab.reporting.answer_pieces import write_script
from cg_lab.reporting.exams import NO_CHOICE
from cg_lab.reporting.read import read_scores
from cg_lab.reporting.write import open_templates, write_report
from cg_lab.results import Layout
from tests.reporting.answering import Row, answer_by_arm, choose, find, plan_images, plan_study, write, write_answers

Study = tuple[Layout, Plan]
ALL_ARMS = "arms=[zero_shot,unrelated,related,sources,alone,ceiling]"


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Study:
    layout = Layout(tmp_path_factory.mktemp("phantoms"))
    plan = plan_study(layout, "targets=[ct-brain-mass,us-kidney-bleed]", "data.test_per_subset=30", ALL_ARMS)
    write_answers(layout, plan, answer_by_arm)
    write_report(layout, plan.study)
    return layout, plan


def find_folder(study: Study) -> Path:
    return study[0].study(study[1].study) / "answers"


def read_call(path: Path) -> list[Any]:
    """Give what a piece calls the page's function with."""
    told = re.fullmatch(r"receive\w*\((.*)\);\n", path.read_text(encoding="utf-8"), re.DOTALL)
    assert told
    return json.loads(f"[{told[1]}]")


def read_index(study: Study) -> dict[str, Any]:
    page = (find_folder(study) / "index.html").read_text(encoding="utf-8")
    return json.loads(next(line for line in page.splitlines() if line.startswith("const index = "))[14:-1])


def write_pages(study: Study, *, images: bool = True, folder: Path | None = None) -> None:
    """Write the pages as a report does."""
    layout, plan = study
    folder = folder or layout.study(plan.study)
    write_answer_pages(plan, layout, read_scores(plan, layout), open_templates(), folder, images=images)


def unpack(text: str) -> np.ndarray:
    return np.frombuffer(b64decode(text), dtype=np.uint8)


def list_sittings(study: Study) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """List the exam's name, what was asked and what was answered."""
    found = []
    for name, _, number, place, _ in read_index(study)["exams"]:
        _, piece = read_call(find_folder(study) / f"piece-{number}.js")
        exam = piece["exams"][place]
        found += [(name, piece["tests"][exam["test"]], sitting) for sitting in exam["sittings"]]
    return found


def test_the_pieces_hold_what_every_cell_s_predictions_hold(phantoms: Study) -> None:
    layout, plan = phantoms
    sittings = list_sittings(phantoms)
    assert len(sittings) == len(plan.cells)
    names = {"CT Brain Mass": "ct-brain-mass", "US Kidney Bleed": "us-kidney-bleed"}
    contrasts = {contrast.id: contrast.target for contrast in plan.contrasts}
    for name, test, sitting in sittings:
        target, _, source = name.partition(": its source ")
        arm = list(Arm)[sitting["arm"]]
        (cell,) = (
            cell
            for cell in plan.cells
            if (cell.arm, cell.variant, cell.seed) == (arm, sitting["variant"], sitting["seed"])
            and contrasts[cell.contrast] == names[target]
            and (not source or cell.subset == source)
        )
        rows = pq.read_table(layout.predictions(cell.eval_job)).to_pylist()
        assert [test["start"] + part for part in test["ids"]] == [row["question"] for row in rows]
        assert [test["texts"][place] for place in test["text"]] == [row["instruction"] for row in rows]
        assert [test["sets"][place] for place in test["set"]] == [row["options"] for row in rows]
        assert unpack(test["answer"]).tolist() == [row["answer"] for row in rows]
        assert unpack(sitting["given"]).tolist() == [row["choice"] for row in rows]
        shares = [np.exp(row["log_probs"]).max() / np.exp(row["log_probs"]).sum() for row in rows]
        assert unpack(sitting["sure"]).tolist() == np.round(100 * np.array(shares)).astype(int).tolist()


def test_targets_come_before_sources_and_the_counts_are_told(phantoms: Study) -> None:
    exams = read_index(phantoms)["exams"]
    assert [is_target for _, is_target, *_ in exams] == [1, 1, 0, 0, 0, 0]
    page = (find_folder(phantoms) / "index.html").read_text(encoding="utf-8")
    total = 30 * len(phantoms[1].cells)
    assert f"{total:,} answers to 60 test questions, and to 120 about sources" in page
    report = find_folder(phantoms).parent / "report.html"
    assert f'<a href="answers/index.html">Browse all {total:,} answers</a>' in report.read_text(encoding="utf-8")


def test_every_test_question_has_its_image(phantoms: Study) -> None:
    index = read_index(phantoms)
    assert len(set(index["images"])) == 6
    for name in index["images"]:
        told, found = read_call(find_folder(phantoms) / f"{name}-0.js")
        assert told == f"{name}-0"
        assert len(found) == 30
        assert all(uri.startswith("data:image/png;base64,") and width == 48 for uri, width, _ in found)


def test_images_stay_from_report_to_report_and_go_when_they_are_not_wanted(phantoms: Study) -> None:
    folder = find_folder(phantoms)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    image = next(path for path in folder.iterdir() if re.match(r"[0-9a-f]{16}-0", path.name))
    image.write_text("kept", encoding="utf-8")
    (folder / "piece-7.js").write_text("of an earlier report", encoding="utf-8")
    write_pages(phantoms)
    assert image.read_text(encoding="utf-8") == "kept"
    image.unlink()
    write_pages(phantoms)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    write_pages(phantoms, images=False)
    assert not [path for path in folder.iterdir() if b"data:image" in path.read_bytes()]
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "piece-0.js"]
    assert "Images were left out, as --no-images" in (folder / "index.html").read_text(encoding="utf-8")
    write_pages(phantoms)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_of_more_questions_than_images_may_be_some_at_even_steps_have_theirs(
    phantoms: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(answer_images, "MOST_IMAGES", 60)
    write_pages(phantoms, folder=tmp_path)
    page = (tmp_path / "answers" / "index.html").read_text(encoding="utf-8")
    assert "60 of 180 test questions, at even steps, have their image here." in page
    sets = [read_call(path)[1] for path in (tmp_path / "answers").glob("*-0.js") if "piece" not in path.name]
    assert {sum(image is not None for image in found) for found in sets} == {10}
    assert {found.index(None) for found in sets} == {1}


def test_images_that_could_not_be_read_are_told_and_tried_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "results")
    plan = plan_images(layout, tmp_path)
    write_answers(layout, plan, answer_by_arm)
    hidden = sorted(tmp_path.glob("0-*.png"))
    for path in hidden:
        path.rename(path.with_suffix(".away"))
    folder = find_folder((layout, plan))
    write_pages((layout, plan))
    assert "The images can&#39;t be shown: image" in (folder / "index.html").read_text(encoding="utf-8")
    assert read_index((layout, plan))["images"] == [""]
    for path in hidden[1:]:
        path.with_suffix(".away").rename(path)
    write_pages((layout, plan))
    (some,) = read_index((layout, plan))["images"]
    shown = sum(image is not None for image in read_call(folder / f"{some}-0.js")[1])
    assert shown >= 7
    hidden[0].with_suffix(".away").rename(hidden[0])
    write_pages((layout, plan))
    (whole,) = read_index((layout, plan))["images"]
    assert all(read_call(folder / f"{whole}-0.js")[1])


def test_no_text_of_the_data_is_read_as_html() -> None:
    assert "<" not in write_script("receive", {"a": "</script><script>alert(1)</script>", "b": ["<!--"]})


def test_the_name_of_a_study_s_parts_is_no_html_either(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plan = plan_study(layout, "targets=[ct-brain-mass]", "data.test_per_subset=20", "arms=[zero_shot]")

    def answer(cell: Cell, number: int, question: AnyQuestion) -> Row:
        return choose(question, 0) | {"options": ["<b>bold</b>", "</script>"], "answer": 0, "log_probs": [0.0, -1.0]}

    write_answers(layout, plan, answer)
    write_pages((layout, plan), images=False)
    assert "<" not in (find_folder((layout, plan)) / "piece-0.js").read_text(encoding="utf-8")
    ((_, test, _),) = list_sittings((layout, plan))
    assert test["sets"] == [["<b>bold</b>", "</script>"]]


def test_a_study_without_answers_has_no_pages_and_no_link(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plan = plan_study(layout, "targets=[ct-brain-mass]", "data.test_per_subset=20")
    write_report(layout, plan.study)
    assert not find_folder((layout, plan)).exists()
    write_answers(layout, plan, answer_by_arm)
    write_pages((layout, plan), images=False)
    assert find_folder((layout, plan)).exists()
    for job in plan.evals:  # as older versions left them
        table = pq.read_table(layout.predictions(job.id))
        pq.write_table(table.select(["question", "group", "score"]), layout.predictions(job.id))
    report = write_report(layout, plan.study).html.read_text(encoding="utf-8")
    assert "answers/index.html" not in report
    assert not find_folder((layout, plan)).exists()


def test_answers_to_other_questions_than_the_rest_are_left_out(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plan = plan_study(layout, "targets=[ct-brain-mass]", "data.test_per_subset=20", "arms=[zero_shot,related,ceiling]")
    write_answers(layout, plan, answer_by_arm)
    (short,) = {cell.eval_job for cell in plan.cells if cell.arm is Arm.CEILING}
    pq.write_table(pq.read_table(layout.predictions(short)).slice(1), layout.predictions(short))
    write_pages((layout, plan), images=False)
    assert [list(Arm)[sitting["arm"]] for _, _, sitting in list_sittings((layout, plan))] == [
        Arm.ZERO_SHOT, Arm.RELATED, Arm.RELATED,
    ]  # fmt: skip


def test_written_answers_have_no_confidence_and_may_name_no_option(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "results")
    plan = plan_images(layout, tmp_path)
    write_answers(layout, plan, lambda cell, number, question: write(question, None if number % 2 else 1))
    write_pages((layout, plan), images=False)
    for _, _, sitting in list_sittings((layout, plan)):
        assert unpack(sitting["given"])[:4].tolist() == [1, NO_CHOICE, 1, NO_CHOICE]
        assert set(unpack(sitting["sure"]).tolist()) == {NO_CHOICE}


def test_boxes_count_as_right_from_a_half_on_and_are_there_to_be_drawn(tmp_path: Path) -> None:
    def answer(cell: Cell, number: int, question: AnyQuestion) -> Row:
        return find(question, [[0.1, 0.25, 0.5, 0.66]] if number else [], (0.0, 0.4999, 0.5, 0.29)[number % 4])

    layout = Layout(tmp_path / "results")
    plan = plan_images(layout, tmp_path, boxes=True)
    write_answers(layout, plan, answer)
    write_pages((layout, plan), images=False)
    for _, test, sitting in list_sittings((layout, plan)):
        assert unpack(sitting["given"])[:4].tolist() == [0, 49, 50, 29]
        assert sitting["found"][:2] == [[], [[0.1, 0.25, 0.5, 0.66]]]
        assert len(test["boxes"]) == len(test["ids"])
        assert all(0.3 < left < right < 0.6 for ((left, _, right, _),) in test["boxes"])
