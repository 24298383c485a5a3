"""Columns that may say who belongs together: by their names, or by the shape of their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from cg_lab.data.rows import NOT_A_VALUE, Rows, clean_text

PERSONS = re.compile(
    r"(anon|deid|study|src|source|the|original|hospital|nhs|dicom|ehr)?"
    r"(patient|patienten|paciente|pat|pt|subject|subj|sujet|participant|person|proband|case|donor|animal|mouse|client"
    r"|individual|eid|pid|sid|mrn|empi)s?"
    r"(id|ids|idx|no|nr|num|nbr|number|code|key|uid|identifier|index|name|anon|hash|pseudonym){0,2}\d?"
    r"|group|groups|groupid|cluster|clusterid"
)
"""Columns of persons, and what others call a group, folded."""
PIECES = re.compile(
    r"(study|series|exam|examination|accession|scan|volume|slide|wsi|specimen|biopsy|lesion|video|clip|acquisition)"
    r"(id|no|nr|num|number|uid|instanceuid|index|key|name|code)?"
)
"""Columns of what one person may have several of."""
IDS = frozenset({"id", "uid", "code", "key", "hash", "identifier", "pseudonym", "name", "personal"})
"""Columns that may name persons or anything else; their user is asked."""
MEASURES = re.compile(
    r".*(width|height|size|rows|columns|cols|pixels?|date|time|timestamp|year|age|dose|weight|model|scanner|path|file"
    r"|filename|url|version|license)\d?"
)
"""Columns of what many images share without being of one person, folded."""
CODE = re.compile(r"(?=.*\d)(?!\d{1,3}(\.0)?$)(?!\d+\.(?!0$)\d+$)(?!\d{4}-\d\d-\d\d)[\w./-]{2,128}")
"""An identifier: digits, perhaps with letters; no small number, measure or date."""


def fold_name(name: str) -> str:
    """Give what the spellings of one column's name share.

    >>> fold_name("Patient ID") == fold_name("patient_id") == fold_name("PatientId")
    True
    """
    return "".join(character for character in name.casefold() if character.isalnum())


def is_unclear(column: str) -> bool:
    """Tell whether a column may be of persons by nothing but its values."""
    name = fold_name(column)
    return not (PERSONS.fullmatch(name) or PIECES.fullmatch(name))


def may_group(column: str, asked: str | None) -> bool:
    """Tell whether a column's values are needed to find groups."""
    name = fold_name(column)
    if asked is not None and name == fold_name(asked):
        return True
    return not is_unclear(column) or (asked is None and not MEASURES.fullmatch(name))


class IdentifierColumns:
    """Values of the columns that may group rows; those of unclear ones are let go with the first that is no identifier.

    Parameters
    ----------
    rows
        What values are kept beside.
    names
        Columns of the source that have no role.
    asked
        `data.group`.

    """

    def __init__(self, rows: Rows, names: Iterable[str], asked: str | None) -> None:
        self.rows = rows
        self.values: dict[str, list[str]] = {name: [] for name in names if may_group(name, asked)}
        self._unclear = {
            name for name in self.values if asked is None and is_unclear(name) and fold_name(name) not in IDS
        }
        self._codes = {""}

    def add(self, told: Mapping[str, str]) -> None:
        """Keep what is told of the rows that were added last."""
        for name in tuple(self.values):
            raw = told.get(name, "")
            if name in self._unclear:
                text = "" if raw.strip().casefold() in NOT_A_VALUE else raw.strip()
                if text not in self._codes:
                    if not CODE.fullmatch(text):
                        del self.values[name]
                        continue
                    self._codes.add(text)
            else:
                text = clean_text(raw) or ""
            kept = self.values[name]
            kept.extend([self.rows.keep(text)] * (len(self.rows) - len(kept)))
