"""What the settings of every source of images have; each source adds its own in its module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

NonEmptyText = Annotated[str, Field(min_length=1)]
FactorNames = Annotated[tuple[NonEmptyText, ...], Field(min_length=2)]
WholeNumber = Annotated[int, Field(ge=0)]
LookAlikes = Literal["moved", "kept", "widely"]
"""What becomes of training images that look like a test image; `widely` moves mirrored and cropped ones, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Where samples come from."""

    source: NonEmptyText
    """A module of `cg_lab.data.sources`, or a dotted one of the user's own."""
    name: NonEmptyText
    targets: tuple[str, ...] | None
    """Held out unless the study names others."""
    min_steps: WholeNumber = 0
    """Optimizer steps that a fine-tune on these images takes at least, unless its recipe says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings(DataSettings):
    """What all sources of labelled images have: how they are split and asked about."""

    seed: WholeNumber
    """Decides split, questions and option order."""
    split: Literal["own", "drawn"]
    """The source's own sides where it has any, or sides drawn anew."""
    test_share: Annotated[float, Field(gt=0, lt=1)]
    """Share of each subset's rarest label that is tested on, where sides are drawn."""
    max_train: PositiveInt
    """Most training samples of a subset."""
    max_test: PositiveInt | None
    """Most test samples of a label; None for no bound."""
    min_per_label: PositiveInt
    """Labels with fewer images are left out."""
    look_alikes: LookAlikes
    """Whether training images that look like a test image are moved out of training."""
    instructions: dict[str, Annotated[tuple[NonEmptyText, ...], Field(min_length=1)]] | None
    """Wordings of the question by subset or task, in place of ours."""
    factors: FactorNames
    """What tells elements apart."""
    group: NonEmptyText | None = None
    """Column that says which images belong to one patient; `none` if nothing does, None to look for it."""
