"""A contact sheet: samples of each subset with their questions, for the eye."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from cg_lab.catalog import Catalog
from cg_lab.data.checking import ask_about
from cg_lab.data.samples import DataSource, Sample, Split
from cg_lab.data.table import TableSource
from cg_lab.mat import Subset
from cg_lab.questions import LETTERS, Question
from cg_lab.reporting.write import open_templates
from cg_lab.serialize import replacing

SIDE = 160
"""Pixels of the longer side of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One sample with its question."""

    image: str
    """As a data URI."""
    side: str
    text: str
    options: tuple[tuple[str, str, bool], ...]
    """Letter, text, and whether it is right; of boxes, none."""
    boxes: tuple[tuple[float, float, float, float], ...]
    """Left, top, width, height in percent."""
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One subset."""

    subset: Subset
    cards: tuple[Card, ...]


def write_preview(path: Path, catalog: Catalog, source: DataSource, each: int) -> None:
    """Write a page with so many samples of each side of each subset.

    Subsets are read and written one after the other, so that a large catalogue takes no more memory than a small one.

    Parameters
    ----------
    path
        The page.
    catalog, source
        Subsets and their samples.
    each
        Samples of a subset's training and of its test side, evenly over labels.

    Raises
    ------
    UserError
        If an image can't be read any more.

    """
    page = open_templates().get_template("preview.html.j2")
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
        for text in page.generate(catalog=catalog, sheets=_make_sheets(catalog, source, each), each=each):
            file.write(text)


def _make_sheets(catalog: Catalog, source: DataSource, each: int) -> Iterator[Sheet]:
    for subset in catalog.subsets:
        cards = [
            _make_card(source, subset, sample, split)
            for split in Split
            for sample in _choose(source.read_samples(subset.name, split), each)
        ]
        if isinstance(source, TableSource):
            source.forget(subset.name)
        yield Sheet(subset=subset, cards=tuple(cards))


def _choose(samples: tuple[Sample, ...], count: int) -> list[Sample]:
    """Take turns between labels."""
    by_label: dict[str, list[Sample]] = {}
    for sample in samples:
        by_label.setdefault(sample.label, []).append(sample)
    turns = [group[turn] for turn in range(count) for _, group in sorted(by_label.items()) if turn < len(group)]
    return turns[:count]


def _make_card(source: DataSource, subset: Subset, sample: Sample, split: Split) -> Card:
    question = ask_about(source, subset, sample)
    (image,) = source.read_images((sample,))
    options: tuple[tuple[str, str, bool], ...] = ()
    if isinstance(question, Question):
        options = tuple(
            (letter, option, place == question.answer)
            for place, (letter, option) in enumerate(zip(LETTERS, question.options, strict=False))
        )
    return Card(
        image=_to_uri(image),
        side="test" if split is Split.TEST else "training",
        text=question.text,
        options=options,
        boxes=tuple((100 * x0, 100 * y0, 100 * (x1 - x0), 100 * (y1 - y0)) for x0, y0, x1, y1 in sample.boxes),
        group=sample.group or "",
    )


def _to_uri(image: Image.Image) -> str:
    small = image.convert("RGB") if image.mode not in {"L", "RGB"} else image.copy()
    small.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
