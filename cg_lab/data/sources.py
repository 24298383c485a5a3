"""From settings to a catalogue, and from a plan's data to its samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import assert_never

from cg_lab.catalog import Catalog, ListedData, ManifestData, Note, PhantomData, build_catalog
from cg_lab.data.samples import DataSource
from cg_lab.errors import UserError
from cg_lab.planning.plan import PlannedCatalog
from cg_lab.serialize import content_id
from cg_lab.study import CatalogSettings, DataSettings, ManifestSettings, PhantomSettings


def read_catalog(settings: DataSettings) -> Catalog:
    """Read the catalogue that the settings point to.

    Raises
    ------
    UserError
        For everything that is wrong with the data, all at once.

    """
    match settings:
        case PhantomSettings():
            from cg_lab.data.phantoms import build_phantom_catalog

            return build_phantom_catalog(settings)
        case ManifestSettings():
            from cg_lab.data.manifest import read_manifest
            from cg_lab.data.manifest_source import build_manifest_catalog

            return build_manifest_catalog(read_manifest(Path(settings.path), settings.factors), settings)
        case CatalogSettings():
            return _read_listed(settings)
        case _:
            assert_never(settings)


def find_images(settings: DataSettings) -> Path | None:
    """Say where the manifest of a study's images lies; None if it needs none."""
    match settings:
        case PhantomSettings():
            return None
        case ManifestSettings():
            return Path(settings.path)
        case CatalogSettings():
            return Path(settings.images) if settings.images is not None else None
        case _:
            assert_never(settings)


def _read_listed(settings: CatalogSettings) -> Catalog:
    """Read a catalogue file; with images, subsets are counted from them."""
    from cg_lab.data.listed import Declarations
    from cg_lab.data.listing import read_listing

    declared = Declarations(factors=settings.factors, aliases=settings.aliases, tied=settings.tied)
    listing = read_listing(settings.path, declared)
    if settings.images is None:
        subsets = [replace(subset, num_train=min(subset.num_train, settings.max_train)) for subset in listing.subsets]
        data = ListedData(content=content_id("listing", 1, [listing.factors, subsets]))
        return build_catalog(data, subsets, factors=listing.factors, tied=listing.tied, overlaps=None)
    from cg_lab.data.manifest import read_manifest
    from cg_lab.data.manifest_source import build_manifest_catalog

    by_name = {subset.name: subset for subset in listing.subsets}
    manifest = read_manifest(
        Path(settings.images), listing.factors, {name: subset.own for name, subset in by_name.items()}
    )
    counted = build_manifest_catalog(manifest, settings, by_name)
    absent = sorted(set(by_name) - set(counted.names))
    note = Note(
        subject=settings.path, reason="subset without images, left out", count=len(absent), examples=tuple(absent)
    )
    notes = (*counted.notes, note) if absent else counted.notes
    return replace(counted, tied=listing.tied, notes=notes)


def open_source(planned: PlannedCatalog, path: Path | None) -> DataSource:
    """Open the samples of a plan; `path` says where data of a manifest lies now.

    Raises
    ------
    UserError
        If the data there are not the ones that the plan was made for.

    """
    data = planned.data
    match data:
        case PhantomData():
            from cg_lab.data.phantoms import open_phantoms

            return open_phantoms(data, planned.subsets)
        case ManifestData():
            from cg_lab.data.manifest import read_manifest
            from cg_lab.data.manifest_source import open_manifest

            assert path is not None
            # A catalogue's own manifest may name subsets and leave their elements to it.
            known = None if _has_columns(path, planned.factors) else {part.name: part.own for part in planned.subsets}
            manifest = read_manifest(path, planned.factors, known)
            if manifest.content != data.content:
                raise UserError(f"data.path: '{path}' or its images have changed since the plan was made; plan again")
            return open_manifest(manifest, data)
        case ListedData():
            raise UserError(
                "data: this catalogue has no images, so that it can be planned but not run; "
                "give a CSV with columns image, label and subset: data.images=PATH"
            )
        case _:
            assert_never(data)


def _has_columns(path: Path, factors: tuple[str, ...]) -> bool:
    with path.open(encoding="utf-8-sig") as file:
        header = [name.strip() for name in file.readline().split(",")]
    return set(factors) <= set(header)
