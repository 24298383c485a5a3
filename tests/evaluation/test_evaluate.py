"""Evaluations on the packaged model: three ways of answering, all orders of options, and boxes that were learnt."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cg_lab.config import read_study
from cg_lab.data.asking import pose_test, pose_training
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.evaluation.evaluate import Asked, run_eval
from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.encoding import encode_questions
from cg_lab.planning.work import ORIGINAL, FinetuneJob, Mixture, MixturePart, Protocol
from cg_lab.questions import Question, rotate
from cg_lab.training.finetune import Surroundings, run_finetune

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
    recipe = replace(study.finetune, epochs=4, batch_size=16)
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
