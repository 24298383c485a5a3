"""Let models look at training images for a recommendation, and keep what they see or say for all later ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
import transformers

from cg_lab.catalog import Catalog, ListedData
from cg_lab.data.asking import pose_finding
from cg_lab.data.samples import DataSource, Sample, Split
from cg_lab.data.sources import open_source
from cg_lab.errors import UserError
from cg_lab.evaluation.predictions import Asked, tabulate_choices
from cg_lab.mat import Kind, Subset
from cg_lab.models.backbone import LoadedBackbone, load_backbone, using_weights
from cg_lab.models.batches import collate, move_batch
from cg_lab.models.encoding import encode_questions
from cg_lab.models.scoring import score_options
from cg_lab.planning.build import describe
from cg_lab.recommendation.subset_features import SubsetFeatures
from cg_lab.results import Layout
from cg_lab.serialize import content_id, read_json, replacing, write_json
from cg_lab.study import Backbone

FEATURE_SCHEMA = 1
NUM_IMAGES = 128
"""Training images of each subset that are looked at, where it has as many."""


@dataclass(slots=True, kw_only=True)
class SubsetViews:
    """Features of training images, by subset: read from the results folder, or computed and kept there."""

    catalog: Catalog
    identity: Backbone
    layout: Layout
    batch_size: int
    num_images: int = NUM_IMAGES
    """Of each subset that are looked at."""
    _source: DataSource | None = None
    _backbone: LoadedBackbone | None = None

    def view(self, counts: Mapping[str, int], tell: Callable[[str], None]) -> dict[str, SubsetFeatures]:
        """Give features of so many images of each subset; `tell` is told of each one that is computed.

        Raises
        ------
        UserError
            If the catalogue has no images, or the model can't be loaded.

        """
        self._refuse_listing()
        return {name: self._view(self.catalog.find(name), count, tell) for name, count in counts.items()}

    def ask(
        self, subset: str, count: int, finetunes: Sequence[str], tell: Callable[[str], None]
    ) -> tuple[dict[str, int], int]:
        """Ask finished fine-tunes about so many training images of a subset.

        Returns
        -------
        How many each answered rightly, of those whose weights are still there, and how many there were.

        """
        if self.catalog.find(subset).kind is Kind.DETECTION:
            raise UserError("recommend: --validation asks questions with options, and a detection subset has none")
        self._refuse_listing()
        samples = self._draw(subset, count)
        found: dict[str, int] = {}
        for finetune in finetunes:
            path = self._path(samples, finetune).with_suffix(".json")
            if not path.exists() and self.layout.weights(finetune).is_dir():
                tell(finetune)
                write_json(path, self._count_right(self.catalog.find(subset), samples, finetune))
            if path.exists():
                found[finetune] = int(read_json(path))
        return found, len(samples)

    def _count_right(self, subset: Subset, samples: tuple[Sample, ...], finetune: str) -> int:
        backbone, source = self._open()
        questions = pose_finding(source, subset, samples)
        examples = encode_questions(backbone, questions, source.read_images(samples))
        asked = [
            Asked(
                id=sample.id,
                subset=sample.subset,
                group=sample.group,
                label=sample.label,
                question=question,
                turns=(example,),
            )
            for sample, question, example in zip(samples, questions, examples, strict=True)
        ]
        with using_weights(backbone, self.layout.weights(finetune)):
            scores = score_options(backbone, [item.turns for item in asked], self.batch_size)
        rows, _ = tabulate_choices(asked, scores, [()] * len(asked), backbone.identity.answer)
        return sum(bool(row["correct"]) for row in rows)

    def _open(self) -> tuple[LoadedBackbone, DataSource]:
        if self._backbone is None:
            transformers.utils.logging.disable_progress_bar()
            self._backbone = load_backbone(self.identity)
        assert self._source is not None
        return self._backbone, self._source

    def _view(self, subset: Subset, count: int, tell: Callable[[str], None]) -> SubsetFeatures:
        samples = self._draw(subset.name, count)
        path = self._path(samples)
        if not path.exists():
            tell(subset.name)
            found = self._compute(subset, samples)
            with replacing(path) as beside, beside.open("wb") as file:
                np.savez(file, image=found.image_ND, prompt=found.prompt_ND, labels=np.array(found.labels))
        with np.load(path) as kept:
            return SubsetFeatures(
                image_ND=kept["image"].astype(float),
                prompt_ND=kept["prompt"].astype(float),
                labels=tuple(kept["labels"].tolist()),
            )

    def _refuse_listing(self) -> None:
        if isinstance(self.catalog.data, ListedData):
            raise UserError("recommend: --features and --validation look at images, and this catalogue lists none")

    def _draw(self, subset: str, count: int) -> tuple[Sample, ...]:
        """Draw training images; those of fewer are the first of more."""
        if self._source is None:
            self._source = open_source(describe(self.catalog), self.layout.data)
        samples = list(self._source.read_samples(subset, Split.TRAIN))
        Random(f"features/{self._source.seed}/{subset}").shuffle(samples)
        return tuple(samples[:count])

    def _path(self, samples: tuple[Sample, ...], finetune: str = "") -> Path:
        about = [self.catalog.data, [one.id for one in samples], self.identity, transformers.__version__, finetune]
        return self.layout.features / f"{content_id('features', FEATURE_SCHEMA, about)}.npz"

    def _compute(self, subset: Subset, samples: tuple[Sample, ...]) -> SubsetFeatures:
        image_ND, prompt_ND = look_at(*self._open(), subset, samples, self.batch_size)
        return SubsetFeatures(image_ND=image_ND, prompt_ND=prompt_ND, labels=tuple(sample.label for sample in samples))


@torch.inference_mode()
def look_at(
    backbone: LoadedBackbone, source: DataSource, subset: Subset, samples: tuple[Sample, ...], batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ask the untouched backbone about samples, and take its hidden states instead of an answer.

    Returns
    -------
    The mean of what the language model gets of each image, and the last layer's state at the end of each prompt.

    """
    backbone.model.eval()
    examples = encode_questions(backbone, pose_finding(source, subset, samples), source.read_images(samples))
    images: list[np.ndarray] = []
    prompts: list[np.ndarray] = []
    pad = backbone.processor.tokenizer.pad_token_id or 0
    token = getattr(backbone.model.config, "image_token_id", None)
    with using_weights(backbone, None):
        for start in range(0, len(examples), batch_size):
            part = examples[start : start + batch_size]
            batch = move_batch(backbone.model, collate(part, [()] * len(part), pad))
            states = backbone.model(**batch, output_hidden_states=True, use_cache=False).hidden_states
            is_read_BT = batch["attention_mask"].bool()
            is_image_BT = (batch["input_ids"] == token) & is_read_BT if token is not None else is_read_BT
            weights_BT = is_image_BT.float() / is_image_BT.sum(dim=1, keepdim=True).clamp(min=1)
            images.append(torch.einsum("bt,btd->bd", weights_BT, states[0].float()).cpu().numpy())
            places_T = torch.arange(is_read_BT.shape[1], device=is_read_BT.device)
            last_B = (is_read_BT * places_T).argmax(dim=1)
            prompts.append(states[-1][torch.arange(len(last_B)), last_B].float().cpu().numpy())
    return np.concatenate(images), np.concatenate(prompts)
