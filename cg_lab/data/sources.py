"""From settings to a catalogue, and from a plan's data to its samples."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from cg_lab.catalog import Catalog, DataRef, ManifestData, PhantomData
from cg_lab.data.samples import DataSource
from cg_lab.errors import UserError
from cg_lab.mat import Subset
from cg_lab.study import DataSettings, ManifestSettings, PhantomSettings


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

            return build_manifest_catalog(read_manifest(Path(settings.path)), settings)
        case _:
            assert_never(settings)


def open_source(data: DataRef, subsets: tuple[Subset, ...], path: Path | None) -> DataSource:
    """Open the samples of a plan; `path` says where data of a manifest lies now.

    Raises
    ------
    UserError
        If the data there are not the ones that the plan was made for.

    """
    match data:
        case PhantomData():
            from cg_lab.data.phantoms import open_phantoms

            return open_phantoms(data, subsets)
        case ManifestData():
            from cg_lab.data.manifest import read_manifest
            from cg_lab.data.manifest_source import open_manifest

            assert path is not None
            manifest = read_manifest(path)
            if manifest.content != data.content:
                raise UserError(f"data.path: '{path}' or its images have changed since the plan was made; plan again")
            return open_manifest(manifest, data)
        case _:
            assert_never(data)
