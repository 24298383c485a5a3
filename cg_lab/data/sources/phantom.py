"""Embedded procedural images: every triplet of the listed elements is a subset, and no file is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from cg_lab.catalog import Catalog
from cg_lab.data_settings import DataSettings, WholeNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DataSettings):
    """Which phantoms."""

    world: Literal["compositional", "factored", "redundant", "entangled"]
    seed: WholeNumber
    image_size: Annotated[int, Field(ge=32, le=512)]
    """Pixels of one side."""
    modalities: tuple[str, ...]
    areas: tuple[str, ...]
    tasks: tuple[str, ...]
    train_per_subset: PositiveInt
    test_per_subset: PositiveInt


def read(settings: Settings, folder: Path | None) -> Catalog:
    """List a subset for every combination of the chosen elements."""
    from cg_lab.data.phantoms import build_phantom_catalog

    del folder
    return build_phantom_catalog(settings)


def list_watched(settings: Settings) -> tuple[str, ...]:
    """Watch nothing."""
    del settings
    return ()
