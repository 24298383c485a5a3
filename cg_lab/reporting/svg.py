"""SVG as short as it shows the same: matplotlib writes each style, wrapper and digit out at every mark."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from cg_lab.reporting.figures import TIP, StyledFigure

PLACED = ("d", "x", "y", "width", "height", "transform")
"""Attributes that hold coordinates."""
NUMBER = re.compile(r"-?\d+\.\d+")
SPACE = re.compile(r"\s*([A-Za-z])\s*|\s+")
LETTERS = 7
"""Of the ids of marks and clipping paths, which are hashes of what they are."""
POINT = re.compile(r"\s*M[^a-zA-Z]*")
RULE = re.compile(r"\.s[0-9a-f]{6}\{[^}]*\}")
SHEET = re.compile(rf"<style>((?:{RULE.pattern})*)</style>\n")
MARK = re.compile(r'<defs><path id="(m[0-9a-f]{6})"[^>]*/>\n</defs>\n')
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that names may hold and no XML can."""
NOT_TURNED = re.compile(r"rotate\(-?0 .*")


def to_svg(figure: StyledFigure) -> str:
    """Give a figure as SVG text with its letters as letters, and what marks say when pointed at as their titles."""
    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Title": str(figure.get_label())}
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    text = buffer.getvalue()
    return shorten(text[text.index("<svg") :], TIP)


def shorten(text: str, tip: str) -> str:
    """Shorten the SVG text of a figure.

    Styles become classes, named by what they say, so that figures of one page never mean two things by one. Coordinates
    keep a digit behind the point, those of marks two.

    Parameters
    ----------
    text
        As matplotlib writes it, from its root on.
    tip
        How the ids of groups begin whose rest becomes their title: what marks say when they are pointed at.

    """
    text = NOT_XML.sub("\ufffd", text)
    root = ET.fromstring(re.sub(r"xlink:(?=href)|xmlns(:xlink)?=\S+(?=[ >])", "", text))  # noqa: S314 - ours
    classes: dict[str, str] = {}
    _shorten_children(root, tip, classes)
    sheet = ET.Element("style")
    sheet.text, sheet.tail = "".join(f".{name}{{{style}}}" for style, name in classes.items()), "\n"
    root.insert(1, sheet)
    root.text = "\n"
    root.attrib = {"xmlns": "http://www.w3.org/2000/svg", **root.attrib, "stroke-linejoin": "round"}
    return ET.tostring(root, encoding="unicode") + "\n"


def share_definitions(page: str) -> str:
    """Let the figures of a page share classes and marks: each is named by what it is, so that once will do."""
    rules = dict.fromkeys(rule for sheet in SHEET.findall(page) for rule in RULE.findall(sheet))
    known: set[str] = set()

    def keep_first(found: re.Match[str]) -> str:
        is_known = found[1] in known
        known.add(found[1])
        return "" if is_known else found[0]

    return MARK.sub(keep_first, SHEET.sub("", page)).replace("</style>", f"{''.join(rules)}\n</style>", 1)


def _shorten_children(parent: ET.Element, tip: str, classes: dict[str, str], digits: int = 1) -> None:
    parent[:] = [left for child in parent for left in _shorten_one(child, tip, classes, digits)]


def _shorten_one(part: ET.Element, tip: str, classes: dict[str, str], digits: int) -> Iterator[ET.Element]:
    """Give what is left of an element: itself, its children where it says nothing itself, or nothing."""
    if part.tag in {"metadata", "style"} or _is_unseen(part):
        return
    said = part.attrib.pop("id", "") if part.tag == "g" else ""
    _shorten_attributes(part, classes, digits)
    _shorten_children(part, tip, classes, 2 if part.tag == "defs" else digits)
    if said.startswith(tip):
        part.set("class", "tip")
        part.insert(0, title := ET.Element("title"))
        title.text = said.removeprefix(tip)
    part.tail = "\n"
    part.text = (part.text or "").strip()
    if part.tag in {"g", "defs"} and not (len(part) and (part.attrib or part.tag == "defs")):
        yield from part
    else:
        yield part


def _is_unseen(part: ET.Element) -> bool:
    """Tell whether an element draws nothing: a background without a colour, a line of one point."""
    return part.tag == "path" and (part.get("style") == "fill: none" or bool(POINT.fullmatch(part.get("d", ""))))


def _shorten_attributes(part: ET.Element, classes: dict[str, str], digits: int) -> None:
    if NOT_TURNED.fullmatch(part.get("transform", "")):
        del part.attrib["transform"]
    for name in PLACED:
        if name in part.attrib:
            rounded = NUMBER.sub(lambda number: f"{round(float(number[0]), digits):g}", part.attrib[name])
            part.set(name, SPACE.sub(lambda space: space[1] or " ", rounded).strip() if name == "d" else rounded)
    for name in ("href", "clip-path", "id"):
        if name in part.attrib:
            part.set(name, re.sub(r"[0-9a-f]{10}", lambda found: found[0][: LETTERS - 1], part.attrib[name]))
    if style := part.attrib.pop("style", ""):
        short = style.replace(": ", ":").replace("; ", ";")
        part.set("class", classes.setdefault(short, f"s{hashlib.sha256(short.encode()).hexdigest()[:6]}"))
