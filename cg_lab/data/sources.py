"""From settings to a catalogue, and from a plan's data to its samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from cg_lab.catalog import Catalog, ImageData, ListedData, Note, PhantomData, build_catalog, name_listing
from cg_lab.data.samples import DataSource
from cg_lab.data.signing import sign
from cg_lab.data_settings import (
    CatalogSettings,
    DataSettings,
    DicomSettings,
    FolderSettings,
    HuggingFaceSettings,
    ImageSettings,
    JoinedSettings,
    ManifestSettings,
    MedMnistSettings,
    PhantomSettings,
)
from cg_lab.errors import UserError
from cg_lab.planning.plan import PlannedCatalog
from cg_lab.serialize import canonical_json, content_id, parse_json, write_json

if TYPE_CHECKING:
    from cg_lab.data.listed import Declarations
    from cg_lab.data.readers.folders import Levels
    from cg_lab.data.rows import Reading
    from cg_lab.data.table import About

REQUEST_SCHEMA = 1
Tell = Callable[[int, int], None]
"""Told how many images of how many have been opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What settings led to, as long as nothing has changed where they point."""

    signature: str
    """Over names, sizes and times of all files that were looked at."""
    folders: tuple[str, ...] | None
    """Folders that images lie in; None for all below the source's own, whose names may be personal."""
    content: str


def read_catalog(settings: DataSettings, folder: Path | None = None, tell: Tell | None = None) -> Catalog:
    """Read the catalogue that the settings point to.

    Parameters
    ----------
    settings
        Which data.
    folder
        Keeps tables of images and what was found out about each; needed wherever there are images. Images that have
        not changed since are not opened again.
    tell
        Told of progress.

    Raises
    ------
    UserError
        For everything that is wrong with the data, all at once.

    """
    match settings:
        case PhantomSettings():
            from cg_lab.data.phantoms import build_phantom_catalog

            return build_phantom_catalog(settings)
        case CatalogSettings(images=None, release=None):
            return _read_listed(settings)
        case _:
            assert folder is not None
            return _read_images(settings, folder, tell)


def open_source(planned: PlannedCatalog, folder: Path | None) -> DataSource:
    """Open the samples of a plan; `folder` keeps the tables of images.

    Raises
    ------
    UserError
        If there is no table, or no images at all.

    """
    data = planned.data
    match data:
        case PhantomData():
            from cg_lab.data.phantoms import open_phantoms

            return open_phantoms(data, planned.subsets)
        case ImageData():
            from cg_lab.data.table import open_table

            assert folder is not None
            return open_table(table_folder(folder, data))
        case ListedData():
            raise UserError(
                "data: this catalogue has no images, so that it can be planned but not run; give a table with the "
                "columns image, label and subset: data.images=PATH, or a release: data.release=FOLDER"
            )
        case _:
            assert_never(data)


def table_folder(folder: Path, data: ImageData) -> Path:
    """Say where the table of some data lies."""
    return folder / "tables" / data.content


def _read_listed(settings: CatalogSettings) -> Catalog:
    """Read a catalogue file without images."""
    from cg_lab.data.listing import read_listing

    listing = read_listing(settings.path, _declare(settings))
    subsets = [replace(subset, num_train=min(subset.num_train, settings.max_train)) for subset in listing.subsets]
    data = name_listing(listing.factors, subsets)
    return build_catalog(data, subsets, factors=listing.factors, tied=listing.tied, overlaps=None)


def _read_images(settings: ImageSettings | JoinedSettings, folder: Path, tell: Tell | None) -> Catalog:
    """Read images by way of their table, which is only made anew where something has changed."""
    from cg_lab.data.table import About

    parts = settings.parts if isinstance(settings, JoinedSettings) else {"": settings}
    key = content_id("request", REQUEST_SCHEMA, [os.path.abspath("."), canonical_json(_omit_name(settings))])  # noqa: PTH100
    known = parse_json(_Request, folder / "requests" / f"{key}.json")
    about: About | None = None
    if known is not None and known.signature == sign(parts.values(), known.folders):
        about = parse_json(About, folder / "tables" / known.content / "about.json")
        if about is not None and not (folder / "tables" / known.content / "places.json").exists():
            about = None
    if about is None:
        about, folders = _build(parts, folder, tell)
        request = _Request(signature=sign(parts.values(), folders), folders=folders, content=about.content)
        write_json(folder / "requests" / f"{key}.json", request)
    return build_catalog(
        ImageData(content=about.content, seed=about.seed),
        list(about.subsets),
        factors=about.factors,
        tied=about.tied,
        notes=about.notes,
    )


def _omit_name(settings: ImageSettings | JoinedSettings) -> ImageSettings | JoinedSettings:
    """Leave out what does not change the table."""
    return replace(settings, name="any", targets=None)


def _build(parts: Mapping[str, ImageSettings], folder: Path, tell: Tell | None) -> tuple[About, tuple[str, ...] | None]:
    from cg_lab.data.building import build_table
    from cg_lab.data.gathering import Part
    from cg_lab.data.splitting import Rules

    made = [
        Part(
            name=name,
            reading=_read(part, folder),
            rules=Rules(
                seed=part.seed,
                test_share=part.test_share,
                max_train=part.max_train,
                max_test=part.max_test,
                keeps_own=part.split == "own",
            ),
            instructions=part.instructions or {},
            least=part.min_per_label,
        )
        for name, part in parts.items()
    ]
    factors = {part.reading.factors for part in made}
    if len(factors) > 1:
        shown = " and ".join(sorted(f"[{', '.join(names)}]" for names in factors))
        raise UserError(f"data.parts: all parts need the same factors, they have {shown}")
    about = build_table(
        made, folder, moves_look_alikes=all(part.look_alikes == "moved" for part in parts.values()), tell=tell
    )
    hides = any(part.reading.hides_origins for part in made)
    heads = {
        f"{part.reading.place.root}/{origin.rpartition('/')[0]}"
        for part in made
        if part.reading.place.kind == "files"
        for origin in set(part.reading.rows.origin)
    }
    return about, None if hides else tuple(sorted(heads))


def _read(settings: ImageSettings, folder: Path) -> Reading:
    """Let the reader of a source read."""
    match settings:
        case ManifestSettings():
            from cg_lab.data.readers.tables import read_manifest

            boxes = Path(settings.boxes) if settings.boxes else None
            return read_manifest(Path(settings.path).absolute(), settings.factors, boxes)
        case CatalogSettings():
            return _read_catalogued(settings)
        case FolderSettings():
            from cg_lab.data.readers.folders import read_folders

            return read_folders(Path(settings.path).absolute(), _find_levels(settings, settings.levels))
        case DicomSettings():
            from cg_lab.data.readers.dicom import read_films

            return read_films(Path(settings.path).absolute(), _find_levels(settings, settings.levels))
        case MedMnistSettings():
            from cg_lab.data.readers.medmnist import read_medmnist

            return read_medmnist(
                Path(settings.path).absolute(),
                (folder / "arrays").absolute(),
                facts=Path(settings.facts) if settings.facts else None,
                size=settings.size,
                names=settings.sets,
            )
        case HuggingFaceSettings():
            from cg_lab.data.readers.huggingface import HubSet, read_hub_set

            wanted = HubSet(
                path=settings.path,
                config=settings.config,
                revision=settings.revision,
                splits=settings.splits,
                streaming=settings.streaming,
                max_rows=settings.max_rows,
                columns=settings.columns,
            )
            return read_hub_set(wanted, (folder / "copies").absolute(), _find_levels(settings, ()))
        case _:
            raise AssertionError(settings)


def _find_levels(settings: FolderSettings | DicomSettings | HuggingFaceSettings, names: tuple[str, ...]) -> Levels:
    from cg_lab.data.readers.folders import Levels

    known = None
    if settings.subsets is not None:
        from cg_lab.data.listed import Declarations
        from cg_lab.data.listing import read_listing

        listing = read_listing(settings.subsets, Declarations(factors=settings.factors))
        known = {subset.name: subset for subset in listing.subsets}
    return Levels(names=names, elements=settings.elements or {}, factors=settings.factors, known=known)


def _declare(settings: CatalogSettings) -> Declarations:
    from cg_lab.data.listed import Declarations

    return Declarations(factors=settings.factors, aliases=settings.aliases or {}, tied=settings.tied)


def _read_catalogued(settings: CatalogSettings) -> Reading:
    """Read the images of a catalogue's subsets, from a manifest or a release."""
    from cg_lab.data.listing import read_listing
    from cg_lab.data.readers.med_mat import read_release
    from cg_lab.data.readers.tables import read_manifest

    listing = read_listing(settings.path, _declare(settings))
    known = {subset.name: subset for subset in listing.subsets}
    if settings.images is not None and settings.release is not None:
        raise UserError("data.images and data.release are both set; give one of them")
    if settings.release is not None:
        reading = read_release(
            Path(settings.release).absolute(), listing.factors, known, with_questions=settings.questions == "own"
        )
    else:
        assert settings.images is not None
        boxes = Path(settings.boxes) if settings.boxes else None
        reading = read_manifest(Path(settings.images).absolute(), listing.factors, boxes, known)
    absent = sorted(set(known) - set(reading.subsets))
    if absent:
        reason = "subset without images, left out"
        reading.notes.append(Note(subject=settings.path, reason=reason, count=len(absent), examples=tuple(absent)))
    reading.tied = listing.tied
    return reading
