"""Boxes as text in each model's own convention, and how well found boxes meet the true ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Box = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of the image's width and height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxStyle:
    """How a model writes boxes."""

    unit: Literal["share", "thousandth", "pixel"]
    """Of coordinates: shares with two decimals, whole thousandths, or pixels of the image as the model reads it."""
    pattern: str
    """One box, by its coordinates `x0 y0 x1 y1` in braces."""
    is_vertical_first: bool = False
    """Whether the top comes before the left."""
    around: tuple[str, str] = ("", "")
    between: str = " "
    """Stands between boxes."""


PLAIN = BoxStyle(unit="share", pattern="[{x0}, {y0}, {x1}, {y1}]")
"""LLaVA-1.5's convention, and that of models which have none."""
STYLES = {
    "qwen2_vl": BoxStyle(
        unit="thousandth", pattern="<|box_start|>({x0},{y0}),({x1},{y1})<|box_end|>", between=""
    ),
    "qwen2_5_vl": BoxStyle(
        unit="pixel", pattern='{{"bbox_2d": [{x0}, {y0}, {x1}, {y1}]}}', around=("[", "]"), between=", "
    ),
    "qwen3_vl": BoxStyle(
        unit="thousandth", pattern='{{"bbox_2d": [{x0}, {y0}, {x1}, {y1}]}}', around=("[", "]"), between=", "
    ),
    "internvl": BoxStyle(
        unit="thousandth", pattern="[{x0}, {y0}, {x1}, {y1}]", around=("<box>[", "]</box>"), between=", "
    ),
    "gemma3": BoxStyle(
        unit="thousandth", pattern='{{"box_2d": [{y0}, {x0}, {y1}, {x1}]}}', is_vertical_first=True,
        around=("[", "]"), between=", ",
    ),
}  # fmt: skip
"""By architecture: the models' own reports and cards; Gemma 3's is Gemini's."""
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_FOUR = re.compile(rf"{_NUMBER}\s*,\s*{_NUMBER}\s*[)\]]?\s*,\s*[(\[]?\s*{_NUMBER}\s*,\s*{_NUMBER}")


def find_style(architecture: str) -> BoxStyle:
    """Give the convention of an architecture, by its `model_type`."""
    return STYLES.get(architecture, PLAIN)


def format_boxes(boxes: tuple[Box, ...], style: BoxStyle, size: tuple[int, int]) -> str:
    """Write boxes as a model does.

    Parameters
    ----------
    boxes, style
        What is written, and how.
    size
        Width and height in pixels of the image as the model reads it.

    Examples
    --------
    >>> format_boxes(((0.1, 0.2, 0.55, 1.0),), PLAIN, (1, 1))
    '[0.10, 0.20, 0.55, 1.00]'
    >>> format_boxes(((0.1, 0.2, 0.5, 1.0),), find_style("gemma3"), (1, 1))
    '[{"box_2d": [200, 100, 1000, 500]}]'

    """
    scales = _scale(style, size)

    def write(value: float, scale: float) -> str:
        return f"{value:.2f}" if style.unit == "share" else str(round(value * scale))

    written = [
        style.pattern.format(
            x0=write(box[0], scales[0]), y0=write(box[1], scales[1]),
            x1=write(box[2], scales[0]), y1=write(box[3], scales[1]),
        )
        for box in boxes
    ]  # fmt: skip
    return style.around[0] + style.between.join(written) + style.around[1]


def parse_boxes(text: str, style: BoxStyle, size: tuple[int, int]) -> tuple[Box, ...]:
    """Find the boxes in what a model wrote; what is no box is passed over, corners are put in order and clipped.

    >>> parse_boxes("It is at [0.5, 0.2, 0.1, 1.3], I think.", PLAIN, (1, 1))
    ((0.1, 0.2, 0.5, 1.0),)
    """
    scales = _scale(style, size)
    found: list[Box] = []
    for match in _FOUR.finditer(text):
        values = [float(number) for number in match.groups()]
        if style.is_vertical_first:
            values = [values[1], values[0], values[3], values[2]]
        shares = [min(1.0, max(0.0, value / scales[place % 2])) for place, value in enumerate(values)]
        left, right = sorted((shares[0], shares[2]))
        top, bottom = sorted((shares[1], shares[3]))
        if left < right and top < bottom:
            found.append((left, top, right, bottom))
    return tuple(dict.fromkeys(found))


def _scale(style: BoxStyle, size: tuple[int, int]) -> tuple[float, float]:
    match style.unit:
        case "share":
            return (1.0, 1.0)
        case "thousandth":
            return (1000.0, 1000.0)
        case "pixel":
            return (float(size[0]), float(size[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Found boxes laid over true ones, in shares of the image's area."""

    intersection: float
    union: float

    @property
    def iou(self) -> float:
        """Intersection over union; 1 where there is nothing and nothing was found."""
        return self.intersection / self.union if self.union else 1.0


def overlay(found: tuple[Box, ...], true: tuple[Box, ...]) -> Overlay:
    """Measure what the areas under two sets of boxes share.

    >>> overlay(((0.0, 0.0, 0.5, 1.0),), ((0.25, 0.0, 0.75, 1.0),)).iou
    0.3333333333333333
    """
    xs = sorted({x for box in (*found, *true) for x in (box[0], box[2])})
    ys = sorted({y for box in (*found, *true) for y in (box[1], box[3])})
    intersection = union = 0.0
    for left, right in pairwise(xs):
        for top, bottom in pairwise(ys):
            is_found, is_true = (
                any(box[0] <= left and right <= box[2] and box[1] <= top and bottom <= box[3] for box in boxes)
                for boxes in (found, true)
            )
            area = (right - left) * (bottom - top)
            intersection += area * (is_found and is_true)
            union += area * (is_found or is_true)
    return Overlay(intersection=intersection, union=union)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What a model found in one image."""

    found: tuple[Box, ...]
    true: tuple[Box, ...]
    confidence: float
    """Ranks the boxes of one image among those of others."""
    label: str = ""
    """The class that was asked for."""


def compute_average_precision(detections: list[Detection], *, least_iou: float = 0.5) -> float:
    """Compute the average precision over all boxes of a class (Everingham et al. 2010; all points, as COCO does).

    Boxes are taken by falling confidence; one counts as right if it meets a true box that no box before it met, with an
    intersection over union of at least `least_iou`.

    >>> box, other = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)
    >>> compute_average_precision(
    ...     [
    ...         Detection(found=(box,), true=(box,), confidence=0.9),
    ...         Detection(found=(box,), true=(other,), confidence=0.1),
    ...     ]
    ... )
    0.5
    """
    num_true = sum(len(part.true) for part in detections)
    if not num_true:
        return 0.0
    hits: list[bool] = []
    for part in sorted(detections, key=lambda part: -part.confidence):
        left = list(part.true)
        for box in part.found:
            best = max(left, key=lambda other: overlay((box,), (other,)).iou, default=None)
            is_hit = best is not None and overlay((box,), (best,)).iou >= least_iou
            if is_hit and best is not None:
                left.remove(best)
            hits.append(is_hit)
    precisions: list[float] = []
    right = 0
    for number, is_hit in enumerate(hits, start=1):
        right += is_hit
        precisions.append(right / number)
    for place in range(len(precisions) - 2, -1, -1):
        precisions[place] = max(precisions[place], precisions[place + 1])
    return sum(precision for precision, is_hit in zip(precisions, hits, strict=True) if is_hit) / num_true
