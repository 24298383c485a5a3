"""Subsets listed in a CSV or YAML, with or without images: those of a manifest, or of a Med-MAT release."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cg_lab.catalog import Catalog, Note, build_catalog, name_listing
from cg_lab.data.rows import Reading
from cg_lab.data_settings import ImageSettings, NonEmptyText
from cg_lab.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ImageSettings):
    """Which catalogue, and where its images are."""

    path: NonEmptyText
    """The catalogue; `package:med_mat` is the one that comes with cg_lab."""
    images: str | None
    """A manifest whose column `subset` names the catalogue's subsets; None for a release, or to plan only."""
    boxes: str | None
    """Of the manifest."""
    release: str | None
    """Folder of a Med-MAT release, whose file numbers are those that the subsets' names end with."""
    questions: Literal["ours", "own"]
    """Our wordings, or the release's own question texts and options."""
    aliases: dict[str, dict[str, str]] | None
    """For each factor, what a spelling stands for; a value that is its own alias is known to be distinct."""
    tied: tuple[tuple[str, str], ...] | None
    """Values of the first two factors that act as one element; None finds those that occur only together."""
    columns: dict[str, NonEmptyText | None] | None = None
    """Of the manifest: columns by what they hold, where they are not called so."""


def read(settings: Settings, folder: Path | None) -> Reading | Catalog:
    """Read a catalogue, and the images of its subsets where it has any."""
    from cg_lab.data.listed import Declarations
    from cg_lab.data.listing import read_listing
    from cg_lab.data.release import read_release
    from cg_lab.data.sources.manifest import read_manifest

    declared = Declarations(factors=settings.factors, aliases=settings.aliases or {}, tied=settings.tied)
    listing = read_listing(settings.path, declared)
    if settings.images is not None and settings.release is not None:
        raise UserError("data.images and data.release are both set; give one of them")
    known = {subset.name: subset for subset in listing.subsets}
    if settings.release is not None:
        reading = read_release(
            Path(settings.release).absolute(), listing.factors, known, with_questions=settings.questions == "own"
        )
    elif settings.images is not None:
        boxes = Path(settings.boxes) if settings.boxes else None
        reading = read_manifest(
            Path(settings.images).absolute(), listing.factors, boxes, known,
            columns=settings.columns, group=settings.group,
        )  # fmt: skip
    else:
        subsets = [replace(subset, num_train=min(subset.num_train, settings.max_train)) for subset in listing.subsets]
        data = name_listing(listing.factors, subsets)
        return build_catalog(data, subsets, factors=listing.factors, tied=listing.tied, overlaps=None)
    assert folder is not None
    absent = sorted(set(known) - set(reading.subsets))
    if absent:
        reason = "subset without images, left out"
        reading.notes.append(Note(subject=settings.path, reason=reason, count=len(absent), examples=tuple(absent)))
    reading.tied = listing.tied
    return reading


def list_watched(settings: Settings) -> tuple[str, ...]:
    """Watch the catalogue, the manifest and the release's lists."""
    from cg_lab.data.release import list_release

    released = [str(path) for path in list_release(Path(settings.release))] if settings.release else []
    return (settings.path, *filter(None, (settings.images, settings.boxes)), *released)
