"""Names of subsets: made from elements, and the rule that all obey, whatever the source."""

from __future__ import annotations

from collections.abc import Iterable

from cg_lab.data.rows import quote
from cg_lab.mat import Kind, Subset

FORBIDDEN = frozenset("/\\,;=[]{}\"'<>`|& \t\r\n")
"""Characters that command lines, files or pages give a meaning."""
LONGEST = 150


def find_name_fault(name: str) -> str | None:
    """Say what is wrong with a subset's name; None if nothing is.

    >>> find_name_fault("ct-lung") is None, find_name_fault("ct lung")
    (True, "name 'ct lung' has spaces or one of / , ; = [ ] { } and quotes; use letters, digits, - _ .")
    """
    if not name:
        return "empty name"
    if FORBIDDEN & set(name) or not name.isprintable():
        return f"name {quote(name)} has spaces or one of / , ; = [ ] {{ }} and quotes; use letters, digits, - _ ."
    if len(name) > LONGEST or name.startswith((".", "-")):
        return f"name {quote(name)} begins with . or -, or has more than {LONGEST} characters"
    return None


def name_subset(elements: Iterable[str]) -> str:
    """Name a subset after its elements.

    >>> name_subset(("X-ray", "Lung", "Cell type"))
    'x-ray-lung-cell-type'
    """
    text = "-".join(elements).lower()
    return "".join(character if character.isalnum() else "-" for character in text).strip("-")


def make_subset(name: str, elements: Iterable[str], *, is_located: bool = False) -> Subset:
    """Make a subset that is not counted yet."""
    return Subset(
        name=name,
        elements=tuple((value,) for value in elements),
        num_options=0 if is_located else 2,
        num_train=0,
        num_test=0,
        kind=Kind.DETECTION if is_located else Kind.CLASSIFICATION,
    )
