"""Labels that stand in several columns, or several in one: findings that are there, are not, or are uncertain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cg_lab.data.identifier_columns import fold_name
from cg_lab.data.rows import clean_text
from cg_lab.data_settings import ImageSettings, NonEmptyText
from cg_lab.errors import UserError, suggest

NOTHING = "no finding"
"""The label of an image that has none of the findings."""
YES = frozenset({"1", "true", "yes", "t", "y"})
NO = frozenset({"", "0", "false", "no", "f", "n", "nan", "<na>"})
"""Not there; where nothing is said, too."""
UNCERTAIN = frozenset({"-1", "uncertain", "u"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSettings(ImageSettings):
    """How a table tells labels."""

    path: NonEmptyText
    """A CSV, TSV or Parquet file."""
    root: str | None = None
    """Folder that the images lie below; None for the table's own."""
    columns: dict[str, NonEmptyText | None] | None = None
    """Columns by what they hold, where they are not called so."""
    elements: dict[str, NonEmptyText] | None = None
    """Factors that are the same for all images."""
    labels: tuple[NonEmptyText, ...] | None = None
    """Columns that are findings, with 1, 0 and -1 for uncertain; None for one column of labels, or one-hot columns."""
    separator: NonEmptyText = "|"
    """Stands between labels of one column."""
    finding: str | None = None
    """Ask about this one alone, whether it is there."""
    uncertain: Literal["left_out", "positive", "negative"] = "left_out"
    """What an uncertain finding counts as."""
    several: Literal["joined", "left_out"] = "joined"
    """Whether an image with several findings is asked about as `a, b`."""


class LabelColumns:
    """Reads the label of a line.

    Parameters
    ----------
    settings
        How labels are told.
    header, lines
        Columns of the table, and its lines, in which one-hot columns are looked for.

    Raises
    ------
    UserError
        If no column tells labels.

    """

    def __init__(self, settings: LabelSettings, header: Sequence[str], lines: Sequence[Mapping[str, str]]) -> None:
        self.settings = settings
        named = (settings.columns or {}).get("label")
        if named is not None and named not in header:
            raise UserError(f"data.columns.label: no column '{named}'; {suggest(named, header)}")
        self.column = named or next((name for name in header if fold_name(name) == "label"), None)
        if settings.labels is not None:
            absent = [name for name in settings.labels if name not in header]
            if absent:
                raise UserError(f"data.labels: no column '{absent[0]}'; {suggest(absent[0], header)}")
            self.column, self.findings = None, tuple(settings.labels)
        elif self.column is not None:
            self.findings = ()
        else:
            self.findings = _find_one_hot(header, lines)
        if settings.finding is not None and self.column is not None:
            known = sorted({name for cells in lines for name in self._split(cells)[0]})
            if settings.finding not in known:
                raise UserError(f"data.finding: no '{settings.finding}'; {suggest(settings.finding, known)}")
        self.nothing = next((name for name in self.findings if fold_name(name) == "nofinding"), NOTHING)
        if settings.finding is not None and self.findings and settings.finding not in self.findings:
            raise UserError(f"data.finding: no '{settings.finding}'; {suggest(settings.finding, self.findings)}")

    @property
    def used(self) -> frozenset[str]:
        """Columns that labels are read from."""
        return frozenset(self.findings or ([self.column] if self.column else []))

    def read(self, cells: Mapping[str, str]) -> tuple[str | None, str]:
        """Give a line's label; None if it is left out, with the reason."""
        found, doubted = self._split(cells)
        settings = self.settings
        if settings.uncertain == "positive":
            found = [*found, *doubted]
        if settings.finding is not None:
            if settings.finding in doubted and settings.uncertain == "left_out":
                return None, "finding is uncertain"
            return (settings.finding if settings.finding in found else f"no {settings.finding}"), ""
        if doubted and settings.uncertain == "left_out":
            return None, "finding is uncertain"
        real = [name for name in found if fold_name(name) not in {"nofinding", "normal"}] or found
        if len(real) > 1 and settings.several == "left_out":
            return None, "several findings"
        return ", ".join(real) or self.nothing, ""

    def _split(self, cells: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """Give the findings that are there, and those that are uncertain."""
        if self.column is not None:
            parts = [clean_text(part) for part in cells[self.column].split(self.settings.separator)]
            return sorted({part for part in parts if part}), []
        values = {name: _fold_value(cells[name]) for name in self.findings}
        for name, value in values.items():
            if value not in YES | NO | UNCERTAIN:
                raise ValueError(f"{name} '{cells[name]}' is none of 1, 0, -1 and empty")
        return (
            [name for name, value in values.items() if value in YES],
            [name for name, value in values.items() if value in UNCERTAIN],
        )


def _fold_value(text: str) -> str:
    """Give a value in one form: `1.00` is 1."""
    whole, _, rest = text.strip().casefold().partition(".")
    return whole if not rest.strip("0") else f"{whole}.{rest}"


def _find_one_hot(header: Sequence[str], lines: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Find columns of 0 and 1 of which each line has exactly one 1."""
    likely = [name for name in header if name and all(_fold_value(cells[name]) in YES | NO for cells in lines)]
    likely = [name for name in likely if any(_fold_value(cells[name]) in YES for cells in lines)]
    sums = {sum(_fold_value(cells[name]) in YES for name in likely) for cells in lines}
    if len(likely) > 1 and sums == {1}:
        return tuple(likely)
    shown = f" such as data.labels=[{','.join(likely)}]" if likely else ""
    raise UserError(
        f"data.labels: neither a column 'label' nor columns of which each line has one 1; name those of "
        f"findings{shown}, or the one column of labels: data.columns.label=NAME"
    )
