"""Maps of a plan as SVG, written as text so that `plan` can draw them at once: the grid of cells and the MAT graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from itertools import pairwise

from cg_lab.mat import Kind, Subset
from cg_lab.planning.plan import Plan, PlannedCatalog

ROLES = {"target": "#D55E00", "source": "#0072B2", "unrelated": "#F0C05A", "further": "#56B4E9", "other": "#c9ced4"}
"""Colours that colour-blind readers can tell apart (after Okabe and Ito 2008), from dark to light."""
LINES = {
    "target": 'stroke-width="2.8" stroke-dasharray="8 3"', "source": 'stroke-width="2.6"',
    "further": 'stroke-width="1.6"', "unrelated": 'stroke-width="1.2"', "other": 'stroke-width="1"',
}  # fmt: skip
"""How the lines of a graph are drawn, so that grey will do and what matters little stays in the background."""
EMPTY = f'fill="#fff" stroke="{ROLES["other"]}" stroke-width="1.5"'
"""Of a cell that nothing uses."""
INK, SOFT = "#1b1f24", "#59636e"
CELL = 22
"""Pixels of one side of a grid's cell."""
LETTER = 6.6
"""Pixels of one letter at 12 pixels."""
MOST_PANELS = 24


def draw_grid(plan: Plan) -> str:
    """Draw the grid of cells of a plan's first catalogue: first factor down, second across, a panel for the others.

    A circle is held out, a blue square trains a related arm of a held-out question, an amber one only unrelated arms,
    a light blue one only further arms, and an empty one nothing; a number says how many subsets share a cell.
    """
    catalog = plan.catalogs[0]
    roles = _find_roles(plan, catalog)
    trained = {name for contrast in plan.contrasts for name in contrast.related}
    rows, columns = (_list_values(catalog, factor) for factor in (0, 1))
    panels: dict[tuple[str, ...], dict[tuple[str, str], list[Subset]]] = {}
    for subset in _list_drawn(catalog):
        own = subset.own
        panels.setdefault(own[2:], {}).setdefault((own[0], own[1]), []).append(subset)
    shown = sorted(panels)[:MOST_PANELS]
    left, top = _width(rows) + 14, 34
    wide, high = left + len(columns) * CELL + 18, top + len(rows) * CELL + _width(columns) * 0.75 + 22
    across = max(1, min(len(shown), int(1060 // wide)))
    is_cut = len(panels) > len(shown)
    height = -(-len(shown) // across) * high + (30 if is_cut else 4)
    parts: list[str] = []
    for number, rest in enumerate(shown):
        x, y = (number % across) * wide, (number // across) * high
        parts.append(_text(x + left, y + 20, ", ".join(rest) or "all", weight=600))
        for place, row in enumerate(rows):
            parts.append(_text(x + left - 6, y + top + place * CELL + 15, row, anchor="end", size=11))
        for place, column in enumerate(columns):
            centre = x + left + place * CELL + CELL / 2
            parts.append(_text(centre + 4, y + top + len(rows) * CELL + 12, column, anchor="end", size=11, turn=-50))
        size = f'width="{len(columns) * CELL}" height="{len(rows) * CELL}"'
        parts.append(f'<rect x="{x + left:.1f}" y="{y + top:.1f}" {size} fill="#f4f5f7"/>')
        for (row, column), members in sorted(panels[rest].items()):
            corner = (x + left + columns.index(column) * CELL, y + top + rows.index(row) * CELL)
            parts += _draw_cell(corner, members, roles, trained)
    if is_cut:
        parts.append(_text(8, height - 8, f"and {len(panels) - len(shown)} more panels", size=11))
    return _frame(max(across * wide, 300), height, "Grid of a plan: held-out subsets and their sources", parts)


def draw_graph(plan: Plan) -> str:
    """Draw the MAT graph of a plan's first catalogue: a column for each factor, a line for each subset.

    Two subsets that share an element meet in it. Held-out subsets are broken lines in orange, sources blue.
    """
    catalog = plan.catalogs[0]
    roles = _find_roles(plan, catalog)
    columns = [_list_values(catalog, factor) for factor in range(len(catalog.factors))]
    step = 300
    high = max(26 * max(len(values) for values in columns), 120)
    left = _width(columns[0]) + 20
    places = [
        {value: (left + factor * step, 50 + (number + 0.5) * high / len(values)) for number, value in enumerate(values)}
        for factor, values in enumerate(columns)
    ]
    parts: list[str] = []
    drawn = sorted(_list_drawn(catalog), key=lambda subset: (list(ROLES).index(roles[subset.name]), subset.name))
    for number, subset in enumerate(reversed(drawn)):
        points = [places[factor][value] for factor, value in enumerate(subset.own)]
        shift = (number % 7 - 3) * 1.3
        path = f"M{points[0][0]:.1f},{points[0][1] + shift:.1f}" + "".join(
            f" C{first[0] + step / 2:.1f},{first[1] + shift:.1f} {second[0] - step / 2:.1f},{second[1] + shift:.1f} "
            f"{second[0]:.1f},{second[1] + shift:.1f}"
            for first, second in pairwise(points)
        )
        role = roles[subset.name]
        parts.append(
            f'<path d="{path}" fill="none" stroke="{ROLES[role]}" {LINES[role]}>'
            f"<title>{escape(subset.name)}: {role}</title></path>"
        )
    for factor, name in enumerate(catalog.factors):
        x = left + factor * step
        parts.append(_text(x, 24, name, weight=600, anchor="middle"))
        for value, (_, y) in places[factor].items():
            anchor, gap = ("end", -9) if factor == 0 else ("start", 9) if factor == len(columns) - 1 else ("middle", 0)
            lift = 4 if gap else -8
            parts.append(f'<circle cx="{x}" cy="{y:.1f}" r="4.5" fill="#fff" stroke="{INK}" stroke-width="1.6"/>')
            parts.append(_text(x + gap, y + lift, value, anchor=anchor, size=12, halo=not gap))
    width = left + (len(columns) - 1) * step + _width(columns[-1]) + 24
    parts += _draw_legend(50 + high + 26, has_further="further" in roles.values())
    return _frame(max(width, 560), high + 92, "MAT graph of a plan", parts)


def _find_roles(plan: Plan, catalog: PlannedCatalog) -> dict[str, str]:
    roles = dict.fromkeys((subset.name for subset in catalog.subsets), "other")
    contrasts = [contrast for contrast in plan.contrasts if plan.find_catalog(contrast) is catalog]
    trained = [training for contrast in contrasts for training in contrast.trainings]
    for role, names in (
        ("further", [part.subsets for part in trained if part.arm.traits.shows != "nothing"]),
        ("unrelated", [part.subsets for part in trained if part.arm.traits.shows == "nothing"]),
        ("source", [contrast.related for contrast in contrasts]),
        ("target", [(contrast.target,) for contrast in contrasts]),
    ):
        roles |= dict.fromkeys(set[str]().union(*names), role)
    return roles


def has_further(plan: Plan) -> bool:
    """Tell whether the maps of a plan show subsets that only further arms train on."""
    return "further" in _find_roles(plan, plan.catalogs[0]).values()


def _list_drawn(catalog: PlannedCatalog) -> Iterator[Subset]:
    return (subset for subset in catalog.subsets if subset.kind is not Kind.FILLER)


def _list_values(catalog: PlannedCatalog, factor: int) -> list[str]:
    return sorted({subset.own[factor] for subset in _list_drawn(catalog)})


def _draw_cell(
    corner: tuple[float, float], members: list[Subset], roles: dict[str, str], trained: set[str]
) -> Iterator[str]:
    x, y = corner
    names = {roles[member.name] for member in members}
    if any(member.name in trained for member in members):
        names.add("source")
    face = next((f'fill="{ROLES[role]}"' for role in ("source", "unrelated", "further") if role in names), EMPTY)
    label = escape("; ".join(f"{member.name}: {roles[member.name]}" for member in members))
    yield (
        f'<g><title>{label}</title><rect x="{x + 2:.1f}" y="{y + 2:.1f}" width="{CELL - 4}" height="{CELL - 4}" rx="2" '
        f"{face}/>"
    )
    if "target" in names:
        yield (
            f'<circle cx="{x + CELL / 2:.1f}" cy="{y + CELL / 2:.1f}" r="6.2" fill="#fff" stroke="{ROLES["target"]}" '
            'stroke-width="2.6"/>'
        )
    if len(members) > 1:
        yield _text(x + CELL / 2, y + CELL / 2 + 4, str(len(members)), anchor="middle", size=10)
    yield "</g>"


def _draw_legend(y: float, *, has_further: bool) -> Iterator[str]:
    x = 20.0
    for role, meaning in (
        ("target", "held out"),
        ("source", "related source"),
        ("unrelated", "unrelated only"),
        *([("further", "further arms only")] if has_further else []),
        ("other", "not used"),
    ):
        yield f'<line x1="{x}" x2="{x + 22}" y1="{y - 4}" y2="{y - 4}" stroke="{ROLES[role]}" {LINES[role]}/>'
        yield _text(x + 28, y, meaning, size=12)
        x += 52 + len(meaning) * LETTER


def _width(values: Iterable[str]) -> float:
    return max((len(value) for value in values), default=0) * LETTER


def _text(  # noqa: PLR0913 - the attributes of a text
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: int = 400,
    turn: int = 0,
    halo: bool = False,
) -> str:
    turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
    outlined = ' stroke="#fff" stroke-width="3" paint-order="stroke"' if halo else ""
    colour = INK if size >= 12 else SOFT
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}"{outlined}{turned}>{escape(text)}</text>'
    )


def _frame(width: float, height: float, title: str, parts: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" font-family="system-ui, Liberation Sans, sans-serif">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
