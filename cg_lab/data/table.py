"""The table of a study's images: every sample with its side and hashes, written once and read by every job."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from cg_lab.catalog import Note
from cg_lab.data.pictures import Pictures, UnreadableError
from cg_lab.data.places import Place
from cg_lab.data.samples import Sample, Split
from cg_lab.errors import UserError
from cg_lab.mat import Subset
from cg_lab.questions import Question
from cg_lab.serialize import parse, read_json, replacing, write_json

TABLE_SCHEMA = 1
"""Raised whenever the same images, split alike, are written otherwise."""
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("subset", pa.string()),
        ("split", pa.string()),
        ("label", pa.string()),
        ("group", pa.string()),
        ("letter", pa.int16()),
        ("boxes", pa.string()),
        ("question", pa.string()),
        ("part", pa.string()),
        ("origin", pa.string()),
        ("digest", pa.string()),
        ("pixels", pa.string()),
        ("listed", pa.string()),
    ]
)
"""`split` is train, test, spare (kept for larger training sets) or moved (shows what is tested); `boxes` and
`question` are JSON; `origin` is the image within its part's place, `digest` the SHA-256 of its file, `listed` where the
source lists it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """A subset whose label can be told from what is not anatomy."""

    subset: str
    num_images: int
    """That the probe was tried on."""
    accuracy: float
    """Of a linear probe on unseen images."""
    chance: float
    feature: str
    """That tells most on its own."""
    warns: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is said of a table beside it."""

    schema: int = TABLE_SCHEMA
    content: str
    """Hash of every sample with its side and question."""
    seed: int
    factors: tuple[str, ...]
    subsets: tuple[Subset, ...]
    tied: tuple[tuple[str, str], ...] | None
    notes: tuple[Note, ...]
    instructions: dict[str, tuple[str, ...]]
    shares: dict[str, tuple[int, int]]
    """First row and number of rows of each `subset/split`."""
    shortcuts: tuple[Shortcut, ...] = ()
    look_alikes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Images of each subset that have a look-alike in it, and in another one."""


@dataclass(slots=True, kw_only=True)
class TableSource:
    """Samples of a table; images are opened where they lie now, and must be the ones that were split."""

    folder: Path
    about: About
    places: dict[str, Place]
    _sides: dict[tuple[str, str], tuple[Sample, ...]] = field(default_factory=dict)
    _origins: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """Part, origin and digest of each sample that was read."""
    _pictures: dict[str, Pictures] = field(default_factory=dict)
    _file: pq.ParquetFile | None = None

    @property
    def seed(self) -> int:
        """Decides the questions."""
        return self.about.seed

    def read_samples(self, subset: str, split: Split) -> tuple[Sample, ...]:
        """List a subset's samples on one side."""
        key = (subset, str(split))
        if key not in self._sides:
            rows = self.read_rows(subset, split)
            self._origins |= {row["id"]: (row["part"], row["origin"], row["digest"]) for row in rows}
            self._sides[key] = tuple(_to_sample(row) for row in rows)
        return self._sides[key]

    def read_rows(self, subset: str, split: str) -> list[dict[str, Any]]:
        """Give the table's rows of one side, as in `SCHEMA`; of `spare` and `moved` ones too."""
        name = f"{subset}/{split}"
        if name not in self.about.shares:
            return []
        if self._file is None:
            self._file = pq.ParquetFile(self.folder / "samples.parquet")
        return self._file.read_row_group(list(self.about.shares).index(name)).to_pylist()

    def read_images(self, samples: tuple[Sample, ...]) -> list[Image.Image]:
        """Open images.

        Raises
        ------
        UserError
            If one is gone, or is no longer what it was when it was split.

        """
        return [self.read_image(*self._origins[sample.id]) for sample in samples]

    def find_digest(self, sample: Sample) -> str:
        """Give the SHA-256 of the bytes that a sample's image is decoded from; its side was read before."""
        return self._origins[sample.id][2]

    def read_image(self, part: str, origin: str, digest: str) -> Image.Image:
        """Open one image of a part, and compare it with its hash."""
        if part not in self._pictures:
            self._pictures[part] = self.places[part].open()
        try:
            picture = self._pictures[part].open(origin)
        except UnreadableError as error:
            where = self.places[part].root
            raise UserError(f"image '{origin}' below '{where}' can't be read any more: {error}; plan again") from None
        if picture.digest != digest:
            raise UserError(
                f"image '{origin}' below '{self.places[part].root}' has changed since it was split; plan again"
            )
        return picture.image

    def forget(self, subset: str) -> None:
        """Let go of a subset's samples."""
        for split in Split:
            for sample in self._sides.pop((subset, str(split)), ()):
                self._origins.pop(sample.id, None)

    def read_labels(self, subset: str) -> tuple[str, ...]:
        """Give all labels of a subset, sorted."""
        return next(one.labels for one in self.about.subsets if one.name == subset)

    def read_instructions(self, subset: str) -> tuple[str, ...]:
        """Give the wordings of a subset's question."""
        return self.about.instructions[subset]


def _to_sample(row: Mapping[str, Any]) -> Sample:
    return Sample(
        id=row["id"],
        subset=row["subset"],
        label=row["label"],
        group=row["group"] or None,
        boxes=tuple((box[0], box[1], box[2], box[3]) for box in json.loads(row["boxes"])) if row["boxes"] else (),
        letter=row["letter"],
        question=Question(**_untuple(json.loads(row["question"]))) if row["question"] else None,
    )


def _untuple(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "options": tuple(fields["options"])}


def write_table(folder: Path, columns: Mapping[str, Sequence[Any]], about: About, places: Mapping[str, Place]) -> None:
    """Write a table whose rows are in the order of `about.shares`.

    One of equal content may be there, made when images lay elsewhere or were stored otherwise: it takes the new places,
    and the new names of images below them.
    """
    table = pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
    with replacing(folder / "samples.parquet") as beside, pq.ParquetWriter(beside, SCHEMA) as writer:
        for first, count in about.shares.values():
            writer.write_table(table.slice(first, count), row_group_size=max(1, count))
    write_json(folder / "places.json", dict(places))
    write_json(folder / "about.json", about)


def open_table(folder: Path) -> TableSource:
    """Open a table.

    Raises
    ------
    UserError
        If it is not there or damaged.

    """
    if not (folder / "about.json").exists():
        raise UserError(f"data: no table of images in '{folder}'; plan again, so that it is written")
    about = parse(About, read_json(folder / "about.json"), where=str(folder / "about.json"))
    places = parse(dict[str, Place], read_json(folder / "places.json"), where=str(folder / "places.json"))
    return TableSource(folder=folder, about=about, places=places)
