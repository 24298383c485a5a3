"""The embedded source: phantoms, drawn when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, product
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cg_lab.catalog import Catalog, PhantomData, build_catalog
from cg_lab.data.phantom import (
    DRAWING_VERSIONS,
    QUESTIONS,
    PhantomKey,
    World,
    draw_phantom_labels,
    render_phantoms,
)
from cg_lab.data.samples import Sample, Split
from cg_lab.errors import UserError
from cg_lab.mat import Subset, count_options

if TYPE_CHECKING:
    from cg_lab.data.sources.phantom import Settings

TEST_OFFSET = 1_000_000
"""Numbers of test samples start here, so that a larger training set never reaches them."""


def build_phantom_catalog(settings: Settings) -> Catalog:
    """List a subset for every combination of the chosen elements.

    Raises
    ------
    UserError
        For elements that the phantoms do not have.

    """
    data = PhantomData(
        version=DRAWING_VERSIONS[World(settings.world)],
        world=settings.world,
        seed=settings.seed,
        image_size=settings.image_size,
        train_per_subset=settings.train_per_subset,
        test_per_subset=settings.test_per_subset,
    )
    world = World(settings.world)
    keys = [
        PhantomKey(modality=modality, area=area, task=task)
        for modality, area, task in product(settings.modalities, settings.areas, settings.tasks)
    ]
    subsets = [
        Subset(
            name=name_subset(key),
            elements=((key.modality,), (key.area,), (key.task,)),
            labels=tuple(sorted(key.list_labels(world))),
            num_options=count_options(key.list_labels(world)),
            num_train=settings.train_per_subset,
            num_test=settings.test_per_subset,
        )
        for key in keys
    ]
    return build_catalog(data, subsets)


def name_subset(key: PhantomKey) -> str:
    """Name a subset.

    >>> name_subset(PhantomKey(modality="X-ray", area="Lung", task="Mass"))
    'xray-lung-mass'
    """
    return "-".join(part.replace("-", "").lower() for part in (key.modality, key.area, key.task))


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomSource:
    """Phantoms of one world; a sample's id is `subset/split/number`."""

    data: PhantomData
    keys: dict[str, PhantomKey]

    @property
    def seed(self) -> int:
        """Decides the questions."""
        return self.data.seed

    @property
    def world(self) -> World:
        """Decides how images are drawn."""
        return World(self.data.world)

    def read_samples(self, subset: str, split: Split) -> tuple[Sample, ...]:
        """List a subset's samples on one side; labels are balanced."""
        key = self.keys[subset]
        start, count = (
            (0, self.data.train_per_subset) if split is Split.TRAIN else (TEST_OFFSET, self.data.test_per_subset)
        )
        numbers = np.arange(start, start + count)
        labels = draw_phantom_labels(key, numbers, world=self.world, seed=self.data.seed)
        names = key.list_labels(self.world)
        return tuple(
            Sample(id=f"{subset}/{split}/{number}", subset=subset, label=names[label], group=None)
            for number, label in enumerate(labels.tolist())
        )

    def read_images(self, samples: tuple[Sample, ...]) -> list[Image.Image]:
        """Draw the samples, subset by subset."""
        images: list[Image.Image] = []
        for subset, group in groupby(samples, key=lambda sample: sample.subset):
            key, names = self.keys[subset], self.read_labels(subset)
            members = list(group)
            pixels_NSS = render_phantoms(
                key,
                np.array([names.index(sample.label) for sample in members]),
                np.array([_number(sample) for sample in members]),
                world=self.world,
                seed=self.data.seed,
                image_size=self.data.image_size,
            )
            images += [Image.fromarray(pixels) for pixels in pixels_NSS]
        return images

    def read_labels(self, subset: str) -> tuple[str, ...]:
        """Give all labels of a subset."""
        return self.keys[subset].list_labels(self.world)

    def read_instructions(self, subset: str) -> tuple[str, ...]:
        """Give the six wordings of a subset's question."""
        key = self.keys[subset]
        return tuple(wording.format(area=key.area.lower()) for wording in QUESTIONS[key.task])


def open_phantoms(data: PhantomData, subsets: tuple[Subset, ...]) -> PhantomSource:
    """Open the phantoms of a plan's subsets.

    Raises
    ------
    UserError
        If this cg_lab draws them otherwise than the one that planned them.

    """
    version = DRAWING_VERSIONS[World(data.world)]
    if data.version != version:
        raise UserError(
            f"data: the plan's phantoms are drawn by version {data.version} of the {data.world} world, and this cg_lab "
            f"has version {version}; plan and sweep again, or use the cg_lab of the study"
        )
    keys = {
        subset.name: PhantomKey(modality=subset.own[0], area=subset.own[1], task=subset.own[2]) for subset in subsets
    }
    return PhantomSource(data=data, keys=keys)


def _number(sample: Sample) -> int:
    _, split, number = sample.id.rsplit("/", 2)
    return int(number) + (TEST_OFFSET if split == Split.TEST else 0)
