"""One module for each source of images: its settings, what it reads, and which files it watches."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, assert_never, cast

from cg_lab.catalog import Catalog, ImageData, ListedData, PhantomData, build_catalog
from cg_lab.data.samples import DataSource
from cg_lab.data.signing import Signature, sign
from cg_lab.data_settings import DataSettings, ImageSettings, LookAlikes
from cg_lab.dotted_modules import list_modules, load_module
from cg_lab.errors import UserError, suggest
from cg_lab.planning.plan import PlannedCatalog
from cg_lab.serialize import canonical_json, content_id, parse, parse_json, write_json

if TYPE_CHECKING:
    from cg_lab.data.gathering import Part
    from cg_lab.data.rows import Reading
    from cg_lab.data.table import About

REQUEST_SCHEMA = 3
Tell = Callable[[int, int], None]
"""Told how many images of how many have been opened."""


class Source(Protocol):
    """What the module of a source offers."""

    Settings: type[DataSettings]

    def read(self, settings: Any, folder: Path | None) -> Reading | Catalog:  # noqa: ANN401
        """List labelled images; a source that knows its subsets without them gives the catalogue itself.

        `folder` may keep copies; it is None where only such a catalogue is wanted.
        """
        ...

    def list_watched(self, settings: Any) -> Iterable[str]:  # noqa: ANN401
        """Name files and folders by which to tell whether anything has changed; of a folder, the files in it count."""
        ...


def load_source(name: str) -> Source:
    """Load the module of a source: one of this package, or a dotted module of one's own.

    Raises
    ------
    UserError
        If there is none, or it lacks a part.

    """
    needs = ("Settings", "read", "list_watched")
    return cast("Source", load_module(name, sys.modules[__name__], needs, setting="data.source"))


def list_sources() -> tuple[str, ...]:
    """Name the sources that come with the package."""
    return list_modules(sys.modules[__name__])


def parse_data(raw: Any, *, where: str) -> DataSettings:  # noqa: ANN401 - the door
    """Check the settings of a source, and of the parts that it may have, against their own modules."""
    fields = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
    name = fields.get("source")
    if not isinstance(name, str):
        raise UserError(f"{where}: data.source must name a source; {suggest(str(name), list_sources())}")
    if isinstance(fields.get("parts"), dict):
        parts = {key: parse_data(part, where=f"{where} part {key},") for key, part in fields["parts"].items()}
        fields = {**fields, "parts": parts}
    return parse(load_source(name).Settings, fields, where=where)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What settings led to, as long as nothing has changed where they point."""

    signature: Signature
    """Over names, sizes and times of all files that were looked at."""
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
    from cg_lab.data.sources import joined

    if isinstance(settings, joined.Settings):
        return _read_images(settings, settings.parts, folder, tell)
    if not isinstance(settings, ImageSettings):
        found = load_source(settings.source).read(settings, folder)
        assert isinstance(found, Catalog)
        return found
    return _read_images(settings, {"": settings}, folder, tell)


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


def _read_images(
    settings: DataSettings, parts: Mapping[str, ImageSettings], folder: Path | None, tell: Tell | None
) -> Catalog:
    """Read images by way of their table, which is only made anew where something has changed."""
    if folder is None:
        return _read_listed(parts)
    # What does not change the table is left out.
    key = content_id(
        "request",
        REQUEST_SCHEMA,
        [os.path.abspath("."), canonical_json(replace(settings, name="any", targets=None, min_steps=0))],  # noqa: PTH100
    )

    def list_watched() -> list[str]:
        return [path for part in parts.values() for path in load_source(part.source).list_watched(part)]

    request = folder / "requests" / f"{key}.json"
    known = parse_json(_Request, request)
    about = _read_known(known, sign(list_watched(), known.signature.folders), folder, request) if known else None
    if about is None:
        read = _read_parts(parts, folder)
        if isinstance(read, Catalog):
            return read
        about = _build(read, folder, tell, {part.look_alikes for part in parts.values()})
        write_json(request, _Request(signature=sign(list_watched(), _list_folders(read)), content=about.content))
    return build_catalog(
        ImageData(content=about.content, seed=about.seed),
        list(about.subsets),
        factors=about.factors,
        tied=about.tied,
        notes=about.notes,
    )


def _read_known(known: _Request, now: Signature, folder: Path, request: Path) -> About | None:
    """Read what is known of a table as long as it would be made again; touched images are opened to tell."""
    from cg_lab.data.table import About, open_table

    table = folder / "tables" / known.content
    about = parse_json(About, table / "about.json")
    if about is None or not (table / "places.json").exists():
        return None
    if now != known.signature:
        from cg_lab.data.touched_files import hold_the_same

        if not hold_the_same(known.signature, now, open_table(table).places.values(), folder):
            return None
        write_json(request, replace(known, signature=now))
    return about


def _read_listed(parts: Mapping[str, ImageSettings]) -> Catalog:
    (part,) = parts.values()
    found = load_source(part.source).read(part, None)
    assert isinstance(found, Catalog)
    return found


def _read_parts(parts: Mapping[str, ImageSettings], folder: Path) -> Catalog | list[Part]:
    """Let each part's own module read; what is then done with its rows is the same for all."""
    made: list[Part] = []
    for name, part in parts.items():
        reading = load_source(part.source).read(part, folder.absolute())
        if isinstance(reading, Catalog):
            if len(parts) > 1:
                raise UserError(f"data.parts.{name}: a part needs images, and this one has none")
            return reading
        made.append(_make_part(name, part, reading))
    return made


def _make_part(name: str, part: ImageSettings, reading: Reading) -> Part:
    from cg_lab.data.film_headers import read_ids  # what lists no images needs none of these
    from cg_lab.data.gathering import Part
    from cg_lab.data.groups import group_rows
    from cg_lab.data.splitting import Rules
    from cg_lab.data.subset_names import find_name_fault

    read_ids(reading)
    group_rows(reading, part.group)
    reading.faults += [
        f"subset '{subset}': {fault}" for subset in reading.subsets if (fault := find_name_fault(subset))
    ]
    rules = Rules(
        seed=part.seed,
        test_share=part.test_share,
        max_train=part.max_train,
        max_test=part.max_test,
        keeps_own=part.split == "own",
    )
    return Part(
        name=name,
        reading=reading,
        rules=rules,
        instructions=part.instructions or {},
        least=part.min_per_label,
    )


def _build(parts: list[Part], folder: Path, tell: Tell | None, look_alikes: Set[LookAlikes]) -> About:
    from cg_lab.data.building import build_table

    factors = {part.reading.factors for part in parts}
    if len(factors) > 1:
        shown = " and ".join(sorted(f"[{', '.join(names)}]" for names in factors))
        raise UserError(f"data.parts: all parts need the same factors, they have {shown}")
    modes: tuple[LookAlikes, ...] = ("kept", "moved", "widely")
    return build_table(parts, folder, look_alikes=next(one for one in modes if one in look_alikes), tell=tell)


def _list_folders(parts: list[Part]) -> tuple[str, ...]:
    """List the folders that images lie in, where their names say nothing of persons."""
    heads = {
        f"{part.reading.place.root}/{origin.rpartition('/')[0]}"
        for part in parts
        if part.reading.place.kind == "files" and not part.reading.hides_origins
        for origin in set(part.reading.rows.origin)
    }
    return tuple(sorted(heads))
