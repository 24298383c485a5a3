"""What all jobs with one model and one data source share: the model, prepared images, encoded test questions."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from PIL import Image
from transformers.utils import logging

from cg_lab.catalog import DataRef, PhantomData
from cg_lab.data.asking import Exam, pose_shots, pose_test, pose_training, read_blanks
from cg_lab.data.samples import DataSource, Split
from cg_lab.data.sources import open_source
from cg_lab.evaluation.predictions import Asked
from cg_lab.execution.packs import Order
from cg_lab.mat import Subset
from cg_lab.models.backbone import LoadedBackbone, load_backbone
from cg_lab.models.batches import Example
from cg_lab.models.encoding import Seen, encode_questions, encode_seen
from cg_lab.models.prepared import Pool, PreparedImages
from cg_lab.models.stored import Stored
from cg_lab.models.tower import FEATURES
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob, FinetuneJob, Protocol
from cg_lab.questions import Question, rotate
from cg_lab.results import Layout
from cg_lab.serialize import canonical_json, content_id
from cg_lab.study import Backbone


@dataclass(slots=True, kw_only=True)
class Workset:
    """What jobs are worked on with."""

    job: FinetuneJob | EvalJob
    """The first of them."""
    subsets: dict[str, Subset]
    source: DataSource
    backbone: LoadedBackbone
    prepared: PreparedImages
    _tests: dict[tuple[str, Protocol, bool], list[Asked]] = field(default_factory=dict)
    """Encoded test questions by subset, protocol and whether they have a tower's outputs: many jobs ask the same."""

    def encode_training(self, job: FinetuneJob) -> list[Example]:
        """Encode what a job trains on."""
        exam = pose_training(self.source, self.subsets, job.mixture)
        return self._encode(exam, Split.TRAIN, with_features=job.recipe.is_tower_frozen)

    def ask(self, job: EvalJob, *, with_features: bool = False) -> list[Asked]:
        """Encode what a job asks, with the outputs of the untouched vision tower where the model asked has that."""
        # The same questions, however answers are read.
        key = (job.target, replace(job.protocol, by="likelihood"), with_features)
        if key not in self._tests:
            self._tests[key] = self._encode_tests(job, with_features=with_features)
        return self._tests[key]

    def _encode_tests(self, job: EvalJob, *, with_features: bool) -> list[Asked]:
        exam = pose_test(self.source, self.subsets, job.target, job.protocol)
        shots = pose_shots(self.source, self.subsets, job.target, job.protocol)
        turned = [
            [rotate(question, steps) for steps in range(len(question.options))]
            if isinstance(question, Question) and job.protocol.rotations == "all"
            else [question]
            for question in exam.questions
        ]
        asked = Exam(
            samples=tuple(sample for sample, row in zip(exam.samples, turned, strict=True) for _ in row),
            questions=tuple(turn for row in turned for turn in row),
        )
        is_blank = job.protocol.image == "blank"
        if shots or is_blank:
            images = read_blanks(self.source, asked.samples) if is_blank else self.source.read_images(asked.samples)
            encoded = iter(encode_questions(self.backbone, asked.questions, images, shots))
        else:
            encoded = iter(self._encode(asked, Split.TEST, with_features=with_features))
        return [
            Asked(
                id=sample.id,
                subset=sample.subset,
                group=sample.group,
                label=sample.label,
                question=question,
                turns=tuple(next(encoded) for _ in row),
            )
            for sample, question, row in zip(exam.samples, exam.questions, turned, strict=True)
        ]

    def _encode(self, exam: Exam, split: Split, *, with_features: bool = False) -> list[Example]:
        """Encode questions about images that are prepared once for all jobs."""
        seen: dict[str, Seen] = {}
        for subset in dict.fromkeys(sample.subset for sample in exam.samples):
            pool = make_pool(self.source, self.job.data, subset, split)
            wanted = list(dict.fromkeys(sample.id for sample in exam.samples if sample.subset == subset))
            found = self.prepared.see(pool, wanted, with_features=with_features)
            if found is None:
                return encode_questions(self.backbone, exam.questions, self.source.read_images(exam.samples))
            seen |= zip(wanted, found, strict=True)
        if not all(FEATURES in one.image for one in seen.values()):
            seen = {
                name: replace(one, image=one.image.without(FEATURES)) if isinstance(one.image, Stored) else one
                for name, one in seen.items()
            }
        return encode_seen(self.backbone, exam.questions, [seen[sample.id] for sample in exam.samples])


def make_pool(source: DataSource, data: DataRef, subset: str, split: Split) -> Pool:
    """Give one side of a subset as images that are prepared together."""
    listed = {sample.id: sample for sample in source.read_samples(subset, split)}

    def read(ids: Sequence[str]) -> list[Image.Image]:
        return source.read_images(tuple(listed[one] for one in ids))

    return Pool(
        key=content_id("pool", 1, [canonical_json(data), subset, split]),
        ids=tuple(listed),
        read=read,
        is_kept=not isinstance(data, PhantomData),
    )


def open_workset(job: FinetuneJob | EvalJob, plan: Plan, order: Order, layout: Layout, threads: int) -> Workset:
    """Load a job's model and open its data.

    Raises
    ------
    UserError
        If the model can't be loaded, or images are not where they were.

    """
    torch.set_num_threads(threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    catalog = plan.catalog_of(job.data)
    assert isinstance(job.backbone, Backbone)
    backbone = load_backbone(job.backbone)
    gc.freeze()  # Trainer collects garbage before each fine-tune: a third of a second to go through what was loaded
    return Workset(
        job=job,
        subsets={subset.name: subset for subset in catalog.subsets},
        source=open_source(catalog, layout.data),
        backbone=backbone,
        prepared=PreparedImages(backbone, layout.prepared, order.cache_gb),
    )
