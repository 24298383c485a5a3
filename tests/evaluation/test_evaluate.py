"""Evaluations on the packaged model: three ways of answering, all orders of options, and boxes that were learnt."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from cg_lab.config import read_study
from cg_lab.data.asking import pose_test, pose_training
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.evaluation import evaluate
from cg_lab.evaluation.evaluate import run_eval
from cg_lab.evaluation.predictions import Asked
from cg_lab.execution.bench import giving_signs
from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.batches import Example
from cg_lab.models.encoding import encode_questions
from cg_lab.models.generating import Written
from cg_lab.planning.work import ORIGINAL, FinetuneJob, Mixture, MixturePart, Protocol
from cg_lab.questions import AnswerForm, BoxQuestion, Question, rotate
from cg_lab.study import AnsweredBy
from cg_lab.training.finetune import run_finetune
from cg_lab.training.trainer_arguments import Surroundings

SIDE = 48


def ask(backbone: LoadedBackbone, *, turned: bool) -> list[Asked]:
    """Ask a few things about noise."""
    generator = np.random.default_rng(0)
    asked: list[Asked] = []
    for number in range(6):
        question = Question(text="What is seen?", options=("circle", "square", "ring"), answer=number % 3)
        turns = [rotate(question, steps) for steps in range(3 if turned else 1)]
        image = Image.fromarray(generator.integers(0, 255, (SIDE, SIDE), dtype=np.uint8))
        examples = encode_questions(backbone, turns, [image] * len(turns))
        asked.append(Asked(id=str(number), subset="s", group=None, label="l", question=question, turns=tuple(examples)))
    return asked


def test_both_ways_of_answering_are_kept_and_compared(backbone: LoadedBackbone, tmp_path: Path) -> None:
    protocol = Protocol(image="original", by="both")
    done = run_eval(backbone, None, ask(backbone, turned=False), protocol, tmp_path / "p.parquet", batch_size=4)
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert all(row["choice"] == int(np.argmax(row["log_probs"])) for row in rows)
    options = rows[0]["options"]
    assert [row["parsed"] for row in rows] == [
        [options.index(row["written"][0])] if row["written"][0] in options else [None] for row in rows
    ]
    failures = np.mean([row["parsed"] == [None] for row in rows])
    assert done.metrics["parse_failures"] == failures < 1
    assert done.metrics["agreement"] == np.mean([row["parsed"] == [row["choice"]] for row in rows])
    assert done.accuracy == np.mean([row["correct"] for row in rows]) == np.mean([row["score"] for row in rows])


@pytest.mark.parametrize("by", ["likelihood", "generation"])
def test_each_batch_is_a_sign_of_life(backbone: LoadedBackbone, tmp_path: Path, by: AnsweredBy) -> None:
    """An evaluation may take hours, and a process that gives no sign is taken away."""
    signs: list[int] = []
    protocol = Protocol(image="original", by=by)
    with giving_signs(backbone.model, lambda: bool(signs.append(0))):
        run_eval(backbone, None, ask(backbone, turned=False), protocol, tmp_path / "p.parquet", batch_size=2)
    assert len(signs) >= 3
    given = len(signs)
    run_eval(backbone, None, ask(backbone, turned=False), protocol, tmp_path / "p.parquet", batch_size=2)
    assert len(signs) == given


def test_all_orders_are_kept_as_they_were_asked(backbone: LoadedBackbone, tmp_path: Path) -> None:
    protocol = Protocol(image="original", rotations="all")
    done = run_eval(backbone, None, ask(backbone, turned=True), protocol, tmp_path / "p.parquet", batch_size=4)
    once = run_eval(backbone, None, ask(backbone, turned=False), ORIGINAL, tmp_path / "o.parquet", batch_size=4)
    rows, plain = (pq.read_table(tmp_path / name).to_pylist() for name in ("p.parquet", "o.parquet"))
    for row, other in zip(rows, plain, strict=True):
        assert row["turned_log_probs"][0] == pytest.approx(other["log_probs"], abs=2e-4)
        assert len(row["turned_log_probs"]) == 3
        assert sum(np.exp(row["log_probs"])) == pytest.approx(1)
    assert "circular_accuracy" in done.metrics
    assert "circular_accuracy" not in once.metrics


def test_what_is_written_counts_where_that_is_asked_for(backbone: LoadedBackbone, tmp_path: Path) -> None:
    protocol = Protocol(image="original", by="generation", rotations="all")
    run_eval(backbone, None, ask(backbone, turned=True), protocol, tmp_path / "p.parquet", batch_size=4)
    for row in pq.read_table(tmp_path / "p.parquet").to_pylist():
        assert row["log_probs"] is None
        assert len(row["parsed"]) == len(row["written"]) == 3
        named = [(place + order) % 3 for order, place in enumerate(row["parsed"]) if place is not None]
        assert row["choice"] == (max(sorted(named), key=named.count) if named else None)


def test_a_checkpoints_own_weights_answer_and_the_untouched_ones_before_and_afterwards(
    backbone: LoadedBackbone, tmp_path: Path
) -> None:
    state = {name: values.clone() for name, values in backbone.model.state_dict().items()}
    for folder, sign in (("same", 1.0), ("turned", -1.0)):
        (tmp_path / folder).mkdir()
        turned = {
            name: sign * values if "multi_modal_projector" in name else values.clone() for name, values in state.items()
        }
        save_file(turned, tmp_path / folder / "model.safetensors")
    asked = ask(backbone, turned=False)

    def answer(weights: Path | None) -> list[float]:
        run_eval(backbone, weights, asked, ORIGINAL, tmp_path / "p.parquet", batch_size=6)
        return [value for row in pq.read_table(tmp_path / "p.parquet").to_pylist() for value in row["log_probs"]]

    untouched, turned, same, again = (answer(part) for part in (None, tmp_path / "turned", tmp_path / "same", None))
    assert untouched == same == again
    assert max(abs(one - other) for one, other in zip(untouched, turned, strict=True)) > 0.01


def test_a_row_tells_the_question_and_every_score_in_its_own_column(backbone: LoadedBackbone, tmp_path: Path) -> None:
    asked = [
        replace(one, id=f"q{number}", subset="ct", group=f"g{number}" if number else None)
        for number, one in enumerate(ask(backbone, turned=False))
    ]
    done = run_eval(backbone, None, asked, ORIGINAL, tmp_path / "p.parquet", batch_size=4)
    table = pq.read_table(tmp_path / "p.parquet")
    rows = table.to_pylist()
    for number, row in enumerate(rows):
        shown = row.pop("log_probs")
        choice = int(np.argmax(shown))
        assert row == {
            "question": f"q{number}", "subset": "ct", "group": f"g{number}" if number else None,
            "instruction": "What is seen?", "options": ["circle", "square", "ring"], "answer": number % 3,
            "choice": choice, "correct": choice == number % 3, "score": float(choice == number % 3),
            "turned_log_probs": None, "written": None, "parsed": None, "true_boxes": None, "found_boxes": None,
            "confidence": None,
        }  # fmt: skip
        assert len(shown) == 3
        assert max(shown) <= 0
    assert (done.num_questions, done.accuracy) == (6, np.mean([row["correct"] for row in rows]))
    assert 0 < done.seconds < 60


def test_boxes_are_read_from_what_is_written_and_scored_by_their_overlap(
    backbone: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the model writes is laid down, since the packaged one has never seen a box."""
    texts = ("[0.0, 0.0, 0.5, 1.0]", "[0.0, 0.0, 1.0, 0.5]", "nothing")
    given: list[tuple[int, int, int]] = []

    def write(_: LoadedBackbone, turns: list[Example], batch_size: int, most: int) -> list[Written]:
        given.append((len(turns), batch_size, most))
        return [Written(text=text, log_prob=-float(number)) for number, text in enumerate(texts)]

    monkeypatch.setattr(evaluate, "write_answers", write)
    left = (0.0, 0.0, 0.5, 1.0)
    question = BoxQuestion(text="Where is it?", boxes=(left,))
    (example,) = encode_questions(backbone, [question], [Image.new("L", (SIDE, SIDE))])
    asked = [
        Asked(id=str(number), subset="s", group=None, label="mass", question=question, turns=(example,))
        for number in range(3)
    ]
    done = run_eval(backbone, None, asked, ORIGINAL, tmp_path / "p.parquet", batch_size=4)
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert given == [(3, 4, 512)]
    assert [(row["question"], row["subset"], row["instruction"]) for row in rows] == [
        (str(number), "s", "Where is it?") for number in range(3)
    ]
    assert [row["score"] for row in rows] == [1.0, pytest.approx(1 / 3), 0.0]
    assert [row["correct"] for row in rows] == [True, False, False]
    assert [row["confidence"] for row in rows] == [0.0, -1.0, -2.0]
    assert [row["written"] for row in rows] == [[text] for text in texts]
    assert [row["true_boxes"] for row in rows] == [[list(left)]] * 3
    assert [row["found_boxes"] for row in rows] == [[list(left)], [[0.0, 0.0, 1.0, 0.5]], []]
    assert done.accuracy == pytest.approx(4 / 9)
    assert done.metrics == {
        "ciou": pytest.approx((0.5 + 0.25) / (0.5 + 0.75 + 0.5)), "map50": pytest.approx(1 / 3),
        "parse_failures": pytest.approx(1 / 3),
    }  # fmt: skip


def test_boxes_are_read_in_the_architectures_own_convention_and_averaged_over_labels(
    backbone: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qwen2.5-VL writes pixels of the image as it reads it: here 4 x 2 patches wide and high."""
    monkeypatch.setattr(backbone.model.config, "model_type", "qwen2_5_vl")
    monkeypatch.setattr(backbone.processor.image_processor, "patch_size", 14, raising=False)
    question = BoxQuestion(text="Where is it?", boxes=((0.0, 0.0, 1.0, 1.0),))
    (example,) = encode_questions(backbone, [question], [Image.new("L", (SIDE, SIDE))])
    example = replace(example, image={"image_grid_thw": torch.tensor([[1, 2, 4]])})

    def write(asked_of: LoadedBackbone, *_: object) -> list[Written]:
        assert asked_of is backbone
        return [Written(text=f"[0, 0, {wide * 14}, 28]", log_prob=-1.0) for wide in (4, 2, 1)]

    monkeypatch.setattr(evaluate, "write_answers", write)
    asked = [
        Asked(id=label, subset="s", group=None, label=label, question=question, turns=(example,))
        for label in ("mass", "cyst", "cyst")
    ]
    done = run_eval(backbone, None, asked, ORIGINAL, tmp_path / "p.parquet", batch_size=4)
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert [row["score"] for row in rows] == [1.0, 0.5, 0.25]
    assert [row["correct"] for row in rows] == [True, True, False]
    assert done.metrics["map50"] == pytest.approx((1 + 1 / 2) / 2)


def test_a_letter_that_is_written_is_read_where_letters_are_asked_for(
    backbone: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands behind it. Two options in both orders: both rows of likelihoods are kept."""
    lettered = replace(backbone, identity=replace(backbone.identity, answer=AnswerForm.LETTER))
    monkeypatch.setattr(evaluate, "write_answers", lambda *_: [Written(text="(B) circle", log_prob=0.0)])
    question = Question(text="What is seen?", options=("circle", "ring"), answer=1)
    turns = encode_questions(lettered, [rotate(question, 0), rotate(question, 1)], [Image.new("L", (SIDE, SIDE))] * 2)
    asked = [Asked(id="q", subset="s", group=None, label="ring", question=question, turns=tuple(turns))]
    protocol = Protocol(image="original", by="both", rotations="all")
    run_eval(lettered, None, asked, protocol, tmp_path / "p.parquet", batch_size=4)
    (row,) = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert row["parsed"] == [1]
    assert [len(shown) for shown in row["turned_log_probs"]] == [2, 2]


@pytest.mark.parametrize(("by", "orders", "most"), [("both", 1, 64), ("generation", 3, 64)])
def test_an_answer_is_written_in_one_order_beside_likelihoods_and_in_all_where_it_counts(
    by: AnsweredBy, orders: int, most: int, backbone: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, int, int]] = []

    def write(_: LoadedBackbone, turns: list[Example], batch_size: int, most: int) -> list[Written]:
        given.append((len(turns), batch_size, most))
        return [Written(text=("circle", "square", "ring")[n % 3], log_prob=0.0) for n in range(len(turns))]

    monkeypatch.setattr(evaluate, "write_answers", write)
    protocol = Protocol(image="original", by=by, rotations="all")
    run_eval(backbone, None, ask(backbone, turned=True), protocol, tmp_path / "p.parquet", batch_size=4)
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert given == [(6 * orders, 4, most)]
    assert {len(row["written"]) for row in rows} == {len(row["parsed"]) for row in rows} == {orders}
    # Displayed in order 1, options are square, ring, circle: the answer "square" stands first.
    if by == "generation":
        assert [row["written"] for row in rows] == [["circle", "square", "ring"]] * 6
        assert [row["parsed"] for row in rows] == [[0, 0, 0]] * 6
    else:
        assert [row["parsed"] for row in rows] == [[0], [1], [2]] * 2


def write_manifest(folder: Path, count: int) -> Path:
    """Draw a bright square in one of four places."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir()
    rows: list[list[str]] = []
    for number in range(count):
        left, top = (int(value) * 16 for value in generator.integers(0, 2, 2))
        pixels = generator.integers(0, 60, (SIDE, SIDE)).astype(np.uint8)
        pixels[top : top + 16, left : left + 16] += 150
        Image.fromarray(pixels).save(folder / f"images/{number}.png")
        rows.append([f"images/{number}.png", "square", "CT", "Lung", "Find", f"{left} {top} {left + 16} {top + 16}"])
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "label", "modality", "area", "task", "box"], *rows])
    return folder / "manifest.csv"


@pytest.mark.slow
def test_boxes_are_learnt_from_a_manifest_and_found_in_images_never_seen(
    backbone: LoadedBackbone, tmp_path: Path
) -> None:
    path = write_manifest(tmp_path, 240)
    study = read_study(["data=manifest", f"data.path={path}"])
    catalog = read_catalog(study.data, tmp_path)
    source, (subset,) = open_source(catalog, tmp_path), catalog.subsets
    subsets = {subset.name: subset}
    mixture = Mixture(parts=(MixturePart(subset=subset.name, count=subset.num_train),), seed=0)
    training = pose_training(source, subsets, mixture)
    recipe = replace(study.finetune, epochs=4, batch_size=16, min_steps=0)
    job = FinetuneJob(data=catalog.data, backbone=backbone.identity, mixture=mixture, recipe=recipe, seed=0)
    surroundings = Surroundings(
        folder=tmp_path / "checkpoints", weights=tmp_path / "model", save_every_s=1e9, event=lambda *_, **__: None,
        is_stopping=bool,
    )  # fmt: skip
    run_finetune(
        job,
        backbone,
        encode_questions(backbone, training.questions, source.read_images(training.samples)),
        surroundings,
    )
    test = pose_test(source, subsets, subset.name, ORIGINAL)
    examples = encode_questions(backbone, test.questions, source.read_images(test.samples))
    asked = [
        Asked(id=sample.id, subset=sample.subset, group=None, label=sample.label, question=question, turns=(example,))
        for sample, question, example in zip(test.samples, test.questions, examples, strict=True)
    ]
    before, after = (
        run_eval(backbone, weights, asked, ORIGINAL, tmp_path / "p.parquet", batch_size=64)
        for weights in (None, tmp_path / "model")
    )
    assert before.accuracy < 0.1
    assert after.accuracy > 0.5
    assert after.metrics["map50"] > 0.5
    assert after.metrics["ciou"] > 0.4
    row = pq.read_table(tmp_path / "p.parquet").to_pylist()[0]
    assert row["score"] > 0 or row["found_boxes"] != row["true_boxes"]
    assert row["options"] is None
