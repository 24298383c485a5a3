"""The images of a manifest as a source: split by group, tests balanced, opened when they are asked for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from cg_lab.catalog import Catalog, ManifestData, build_catalog
from cg_lab.data.manifest import Manifest, Row
from cg_lab.data.samples import Sample, Split
from cg_lab.errors import list_faults
from cg_lab.mat import Kind, Subset, count_options
from cg_lab.serialize import content_id
from cg_lab.study import CatalogSettings, ManifestSettings

INSTRUCTIONS = (
    "What does this {modality} image show?",
    "Which finding fits this image of the {area}?",
    "What is seen in this {area} image?",
    "Name what this {modality} of the {area} shows.",
    "Which answer describes this image?",
    "Classify this image of the {area}.",
)
WHERE = (
    "Where in this {modality} image is {label}? Answer with bounding boxes.",
    "Find {label} in this image of the {area} and give its bounding boxes.",
    "Give the bounding boxes of {label} in this {area} image.",
    "Locate {label} in this {modality} of the {area} with bounding boxes.",
    "Which bounding boxes hold {label}?",
    "Mark {label} in this image with bounding boxes.",
)
"""Of subsets that ask for boxes; `{label}` stays for the sample's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSource:
    """The images of a manifest, already split."""

    root: Path
    split_seed: int
    samples: dict[tuple[str, Split], tuple[Sample, ...]]
    labels: dict[str, tuple[str, ...]]
    elements: dict[str, tuple[str, ...]]
    factors: tuple[str, ...]

    @property
    def seed(self) -> int:
        """Decides the questions."""
        return self.split_seed

    def read_samples(self, subset: str, split: Split) -> tuple[Sample, ...]:
        """List a subset's samples on one side."""
        return self.samples[subset, split]

    def read_images(self, samples: tuple[Sample, ...]) -> list[Image.Image]:
        """Open images; a sample's id is the path below the manifest's folder."""
        images: list[Image.Image] = []
        for sample in samples:
            with Image.open(self.root / sample.id) as image:
                images.append(image.convert("RGB"))
        return images

    def is_located(self, subset: str) -> bool:
        """Tell whether a subset asks where something is."""
        return any(sample.boxes for split in Split for sample in self.samples[subset, split])

    def read_labels(self, subset: str) -> tuple[str, ...]:
        """Give all labels of a subset, sorted."""
        return self.labels[subset]

    def read_instructions(self, subset: str) -> tuple[str, ...]:
        """Give the six wordings of a subset's question."""
        named = dict(zip(self.factors, self.elements[subset], strict=True))
        modality, area = named.get("modality", "image"), named.get("area", "body").lower()
        texts = WHERE if self.is_located(subset) else INSTRUCTIONS
        return tuple(text.format(modality=modality, area=area, label="{label}") for text in texts)


def build_manifest_catalog(
    manifest: Manifest,
    settings: ManifestSettings | CatalogSettings,
    listed: Mapping[str, Subset] | None = None,
) -> Catalog:
    """Describe the subsets of a manifest, counted after splitting.

    Parameters
    ----------
    manifest, settings
        The images, and how they are split.
    listed
        Subsets of a catalogue by name, whose elements, kinds and tags they keep; None where the manifest says all.

    Raises
    ------
    UserError
        If a subset has one label only, or a label too few samples or groups to stand on both sides.

    """
    data = ManifestData(
        content=manifest.content, seed=settings.seed, test_share=settings.test_share, max_train=settings.max_train
    )
    source = open_manifest(manifest, data)
    faults: list[str] = []
    subsets: list[Subset] = []
    for name, elements in source.elements.items():
        train, test = source.samples[name, Split.TRAIN], source.samples[name, Split.TEST]
        for split, samples in ((Split.TRAIN, train), (Split.TEST, test)):
            absent = sorted(set(source.labels[name]) - {sample.label for sample in samples})
            if absent and len(source.labels[name]) > 1:
                faults.append(
                    f"subset '{name}': no {split} sample of {', '.join(map(repr, absent))} at data.test_share="
                    f"{settings.test_share}; a label needs at least two groups or images, one for each side"
                )
        plain = Subset(
            name=name,
            elements=tuple((value,) for value in elements),
            num_options=2,
            num_train=0,
            num_test=0,
            kind=Kind.DETECTION if source.is_located(name) else Kind.CLASSIFICATION,
        )
        known = plain if listed is None else listed[name]
        if (known.kind is Kind.DETECTION) != source.is_located(name):
            faults.append(
                f"subset '{name}' is of kind {known.kind} in the catalogue, and its lines have "
                f"{'boxes' if source.is_located(name) else 'no box and no mask'}"
            )
        labels = source.labels[name]
        subsets.append(
            replace(
                known,
                labels=labels,
                num_options=0 if known.kind is Kind.DETECTION else count_options(labels),
                num_train=len(train),
                num_test=len(test),
                has_groups=any(sample.group for sample in train + test),
            )
        )
    if faults:
        raise list_faults(f"manifest {manifest.path} can't be split", faults)
    return build_catalog(data, subsets, factors=manifest.factors, notes=manifest.notes)


def open_manifest(manifest: Manifest, data: ManifestData) -> ManifestSource:
    """Split a manifest: whole groups, strictly balanced tests, training sets capped."""
    by_subset: dict[str, list[Row]] = defaultdict(list)
    for row in manifest.rows:
        by_subset[row.subset].append(row)
    test_sides: set[str] = set()
    tests: dict[str, list[Row]] = {}
    for subset in sorted(by_subset):
        tests[subset], groups = _choose_test(by_subset[subset], data)
        test_sides |= groups
    samples: dict[tuple[str, Split], tuple[Sample, ...]] = {}
    for subset, rows in by_subset.items():
        train = [row for row in rows if _side(row) not in test_sides]
        train.sort(key=lambda row: content_id("cap", 1, [data.seed, row.image]))
        samples[subset, Split.TRAIN] = _to_samples(_cap_balanced(train, data.max_train))
        samples[subset, Split.TEST] = _to_samples(tests[subset])
    return ManifestSource(
        root=manifest.path.parent,
        split_seed=data.seed,
        samples=samples,
        labels={subset: tuple(sorted({row.label for row in rows})) for subset, rows in by_subset.items()},
        elements={subset: rows[0].elements for subset, rows in by_subset.items()},
        factors=manifest.factors,
    )


def _choose_test(rows: list[Row], data: ManifestData) -> tuple[list[Row], set[str]]:
    """Take whole groups until every label has its share of the rarest one; give the test rows and all groups taken."""
    counts = Counter(row.label for row in rows)
    quota = max(1, round(data.test_share * min(counts.values())))
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[_side(row)].append(row)
    order = sorted(groups, key=lambda group: content_id("split", 1, [data.seed, group]))
    taken: Counter[str] = Counter()
    sides: set[str] = set()
    test: list[Row] = []
    for group in order:
        members = groups[group]
        wanted = [row for row in members if taken[row.label] < quota]
        if not wanted:
            continue
        sides.add(group)
        for row in sorted(wanted, key=lambda row: row.image):
            if taken[row.label] < quota:
                taken[row.label] += 1
                test.append(row)
    fewest = min((taken[label] for label in counts), default=0)
    kept: Counter[str] = Counter()
    balanced: list[Row] = []
    for row in test:
        if kept[row.label] < fewest:
            kept[row.label] += 1
            balanced.append(row)
    return sorted(balanced, key=lambda row: row.image), sides


def _cap_balanced(rows: list[Row], most: int) -> list[Row]:
    """Keep at most `most` rows, as evenly over labels as they allow, in order of image."""
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_label[row.label].append(row)
    ranked = sorted((rank, row.image, row) for group in by_label.values() for rank, row in enumerate(group))
    return sorted((row for _, _, row in ranked[:most]), key=lambda row: row.image)


def _side(row: Row) -> str:
    """Name what must not stand on both sides: the group, or the very bytes of an image without one."""
    return f"group {row.group}" if row.group else f"bytes {row.digest}"


def _to_samples(rows: Iterable[Row]) -> tuple[Sample, ...]:
    return tuple(
        Sample(id=row.image, subset=row.subset, label=row.label, group=row.group, boxes=row.boxes) for row in rows
    )
