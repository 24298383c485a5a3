"""What leaves a study for other tools: its own questions, who was trained on what, and no image unless it is asked."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cg_lab.answer_parser import parse_choice
from cg_lab.arms import Arm
from cg_lab.catalog import ImageData
from cg_lab.cli import main
from cg_lab.cli.verb_options import EXPORT_FORMATS
from cg_lab.data.asking import pose_test, pose_training
from cg_lab.data.samples import Split, deal_labels, draw_mixture
from cg_lab.data.sources import open_source
from cg_lab.dotted_modules import list_modules
from cg_lab.errors import UserError
from cg_lab.exchange import exported_images, formats, study_tables
from cg_lab.exchange.export import ExportChoice, write_export
from cg_lab.exchange.formats import FORMATS, load_format
from cg_lab.exchange.study_tests import list_tests
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import Protocol
from cg_lab.questions import LETTERS, AnswerForm, Question, format_answer, format_question
from cg_lab.results import Layout, write_plan
from tests.reporting.answering import plan_images, plan_study

Study = tuple[Layout, Plan]
PHANTOMS = (
    "targets=[us-breast-mass,ct-brain-mass]", "arms=[zero_shot,related,shuffled,blind]", "data.train_per_subset=24",
    "data.test_per_subset=12",
)  # fmt: skip


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Study:
    layout = Layout(tmp_path_factory.mktemp("phantoms"))
    return layout, plan_study(layout, *PHANTOMS)


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Image files of patients who are named in a column."""
    layout = Layout(tmp_path_factory.mktemp("patients"))
    folder = layout.root / "files"
    folder.mkdir()
    plan_images(layout, folder)
    manifest = folder / "manifest.csv"
    lines = manifest.read_text(encoding="utf-8").splitlines()
    named = [f"{line},{'patient' if not number else f'Jane Roe {number % 16}'}" for number, line in enumerate(lines)]
    manifest.write_text("\n".join(named) + "\n", encoding="utf-8")
    overrides = ("data=manifest", f"data.path={manifest}", "design=all_related", "design.kinds=[classification]")
    return layout, plan_study(layout, *overrides, "targets=[ct-lung-mass]")


def export(study: Study, folder: Path, to: str, *, images: Any = "copy", form: AnswerForm | None = None) -> Path:
    layout, plan = study
    write_export(layout, plan, load_format(to), folder, ExportChoice(images=images, form=form))
    return folder


def read(folder: Path, table: str) -> list[dict[str, Any]]:
    return pq.read_table(folder / f"{table}.parquet").to_pylist()


def list_asked(study: Study) -> list[tuple[str, Question, np.ndarray]]:
    """List what the study's evaluations ask, by way of what workers use."""
    layout, plan = study
    found: dict[str, tuple[str, Question, np.ndarray]] = {}
    for job in plan.evals:
        catalog = plan.catalog_of(job.data)
        source = open_source(catalog, layout.data)
        subsets = {subset.name: subset for subset in catalog.subsets}
        exam = pose_test(source, subsets, job.target, job.protocol)
        for sample, question, image in zip(exam.samples, exam.questions, source.read_images(exam.samples), strict=True):
            assert isinstance(question, Question)
            found[sample.id] = sample.id, question, np.asarray(image)
    return list(found.values())


def test_every_format_is_on_the_command_line_and_a_module() -> None:
    assert EXPORT_FORMATS == FORMATS
    assert sorted(name.replace("-", "_") for name in FORMATS) == list(list_modules(formats))


@pytest.mark.parametrize("images", ["copy", "reference"])
def test_datasets_opens_the_questions_that_the_study_asks(
    phantoms: Study, images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    folder = export(phantoms, tmp_path / "hf", "hf", images=images, form=AnswerForm.LETTER)
    opened = datasets.load_dataset(str(folder), "questions", split="test", cache_dir=str(tmp_path / "cache"))
    asked = list_asked(phantoms)
    assert len(opened) == len(asked) == 24
    for row, (sample, question, pixels) in zip(opened, asked, strict=True):
        assert (row["id"], row["question"], row["subset"]) == (sample, sample, sample.split("/")[0])
        assert row["prompt"] == format_question(question, AnswerForm.LETTER)
        assert (tuple(row["options"]), row["answer"]) == (question.options, question.answer)
        assert row["letter"] == row["target"] == LETTERS[question.answer]
        assert (row["image"] is None) == (images == "reference")
        if images == "copy":
            assert np.array_equal(np.asarray(row["image"]), pixels)
    for name in study_tables.TABLES:
        found = datasets.load_dataset(str(folder), name, split="train", cache_dir=str(tmp_path / "cache"))
        assert len(found) == len(read(folder, name))


def test_mixtures_name_the_samples_and_labels_that_models_are_trained_on(phantoms: Study, tmp_path: Path) -> None:
    layout, plan = phantoms
    folder = export(phantoms, tmp_path / "hf", "hf")
    source = open_source(plan.catalogs[0], layout.data)
    found: dict[str, list[tuple[str, str]]] = {}
    for row in read(folder, "mixtures"):
        assert len(row["samples"]) == row["num_samples"]
        found.setdefault(row["mixture"], []).extend(zip(row["samples"], row["answers"], strict=True))
    assert set(found) == {job.id for job in plan.finetunes}
    for job in plan.finetunes:
        drawn = draw_mixture(source, job.mixture)
        assert found[job.id] == [(one.id, one.label) for one in deal_labels(drawn, job.mixture)]
    assert {row["labels"] for row in read(folder, "mixtures")} == {"true", "shuffled"}


def test_samples_say_what_is_trained_on_as_models_are_asked(patients: Study, tmp_path: Path) -> None:
    layout, plan = patients
    folder = export(patients, tmp_path / "hf", "hf", images="reference", form=AnswerForm.LETTER)
    rows = {row["sample"]: row for row in read(folder, "samples")}
    assert len(rows) == len(read(folder, "samples"))
    assert set(rows) == {sample for row in read(folder, "mixtures") for sample in row["samples"]}
    (catalog,) = plan.catalogs
    source, subsets = open_source(catalog, layout.data), {subset.name: subset for subset in catalog.subsets}
    files = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (layout.root / "files").glob("*.png")}
    for job in plan.finetunes:
        posed = pose_training(source, subsets, job.mixture)
        for sample, question in zip(posed.samples, posed.questions, strict=True):
            row = rows[sample.id]
            assert (row["subset"], row["label"]) == (sample.subset, sample.label)
            assert row["prompt"] == format_question(question, AnswerForm.LETTER)
            assert row["answer"] == format_answer(question, AnswerForm.LETTER)  # type: ignore[arg-type]
            assert row["sha256"] in files


def test_arms_say_what_each_cell_is_asked_and_was_shown(phantoms: Study, tmp_path: Path) -> None:
    _, plan = phantoms
    folder = export(phantoms, tmp_path / "hf", "hf")
    proofs = {row["proof"]: row for row in read(folder, "proofs")}
    mixtures = read(folder, "mixtures")
    rows = read(folder, "arms")
    assert [row["cell"] for row in rows] == [cell.key for cell in plan.cells]
    for row, cell in zip(rows, plan.cells, strict=True):
        assert (row["mixture"], row["evaluation"], row["seed"]) == (cell.finetune_job, cell.eval_job, cell.seed)
        assert (row["arm"], row["test"]) == (str(cell.arm), plan.contrast_by_id[cell.contrast].target)
        assert row["image"] == ("blank" if cell.arm is Arm.BLIND else "original")
        proof = proofs[row["proof"]]
        assert (proof["target_absent"], proof["num_train"]) == (cell.proof.target_absent, cell.proof.num_train)
        shown = [tuple(part["subsets"]) for part in read(folder, "coverage") if part["proof"] == row["proof"]]
        assert shown == [part.subsets for part in cell.proof.coverage]
        own = [one for one in mixtures if one["mixture"] == row["mixture"]]
        assert row["target"] not in {one["subset"] for one in own}
        assert sum(one["num_samples"] for one in own) == proof["num_train"]


def test_what_is_trained_on_is_never_asked(patients: Study, tmp_path: Path) -> None:
    folder = export(patients, tmp_path / "hf", "hf")
    target_seen = {row["proof"] for row in read(folder, "proofs") if not row["target_absent"]}
    trained = {
        sample
        for row in read(folder, "mixtures")
        for sample in row["samples"]
        if row["mixture"] in {arm["mixture"] for arm in read(folder, "arms") if arm["proof"] not in target_seen}
    }
    asked = {row["question"] for row in read(folder, "questions")}
    assert trained
    assert not trained & asked


@pytest.mark.parametrize("to", FORMATS)
def test_neither_images_nor_names_of_patients_leave_unless_asked(patients: Study, to: str, tmp_path: Path) -> None:
    folder = export(patients, tmp_path / to, to, images="reference")
    files = [path for path in folder.rglob("*") if path.is_file()]
    whole = b"".join(path.read_bytes() for path in files)
    whole += "".join(str(read(folder, path.stem)) for path in files if path.suffix == ".parquet").encode()
    assert {path.suffix for path in files} <= {".md", ".parquet", ".py", ".jsonl", ".tsv", ".json", ".yaml"}
    for secret in (b"\x89PNG", b"iVBOR", b"Jane Roe", b"0-1.png", str(patients[0].root).encode()):
        assert secret not in whole, secret


def test_references_are_the_hashes_of_the_files_and_groups_are_numbers(patients: Study, tmp_path: Path) -> None:
    layout, plan = patients
    rows = read(export(patients, tmp_path / "hf", "hf", images="reference"), "questions")
    there = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (layout.root / "files").glob("*.png")}
    assert {row["sha256"] for row in rows} <= there
    source = open_source(plan.catalogs[0], layout.data)
    groups = [sample.group for sample in source.read_samples("ct-lung-mass", Split.TEST)]
    assert any(groups)
    pairs = set(zip(groups, [row["group"] for row in rows], strict=True))
    assert len(pairs) == len({group for group, _ in pairs}) == len({number for _, number in pairs})


def test_copied_images_hold_pixels_and_nothing_else(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    from cg_lab.exchange.exported_images import write_png

    told = PngInfo()
    told.add_text("PatientName", "Jane Roe")
    Image.new("L", (3, 2), 7).save(tmp_path / "a.png", pnginfo=told, dpi=(72, 72))
    image = Image.open(tmp_path / "a.png")
    image.load()
    copied = Image.open(BytesIO(write_png(image)))
    assert copied.info == {}
    assert copied.tobytes() == image.tobytes()


def test_many_images_are_read_by_several_processes_in_their_order(
    phantoms: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, plan = phantoms
    tests = list_tests(plan)
    here = list(exported_images.list_pngs(tests, layout.data))
    assert len(here) == 24
    monkeypatch.setattr(exported_images, "FEW", 0)
    monkeypatch.setattr(exported_images, "AT_ONCE", 5)
    monkeypatch.setattr(exported_images.os, "sched_getaffinity", lambda _: {0, 1})
    assert list(exported_images.list_pngs(tests, layout.data)) == here
    gone = replace(tests[0], catalog=replace(plan.catalogs[0], data=ImageData(content="gone", seed=0)))
    with pytest.raises(UserError, match="no table of images"):
        list(exported_images.list_pngs([gone], layout.data))


def test_the_inspect_task_has_each_question_with_its_image(phantoms: Study, tmp_path: Path) -> None:
    folder = export(phantoms, tmp_path / "i", "inspect")
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    for row, (sample, question, pixels) in zip(rows, list_asked(phantoms), strict=True):
        image, text = row["input"][0]["content"]
        assert row["id"] == sample
        assert text["text"] == format_question(question, AnswerForm.TEXT)
        assert (row["target"], tuple(row["choices"])) == (LETTERS[question.answer], question.options)
        assert np.array_equal(np.asarray(Image.open(folder / image["image"])), pixels)
    compile((folder / "task.py").read_text(encoding="utf-8"), "task.py", "exec")
    assert "HAS_IMAGES = True" in (folder / "task.py").read_text(encoding="utf-8")


def test_an_exported_task_reads_answers_as_cg_lab_does_without_cg_lab(phantoms: Study, tmp_path: Path) -> None:
    folder = export(phantoms, tmp_path / "l", "lmms-eval", form=AnswerForm.LETTER)
    texts = ["B", "(C) cyst", "The answer is A.", "<think>A?</think> c", "mass", "neither", r"\boxed{B}"]
    options = ("no mass", "mass", "cyst")
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); from answer_parser import AnswerForm, parse_choice\n"
        "print(json.dumps([[parse_choice(t, tuple(json.loads(sys.argv[3])), f) for t in json.loads(sys.argv[2])] "
        "for f in AnswerForm])); assert 'cg_lab' not in sys.modules"
    )
    command = [sys.executable, "-I", "-c", code, str(folder), json.dumps(texts), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[parse_choice(text, options, form) for text in texts] for form in AnswerForm]
    for name in ("utils.py", "answer_parser.py", "local_images.py"):
        assert "import cg_lab" not in (text := (folder / name).read_text(encoding="utf-8"))
        assert "from cg_lab" not in text


def test_vlmevalkit_has_options_in_columns_and_images_in_base64(phantoms: Study, tmp_path: Path) -> None:
    folder = export(phantoms, tmp_path / "v", "vlmevalkit")
    csv.field_size_limit(10**9)
    with (folder / "cg_lab_s.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    for number, (row, (sample, question, pixels)) in enumerate(zip(rows, list_asked(phantoms), strict=True), 1):
        assert (row["index"], row["id"], row["question"]) == (str(number), sample, question.text)
        assert [row[letter] for letter in "ABCD" if row[letter]] == list(question.options)
        assert row[row["answer"]] == question.options[question.answer]
        assert np.array_equal(np.asarray(Image.open(BytesIO(base64.b64decode(row["image"])))), pixels)


def test_croissant_names_every_file_by_its_hash_and_every_column(phantoms: Study, tmp_path: Path) -> None:
    folder = export(phantoms, tmp_path / "c", "croissant")
    told = json.loads((folder / "croissant.json").read_text(encoding="utf-8"))
    for part in told["distribution"]:
        assert part["sha256"] == hashlib.sha256((folder / part["contentUrl"]).read_bytes()).hexdigest()
    for part in told["recordSet"]:
        columns = pq.read_schema(folder / f"{part['name']}.parquet").names
        assert [field["source"]["extract"]["column"] for field in part["field"]] == columns


def test_boxes_go_where_there_is_a_place_for_them(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "r")
    (tmp_path / "files").mkdir()
    plan = plan_images(layout, tmp_path / "files", boxes=True)
    rows = read(export((layout, plan), tmp_path / "hf", "hf"), "questions")
    assert all(len(row["boxes"][0]) == 4 and not row["options"] and row["answer"] is None for row in rows)
    with pytest.raises(UserError, match="only hf and croissant take"):
        export((layout, plan), tmp_path / "i", "inspect")


def test_a_subset_that_is_asked_in_two_ways_has_ids_of_two_kinds(phantoms: Study) -> None:
    _, plan = phantoms
    job = plan.evals[0]
    other = replace(job, protocol=Protocol(image="original", ask="elements", places=(0,), candidates=("CT", "US")))
    blank = replace(job, protocol=Protocol(image="blank"))
    first, second = list_tests(replace(plan, evals=(job, other, blank)))
    assert (first.jobs, second.jobs) == ((job, blank), (other,))
    assert (first.name_question("a/1"), second.name_question("a/1")) == ("a/1", "a/1#2")


def test_an_export_that_fails_leaves_nothing(patients: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="is there already"):
        export(patients, tmp_path / "there", "hf")
    monkeypatch.setattr("cg_lab.data.pictures.MAX_BYTES", 1)
    with pytest.raises(UserError, match="can't be read any more"):
        export(patients, tmp_path / "hf", "hf")
    assert {path.name for path in tmp_path.iterdir()} == {"there"}


def test_the_verb_lets_no_image_out_by_itself(
    phantoms: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout, plan = phantoms
    write_plan(layout, plan)
    command = ["export", f"results_dir={layout.root}", "s", "--to", "hf", "--out"]
    assert main([*command, str(tmp_path / "a")]) == 0
    assert "24 test questions without images" in capsys.readouterr().out
    assert {row["image"] for row in read(tmp_path / "a", "questions")} == {None}
    assert main([*command, str(tmp_path / "b"), "--images", "copy", "--answer", "letter"]) == 0
    assert "24 test questions with images, 3 training mixtures" in capsys.readouterr().out
    assert main([*command[:2], "t", *command[3:], str(tmp_path / "c")]) == 2
    assert "no study 't'" in capsys.readouterr().err
    assert main([*command[:3], "--to", "inspct", "--out", str(tmp_path / "c")]) == 2
    assert "Did you mean 'inspect'?" in capsys.readouterr().err
