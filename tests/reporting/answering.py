"""Studies whose answers are made up: real plans, real images, and predictions written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from cg_lab.arms import Arm
from cg_lab.config import read_study
from cg_lab.data.asking import pose_test
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.evaluation.predictions import PREDICTIONS
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Cell, Plan
from cg_lab.questions import AnyQuestion, BoxQuestion, Question
from cg_lab.results import EvalResult, Layout, write_plan, write_result

STARTED = "2026-03-01T12:00:00+00:00"
ARMS = "arms=[zero_shot,unrelated,related,ceiling]"
SUBSETS = (("CT", "Lung", "Mass"), ("CT", "Brain", "Bleed"), ("MRI", "Brain", "Mass"), ("US", "Breast", "Cyst"))
Row = dict[str, Any]
Answer = Callable[[Cell, int, AnyQuestion], Row]
"""What a cell's model answers to the question with a number."""


def plan_study(layout: Layout, *overrides: str) -> Plan:
    study = read_study(["study=s", "rule.resamples=100", "seeds=[0,1]", ARMS, *overrides])
    catalog = read_catalog(study.data, layout.data)
    plan = build_plan([Run(name="", study=study, catalog=catalog, backbone=identify_backbone(study.model))])
    write_plan(layout, plan)
    return plan


def plan_images(layout: Layout, folder: Path, *overrides: str, boxes: bool = False) -> Plan:
    """Plan a study of image files, with as many labels as options or more."""
    lines = ["image,label,modality,area,task" + (",box" if boxes else "")]
    for place, elements in enumerate(SUBSETS):
        for number in range(32):
            pixels = np.random.default_rng([place, number]).integers(0, 160, (6, 9), dtype=np.uint8)
            image = Image.fromarray(pixels).resize((360, 240), Image.Resampling.BICUBIC)
            ImageDraw.Draw(image).ellipse((120, 60, 200, 160), fill=250)
            name = f"{place}-{number}.png"
            image.save(folder / name)
            label = "tumour" if boxes else f"finding {number % 2}"
            lines.append(f"{name},{label},{','.join(elements)}" + (",120 60 200 160" if boxes else ""))
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    kinds = "design.kinds=[detection]" if boxes else "design.kinds=[classification]"
    return plan_study(
        layout, "data=manifest", f"data.path={folder / 'manifest.csv'}", "design=all_related", kinds,
        "targets=[ct-lung-mass]", *overrides,
    )  # fmt: skip


def write_answers(layout: Layout, plan: Plan, answer: Answer) -> None:
    """Leave the evaluations of a plan as workers do."""
    sources = {catalog.data: open_source(catalog, layout.data) for catalog in plan.catalogs}
    cells = {cell.eval_job: cell for cell in plan.cells}
    for job in plan.evals:
        subsets = {subset.name: subset for subset in plan.catalog_of(job.data).subsets}
        exam = pose_test(sources[job.data], subsets, job.target, job.protocol)
        rows = [
            {"question": sample.id, "subset": job.target, "group": sample.group, "instruction": question.text}
            | answer(cells[job.id], number, question)
            for number, (sample, question) in enumerate(zip(exam.samples, exam.questions, strict=True))
        ]
        layout.job(job.id).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=PREDICTIONS), layout.predictions(job.id))
        accuracy = float(np.mean([row["score"] for row in rows]))
        write_result(
            layout,
            EvalResult(job=job, num_questions=len(rows), accuracy=accuracy, seconds=1, host="h", started=STARTED),
        )


def choose(question: AnyQuestion, choice: int | None, share: float = 0.7) -> Row:
    """Choose an option, with a probability; the others share the rest evenly."""
    assert isinstance(question, Question)
    count = len(question.options)
    log_probs = [float(np.log(share if place == choice else (1 - share) / (count - 1))) for place in range(count)]
    right = choice == question.answer
    return {
        "options": list(question.options), "log_probs": log_probs, "answer": question.answer, "choice": choice,
        "correct": right, "score": float(right),
    }  # fmt: skip


def write(question: AnyQuestion, choice: int | None) -> Row:
    """Choose an option in writing, or write what names none."""
    text = "I can't tell" if choice is None else "ABCD"[choice]
    return choose(question, choice) | {"log_probs": None, "written": [text], "parsed": [choice]}


def find(question: AnyQuestion, found: list[list[float]], iou: float) -> Row:
    """Find boxes."""
    assert isinstance(question, BoxQuestion)
    return {
        "correct": iou >= 0.5, "score": iou, "written": [""], "true_boxes": [list(box) for box in question.boxes],
        "found_boxes": found, "confidence": -iou,
    }  # fmt: skip


def answer_by_arm(cell: Cell, number: int, question: AnyQuestion) -> Row:
    """Be right always (ceiling), two times of three (related), of two (unrelated), never (untouched)."""
    assert isinstance(question, Question)
    every = {Arm.CEILING: 10_000, Arm.RELATED: 3, Arm.UNRELATED: 2}.get(cell.arm, 1)
    is_wrong = number % every == every - 1
    choice = (question.answer + is_wrong) % len(question.options)
    return choose(question, choice, 0.6 + 0.3 * (number % 17) / 17)
