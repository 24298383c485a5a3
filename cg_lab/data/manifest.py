"""Images listed in a CSV: read and checked as a whole, split by group, opened when they are asked for."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from cg_lab.catalog import Catalog, ManifestData, Note, build_catalog
from cg_lab.data.samples import Sample, Split
from cg_lab.errors import UserError, list_faults, suggest
from cg_lab.mat import Subset, Triplet
from cg_lab.serialize import content_id
from cg_lab.study import ManifestSettings

REQUIRED = ("image", "label", "modality", "area", "task")
OPTIONAL = ("subset", "group")
MAX_PIXELS = 64_000_000
"""Larger images are refused unread: they are mistakes or decompression bombs."""

INSTRUCTIONS = (
    "What does this {modality} image show?",
    "Which finding fits this image of the {area}?",
    "What is seen in this {area} image?",
    "Name what this {modality} of the {area} shows.",
    "Which answer describes this image?",
    "Classify this image of the {area}.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One usable line of a manifest."""

    line: int
    image: str
    label: str
    subset: str
    triplet: Triplet
    group: str | None
    digest: str
    """SHA-256 of the image file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSource:
    """The images of a manifest, already split."""

    root: Path
    split_seed: int
    samples: dict[tuple[str, Split], tuple[Sample, ...]]
    labels: dict[str, tuple[str, ...]]
    triplets: dict[str, Triplet]

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

    def read_labels(self, subset: str) -> tuple[str, ...]:
        """Give all labels of a subset, sorted."""
        return self.labels[subset]

    def read_instructions(self, subset: str) -> tuple[str, ...]:
        """Give the six wordings of a subset's question."""
        triplet = self.triplets[subset]
        return tuple(text.format(modality=triplet.modality, area=triplet.area.lower()) for text in INSTRUCTIONS)


@dataclass(frozen=True)
class Manifest:
    """A manifest that has been read and checked."""

    path: Path
    rows: tuple[Row, ...]
    notes: tuple[Note, ...]

    @cached_property
    def content(self) -> str:
        """Hash of the usable rows and their images; the manifest may be moved, not changed."""
        return content_id(
            "manifest",
            1,
            sorted(
                [row.image, row.label, row.subset, str(row.triplet), row.group or "", row.digest] for row in self.rows
            ),
        )


def read_manifest(path: Path) -> Manifest:
    """Read a manifest and check every line and every image.

    Images that are missing or can't be decoded are counted, listed and left out; they stop nothing unless none is
    left of a label.

    Raises
    ------
    UserError
        If the file can't be read, a column is missing or twice there, or lines have empty or contradicting cells;
        all faults at once, with their line numbers.

    """
    raw = _read_lines(path)
    faults: list[str] = []
    seen: dict[str, int] = {}
    subsets: dict[str, tuple[Triplet, int]] = {}
    rows: list[Row] = []
    unreadable: list[str] = []
    lost: Counter[tuple[str, str]] = Counter()
    kept: Counter[tuple[str, str]] = Counter()
    for line, cells in raw:
        empty = [column for column in REQUIRED if not (cells.get(column) or "").strip()]
        if empty:
            faults.append(f"line {line}: empty {', '.join(empty)}")
            continue
        image, label = cells["image"].strip(), cells["label"].strip()
        triplet = Triplet(cells["modality"].strip(), cells["area"].strip(), cells["task"].strip())
        subset = (cells.get("subset") or "").strip() or _name_subset(triplet)
        first, first_line = subsets.setdefault(subset, (triplet, line))
        if first != triplet:
            faults.append(f"line {line}: subset '{subset}' is {triplet} here and {first} in line {first_line}")
        elif image in seen:
            faults.append(f"line {line}: image '{image}' is listed in line {seen[image]} already")
        elif not _lies_below(path.parent, image):
            faults.append(f"line {line}: image '{image}' lies outside the manifest's folder")
        else:
            seen[image] = line
            found = _inspect_image(path.parent / image)
            if isinstance(found, _Unreadable):
                unreadable.append(f"line {line}: {image} ({found.reason})")
                lost[subset, label] += 1
                continue
            kept[subset, label] += 1
            group = (cells.get("group") or "").strip() or None
            rows.append(
                Row(line=line, image=image, label=label, subset=subset, triplet=triplet, group=group, digest=found)
            )
    faults += [
        f"subset '{subset}': none of the {count} images of label '{label}' can be read, "
        f"the first of them: {next(text for text in unreadable)}"
        for (subset, label), count in lost.items()
        if not kept[subset, label]
    ]
    if not rows and not faults:
        faults.append("no line below the header")
    if faults:
        plural = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        shown = faults[:30] + ([f"... and {len(faults) - 30} more"] if len(faults) > 30 else [])
        raise list_faults(f"manifest {path} has {plural}", shown)
    notes = (
        Note(
            subject=path.name,
            reason="image missing or not decodable, left out",
            count=len(unreadable),
            examples=tuple(unreadable[:20]),
        ),
    )
    return Manifest(path=path, rows=tuple(rows), notes=notes if unreadable else ())


def build_manifest_catalog(manifest: Manifest, settings: ManifestSettings) -> Catalog:
    """Describe the subsets of a manifest, counted after splitting.

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
    for name, triplet in source.triplets.items():
        train, test = source.samples[name, Split.TRAIN], source.samples[name, Split.TEST]
        for split, samples in ((Split.TRAIN, train), (Split.TEST, test)):
            absent = sorted(set(source.labels[name]) - {sample.label for sample in samples})
            if absent and len(source.labels[name]) > 1:
                faults.append(
                    f"subset '{name}': no {split} sample of {', '.join(map(repr, absent))} at data.test_share="
                    f"{settings.test_share}; a label needs at least two groups or images, one for each side"
                )
        subsets.append(
            Subset(
                name=name,
                triplet=triplet,
                labels=source.labels[name],
                num_train=len(train),
                num_test=len(test),
                has_groups=any(sample.group for sample in train + test),
            )
        )
    if faults:
        raise list_faults(f"manifest {manifest.path} can't be split", faults)
    return build_catalog(data, subsets, manifest.notes)


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
        triplets={subset: rows[0].triplet for subset, rows in by_subset.items()},
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
    return tuple(Sample(id=row.image, subset=row.subset, label=row.label, group=row.group) for row in rows)


def _read_lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    if not path.is_file():
        raise UserError(f"data.path: no file '{path}'; give a CSV with the columns {', '.join(REQUIRED)}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or []]
            _check_header(path, header)
            reader.fieldnames = header
            return [(reader.line_num, {key: value or "" for key, value in cells.items() if key}) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"manifest {path}: not a CSV in UTF-8 ({error})") from None


def _check_header(path: Path, header: list[str]) -> None:
    missing = [column for column in REQUIRED if column not in header]
    twice = [column for column, count in Counter(header).items() if count > 1]
    faults = [f"no column '{column}'; {suggest(column, header)}" for column in missing]
    faults += [f"column '{column}' is there twice" for column in twice]
    if faults:
        raise list_faults(
            f"manifest {path}, line 1: needs the columns {', '.join(REQUIRED)} and may have {', '.join(OPTIONAL)}",
            faults,
        )


def _lies_below(folder: Path, image: str) -> bool:
    return (folder / image).resolve().is_relative_to(folder.resolve())


@dataclass(frozen=True, slots=True)
class _Unreadable:
    reason: str


def _inspect_image(path: Path) -> str | _Unreadable:
    """Decode an image once; give the SHA-256 of its file."""
    try:
        payload = path.read_bytes()
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                return _Unreadable(f"{image.width} x {image.height} pixels, at most {MAX_PIXELS} are read")
            image.load()
    except FileNotFoundError:
        return _Unreadable("missing")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return _Unreadable(str(error).replace(str(path), path.name) or type(error).__name__)
    return hashlib.sha256(payload).hexdigest()


def _name_subset(triplet: Triplet) -> str:
    """Name a subset whose line does not."""
    text = f"{triplet.modality}-{triplet.area}-{triplet.task}".lower()
    return "".join(character if character.isalnum() else "-" for character in text).strip("-")
