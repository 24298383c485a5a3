"""What readers give: labelled images as they are listed, before any of them is opened."""

from __future__ import annotations

import unicodedata
from array import array
from dataclasses import dataclass, field

from cg_lab.catalog import Note
from cg_lab.data.places import Place
from cg_lab.mat import Subset
from cg_lab.questions import Question

SIDES = ("train", "val", "test")
"""What a source may say of a row; `val` neither trains nor tests."""
SIDE_NAMES = {
    "training": "train", "validation": "val", "valid": "val", "validate": "val", "dev": "val", "eval": "val",
    "testing": "test", "tst": "test",
}  # fmt: skip
NOT_A_VALUE = {"", "nan", "<na>", "nat"}
"""How tables write that there is nothing."""
JOINERS = str.maketrans("", "", "\u200c\u200d")
"""Unprinted, and part of how Persian and Indic words are spelled."""


@dataclass(slots=True)
class Rows:
    """Labelled images in columns: a release has millions."""

    sources: list[str] = field(default_factory=list)
    """Names of the files that list them."""
    source: array[int] = field(default_factory=lambda: array("i"))
    line: array[int] = field(default_factory=lambda: array("i"))
    """Line of a CSV, or number of a record, from 1."""
    origin: list[str] = field(default_factory=list)
    subset: list[str] = field(default_factory=list)
    label: list[str] = field(default_factory=list)
    group: list[str] = field(default_factory=list)
    """Patient or slide; empty where the source knows of none."""
    side: list[str] = field(default_factory=list)
    """The source's own: train, val, test; empty where it has none."""
    boxes: list[str] = field(default_factory=list)
    """Where the label is to be found, as `x0 y0 x1 y1` in pixels, parted by `;`; or `mask PATH`; empty for neither."""
    question: dict[int, Question] = field(default_factory=dict)
    """The source's own, by number of row."""
    _texts: dict[str, str] = field(default_factory=dict)

    def add(  # noqa: PLR0913  (a row has so many cells)
        self, line: int, origin: str, subset: str, label: str, *, group: str = "", side: str = "", boxes: str = ""
    ) -> None:
        """Add a row of the file that was named last."""
        keep = self.keep
        self.source.append(len(self.sources) - 1)
        self.line.append(line)
        self.origin.append(origin)  # hardly ever the same twice
        self.subset.append(keep(subset))
        self.label.append(keep(label))
        self.group.append(keep(group))
        self.side.append(keep(side))
        self.boxes.append(keep(boxes))

    def keep(self, text: str) -> str:
        """Give the one copy of a text that all rows share."""
        return self._texts.setdefault(text, text)

    def where(self, row: int) -> str:
        """Say where a row comes from.

        >>> rows = Rows(sources=["manifest.csv"])
        >>> rows.add(7, "a.png", "ct-lung", "benign")
        >>> rows.where(0)
        'manifest.csv, 7'
        """
        return f"{self.sources[self.source[row]]}, {self.line[row]}"

    def __len__(self) -> int:
        return len(self.origin)


@dataclass(slots=True, kw_only=True)
class Reading:
    """What one reader found."""

    rows: Rows
    place: Place
    factors: tuple[str, ...]
    subsets: dict[str, Subset]
    """By name, elements and kind set, not counted yet."""
    faults: list[str] = field(default_factory=list)
    """What the user must mend; nothing is done before."""
    notes: list[Note] = field(default_factory=list)
    is_own: bool
    """Whether the listing is the user's own, so that its faults are refused; of a public release they are counted."""
    columns: dict[str, list[str]] = field(default_factory=dict)
    """Of each row, what else the source tells of it that may say who belongs together."""
    grouping: list[Note] = field(default_factory=list)
    """How images were grouped, and what was not used."""
    unused: tuple[str, ...] = ()
    """Columns of the source that mean nothing to its module."""
    tied: tuple[tuple[str, str], ...] | None = None
    hides_origins: bool = False
    """Whether paths may name persons, so that none is written down."""
    hides_groups: bool = False
    """Whether groups may name persons, so that they are renamed by what the images show."""


def read_side(text: str) -> str | None:
    """Give a side by one of its names; None if it is none.

    >>> read_side("Training"), read_side("validate"), read_side("7")
    ('train', 'val', None)
    """
    folded = text.strip().casefold()
    return SIDE_NAMES.get(folded, folded if folded in {"", *SIDES} else None)


class RowError(Exception):
    """A row that can't be used; the text says why."""


@dataclass(slots=True)
class Tally:
    """Counts what was left out, with the first few examples of each reason."""

    subject: str
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def count(self, reason: str, example: str) -> None:
        """Count one."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < 20:
            shown.append(example if len(example) <= 300 and example.isprintable() else quote(example)[1:-1])

    def to_notes(self) -> list[Note]:
        """Give a note for each reason."""
        return [
            Note(subject=self.subject, reason=reason, count=count, examples=tuple(self.examples[reason]))
            for reason, count in self.counts.items()
        ]


def clean_text(value: object) -> str | None:
    r"""Give a label or name in one form: composed Unicode, single spaces; None for what is no text.

    None also for texts with control characters, marks that turn the direction of what follows, or half characters.

    >>> clean_text("  mild   edema ")
    'mild edema'
    >>> clean_text(float("nan")) is None and clean_text("NaN") is None and clean_text("a\u202eb") is None
    True
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = " ".join(unicodedata.normalize("NFC", str(value)).split())
    if text.casefold() in NOT_A_VALUE or not text.translate(JOINERS).isprintable():
        return None
    return text


def is_utf8(text: str) -> bool:
    """Tell whether a text can be written down; names of files and texts of JSON may hold half characters."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def quote(text: str) -> str:
    r"""Show a text in a message: on one line, whatever it holds, and not all of a long one.

    >>> quote("a\x1b[2Jb"), len(quote("x" * 5000))
    ("'a\\x1b[2Jb'", 122)
    """
    shown = f"'{text}'" if text.isprintable() else ascii(text)
    return shown if len(shown) <= 122 else f"{shown[:118]}...'"


def describe(error: Exception) -> str:
    """Give what a library says was wrong: one line, of which a terminal shows all, and not a page of it."""
    return quote(next(iter(str(error).splitlines()), "") or type(error).__name__)[1:-1]


def fold(text: str) -> str:
    """Give what two spellings of one label share.

    >>> fold("KL Grade  1") == fold("kl grade 1")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def lies_below(path: str) -> bool:
    """Tell whether a relative path stays below its folder, as it is written.

    >>> lies_below("a/b.png"), lies_below("../b.png"), lies_below("/b.png")
    (True, False, False)
    """
    parts = path.split("/")
    return not path.startswith(("/", "\\")) and ".." not in parts and "\0" not in path and {*parts} - {"", "."} != set()
