"""What each arm of a study trains on, by sample, and the proof of it, as tables for anybody's trainer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cg_lab.catalog import DataRef
from cg_lab.data.samples import ask, ask_boxes, deal_labels, draw_mixture
from cg_lab.exchange.exported_study import ExportedStudy, find_digest
from cg_lab.mat import Kind
from cg_lab.planning.proof import Proof
from cg_lab.planning.work import FinetuneJob
from cg_lab.questions import BoxQuestion, Question, format_answer, format_question

NAMES = pa.list_(pa.string())
ARMS = pa.schema(
    {
        "cell": pa.string(),
        "held_out": pa.string(),
        "setting": pa.string(),
        "design": pa.string(),
        "target": pa.string(),
        "arm": pa.string(),
        "variant": pa.string(),
        "seed": pa.int64(),
        "test": pa.string(),
        "image": pa.string(),
        "shots": pa.int32(),
        "mixture": pa.string(),
        "evaluation": pa.string(),
        "proof": pa.int32(),
    }
)
"""One row a cell: what one number of the study means. `mixture` is null for an untouched model."""
MIXTURES = pa.schema(
    {
        "mixture": pa.string(),
        "seed": pa.int64(),
        "subset": pa.string(),
        "num_samples": pa.int64(),
        "labels": pa.string(),
        "asks": pa.string(),
        "samples": NAMES,
        "answers": NAMES,
    }
)
"""One row for each mixture and subset: ids of samples, and the label that each is trained with."""
PROOFS = pa.schema(
    {
        "proof": pa.int32(),
        "target_absent": pa.bool_(),
        "target_samples": pa.int64(),
        "target_examples": pa.int64(),
        "shared_elements": pa.int32(),
        "twins": NAMES,
        "whole_in": NAMES,
        "labels_shared": NAMES,
        "same_options": NAMES,
        "same_datasets": NAMES,
        "num_train": pa.int64(),
        "budget": pa.int64(),
        "num_test": pa.int64(),
        "chance": pa.float64(),
        "overlaps": pa.int64(),
    }
)
"""One row for each distinct proof; columns as in plan.json."""
COVERAGE = pa.schema({"proof": pa.int32(), "factor": pa.string(), "value": pa.string(), "subsets": NAMES})
"""One row for each proof and factor: the training subsets beside the target that show its element."""
SAMPLES = pa.schema(
    {
        "sample": pa.string(),
        "subset": pa.string(),
        "group": pa.string(),
        "label": pa.string(),
        "sha256": pa.string(),
        "prompt": pa.string(),
        "answer": pa.string(),
        "boxes": pa.list_(pa.list_(pa.float64())),
    }
)
"""One row for each sample that any mixture trains on, with the subset's own question about it."""
AT_ONCE = 1_000
"""Rows that are held together."""
TABLES = {"arms": ARMS, "mixtures": MIXTURES, "proofs": PROOFS, "coverage": COVERAGE, "samples": SAMPLES}


def write_tables(study: ExportedStudy, folder: Path) -> None:
    """Write each of `TABLES` as a file of its name."""
    proofs = {id(cell.proof): cell.proof for cell in study.plan.cells}
    numbers = {key: number for number, key in enumerate(proofs)}
    for name, rows in {
        "arms": _list_arms(study, numbers),
        "mixtures": (row for job in study.plan.finetunes for row in _list_parts(study, job)),
        "proofs": (_describe(number, proof) for number, proof in enumerate(proofs.values())),
        "coverage": (
            {"proof": number, "factor": part.factor, "value": part.value, "subsets": list(part.subsets)}
            for number, proof in enumerate(proofs.values())
            for part in proof.coverage
        ),
        "samples": _list_samples(study),
    }.items():
        write_rows(folder / f"{name}.parquet", rows, TABLES[name])


def write_rows(path: Path, rows: Iterator[Mapping[str, Any]], schema: pa.Schema, at_once: int = AT_ONCE) -> None:
    """Write rows as Parquet, so many at a time."""
    held: list[Mapping[str, Any]] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for row in rows:
            held.append(row)
            if len(held) == at_once:
                writer.write_table(pa.Table.from_pylist(held, schema=schema))
                held.clear()
        writer.write_table(pa.Table.from_pylist(held, schema=schema))


def _list_arms(study: ExportedStudy, numbers: Mapping[int, int]) -> Iterator[dict[str, Any]]:
    plan = study.plan
    tests = {job.id: (test.name, job.protocol) for test in study.tests for job in test.jobs}
    for cell in plan.cells:
        contrast = plan.contrast_by_id[cell.contrast]
        test, protocol = tests[cell.eval_job]
        yield {
            "cell": cell.key,
            "held_out": cell.contrast,
            "setting": contrast.setting,
            "design": contrast.design,
            "target": contrast.target,
            "arm": str(cell.arm),
            "variant": cell.variant,
            "seed": cell.seed,
            "test": test,
            "image": protocol.image,
            "shots": protocol.shots,
            "mixture": cell.finetune_job,
            "evaluation": cell.eval_job,
            "proof": numbers[id(cell.proof)],
        }


def _list_parts(study: ExportedStudy, job: FinetuneJob) -> Iterator[dict[str, Any]]:
    mixture = job.mixture
    drawn = draw_mixture(study.sources.open(study.plan.catalog_of(job.data)), mixture)
    by_subset: dict[str, list[tuple[str, str]]] = {}
    for sample, dealt in zip(drawn, deal_labels(drawn, mixture), strict=True):
        by_subset.setdefault(sample.subset, []).append((sample.id, dealt.label))
    for subset, samples in by_subset.items():
        yield {
            "mixture": job.id,
            "seed": mixture.seed,
            "subset": subset,
            "num_samples": len(samples),
            "labels": mixture.labels,
            "asks": mixture.ask,
            "samples": [sample for sample, _ in samples],
            "answers": [label for _, label in samples],
        }


def _list_samples(study: ExportedStudy) -> Iterator[dict[str, Any]]:
    """List each trained sample once; where labels are dealt anew, or elements asked for, models see another question."""
    seen: set[tuple[DataRef, str]] = set()
    for job in study.plan.finetunes:
        catalog = study.plan.catalog_of(job.data)
        source, boxed = study.sources.open(catalog), {one.name for one in catalog.subsets if one.kind is Kind.DETECTION}
        for sample in draw_mixture(source, job.mixture):
            if (job.data, sample.id) in seen:
                continue
            seen.add((job.data, sample.id))
            question = ask_boxes(source, sample) if sample.subset in boxed else ask(source, sample)
            yield {
                "sample": sample.id,
                "subset": sample.subset,
                "group": study.number_group(sample.group) or None,
                "label": sample.label,
                "sha256": find_digest(source, sample) or None,
                "prompt": format_question(question, study.form),
                "answer": format_answer(question, study.form) if isinstance(question, Question) else None,
                "boxes": [list(box) for box in question.boxes] if isinstance(question, BoxQuestion) else None,
            }


def _describe(number: int, proof: Proof) -> dict[str, Any]:
    columns = [name for name in PROOFS.names if name != "proof"]
    return {"proof": number} | {name: _to_plain(getattr(proof, name)) for name in columns}


def _to_plain(value: object) -> object:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
