"""What a user says of images, typed: one class for each source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator, Field, NonNegativeInt, PositiveInt

NonEmptyText = Annotated[str, Field(min_length=1)]
FactorNames = Annotated[tuple[NonEmptyText, ...], Field(min_length=2)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomSettings:
    """Embedded procedural images: every triplet of the listed elements is a subset."""

    source: Literal["phantom"]
    name: NonEmptyText
    world: Literal["compositional", "factored", "redundant", "entangled"]
    seed: NonNegativeInt
    image_size: Annotated[int, Field(ge=32, le=512)]
    """Pixels of one side."""
    modalities: tuple[str, ...]
    areas: tuple[str, ...]
    tasks: tuple[str, ...]
    train_per_subset: PositiveInt
    test_per_subset: PositiveInt
    targets: tuple[str, ...] | None
    """Held out unless the study names others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """What all sources of labelled images have: how they are split and asked about."""

    name: NonEmptyText
    seed: NonNegativeInt
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
    look_alikes: Literal["moved", "kept"]
    """Whether training images that look like a test image are moved out of training."""
    instructions: dict[str, Annotated[tuple[NonEmptyText, ...], Field(min_length=1)]] | None
    """Wordings of the question by subset or task, in place of ours."""
    factors: FactorNames
    """What tells elements apart."""
    targets: tuple[str, ...] | None
    """Held out unless the study names others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSettings(ImageSettings):
    """Images listed in a table with columns image, label, a column for each factor, and optionally more."""

    source: Literal["manifest"]
    path: NonEmptyText
    """A CSV or Parquet file; image paths in it are relative to its folder."""
    boxes: str | None
    """A CSV of boxes: image, label, x0, y0, x1, y1 in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSettings(ImageSettings):
    """Subsets listed in a CSV or YAML, with or without images."""

    source: Literal["catalog"]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings(ImageSettings):
    """Class folders."""

    source: Literal["imagefolder"]
    path: NonEmptyText
    levels: Annotated[tuple[NonEmptyText, ...], Field(min_length=1)]
    """What the folders above an image mean: factors, subset, label, split, group, or `_` for nothing."""
    elements: dict[str, NonEmptyText] | None
    """Factors that are the same for all images."""
    subsets: str | None
    """A catalogue that says the elements of each subset; None where folders or `elements` do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomSettings(ImageSettings):
    """DICOM folders; Modality and BodyPartExamined say the first two factors unless levels or elements do."""

    source: Literal["dicom"]
    path: NonEmptyText
    levels: Annotated[tuple[NonEmptyText, ...], Field(min_length=1)]
    """What the folders above a file mean: factors, subset, label, split, group, or `_` for nothing."""
    elements: dict[str, NonEmptyText] | None
    """Factors that are the same for all images."""
    subsets: str | None
    """A catalogue that says the elements of each subset; None where files, folders or `elements` do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MedMnistSettings(ImageSettings):
    """MedMNIST's .npz files, each a subset."""

    source: Literal["medmnist"]
    path: NonEmptyText
    """Folder of the files."""
    size: Literal[28, 64, 128, 224]
    """Pixels of one side."""
    sets: tuple[NonEmptyText, ...] | None
    """Names such as pathmnist; None for all that are in the folder."""
    facts: str | None
    """A CSV of sets with their elements and labels; None for the twelve published ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingFaceSettings(ImageSettings):
    """A set of the Hugging Face hub, or a folder in one of its formats."""

    source: Literal["huggingface"]
    path: NonEmptyText
    config: str | None
    revision: str | None
    """Commit or tag; None for the newest."""
    splits: Annotated[tuple[NonEmptyText, ...], Field(min_length=1)]
    streaming: bool
    """Read row by row rather than download whole first."""
    max_rows: PositiveInt | None
    """Of each split; None for all."""
    columns: dict[str, NonEmptyText]
    """Columns by what they hold: image, label, and perhaps subset, group and factors."""
    elements: dict[str, NonEmptyText] | None
    """Factors that are the same for all images."""
    subsets: str | None
    """A catalogue that says the elements of each subset; None where columns or `elements` do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedSettings:
    """Several sources of images as one catalogue; each is split by its own settings, look-alikes are found over all."""

    source: Literal["joined"]
    name: NonEmptyText
    parts: Annotated[dict[NonEmptyText, ImagePart], Field(min_length=1)]
    targets: tuple[str, ...] | None
    """Held out unless the study names others."""


ImagePart = Annotated[
    ManifestSettings | CatalogSettings | FolderSettings | DicomSettings | MedMnistSettings | HuggingFaceSettings,
    Discriminator("source"),
]
DataSettings = Annotated[
    PhantomSettings
    | ManifestSettings
    | CatalogSettings
    | FolderSettings
    | DicomSettings
    | MedMnistSettings
    | HuggingFaceSettings
    | JoinedSettings,
    Discriminator("source"),
]
