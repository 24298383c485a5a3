"""Images of all test questions, in small scripts beside the answers; those that are there already stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cg_lab.planning.plan import Plan
from cg_lab.reporting.answer_pieces import write_script
from cg_lab.reporting.captions import tell_missing
from cg_lab.reporting.examples import spread
from cg_lab.reporting.exams import Exam
from cg_lab.reporting.thumbnails import Thumbnails, read_thumbnails
from cg_lab.results import Layout
from cg_lab.serialize import content_id, write_text

MOST_IMAGES = 5_000
"""Of a study; of more test questions some at even steps have theirs."""
CHUNK = 64
"""Questions whose images share a file."""
SCHEMA = 1
"""Of these files; a new number makes them anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """The images of one test."""

    key: str
    """Begins the names of its files."""
    catalog: int
    subset: str
    ids: tuple[str, ...]
    """Of the test questions, in their order."""
    shown: frozenset[str]
    """Those that have an image."""

    @property
    def num_files(self) -> int:
        """One for each chunk of questions."""
        return -(-len(self.ids) // CHUNK)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSets:
    """The images of a study's tests."""

    sets: tuple[ImageSet, ...]
    of_exams: tuple[int, ...]
    """The set of each exam."""


def list_image_sets(plan: Plan, exams: Sequence[Exam]) -> ImageSets:
    """List the sets of images that some exams need."""
    found: dict[tuple[int, str, tuple[str, ...]], int] = {}
    known: dict[int, int] = {}
    for exam in exams:
        if id(exam.questions) not in known:
            ids = tuple(exam.questions["question"].to_pylist())
            known[id(exam.questions)] = found.setdefault((exam.catalog, exam.subset, ids), len(found))
    total = sum(len(ids) for _, _, ids in found)
    sets: list[ImageSet] = []
    for catalog, subset, ids in found:
        most = max(1, len(ids) * MOST_IMAGES // max(total, MOST_IMAGES))
        shown = tuple(spread(ids, most))
        content = [plan.catalogs[catalog].data, subset, ids, shown]
        key = content_id("answer_images", SCHEMA, content)
        sets.append(ImageSet(key=key, catalog=catalog, subset=subset, ids=ids, shown=frozenset(shown)))
    return ImageSets(sets=tuple(sets), of_exams=tuple(known[id(exam.questions)] for exam in exams))


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenImages:
    """What there is to show."""

    names: tuple[str, ...]
    """By set, what the names of its files begin with; empty where no image could be read."""
    files: frozenset[str]
    note: str
    """Why some are absent; empty if none is."""


def write_images(plan: Plan, layout: Layout, sets: Sequence[ImageSet], folder: Path) -> WrittenImages:
    """Write the images that are not there yet; a set of which some can't be read is tried again each time."""
    reasons: list[str] = []
    names: list[str] = []
    files: set[str] = set()
    for part in sets:
        name = part.key
        if not all((folder / f"{name}-{number}.js").exists() for number in range(part.num_files)):
            read = read_thumbnails(plan.catalogs[part.catalog], layout.data, {part.subset: part.shown})
            reasons += read.reasons.values()
            if read.reasons:
                name = f"{part.key}-some" if read.found else ""
            for number in range(part.num_files) if name else ():
                write_text(folder / f"{name}-{number}.js", _encode_chunk(part, read, f"{name}-{number}", number))
        names.append(name)
        files |= {f"{name}-{number}.js" for number in range(part.num_files)} if name else set()
    total, shown = sum(len(part.ids) for part in sets), sum(len(part.shown) for part in sets)
    note = tell_missing(reasons, shown)
    if shown < total and files:
        note = f"{note} {shown:,} of {total:,} test questions, at even steps, have their image here.".strip()
    return WrittenImages(names=tuple(names), files=frozenset(files), note=note)


def _encode_chunk(part: ImageSet, read: Thumbnails, name: str, number: int) -> str:
    ids = part.ids[number * CHUNK : (number + 1) * CHUNK]
    images = [read.found.get(one) for one in ids]
    plain = [[image.uri, image.width, image.height] if image else None for image in images]
    return write_script("receiveImages", name, plain)
