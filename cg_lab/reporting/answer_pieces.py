"""Exams as a page reads them: columns in small scripts, since a page on a disk may load no other kind of file; pure."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from cg_lab.arms import Arm
from cg_lab.reporting.exams import Exam, Sitting

MOST_PIECE_ANSWERS = 100_000
"""Of one file, unless one exam has more."""


def cut_pieces(sizes: Sequence[int]) -> list[range]:
    """Put neighbours together until a piece has answers enough.

    >>> cut_pieces([60_000, 50_000, 1, 2])
    [range(0, 2), range(2, 4)]
    """
    pieces: list[range] = []
    start, held = 0, 0
    for place, size in enumerate(sizes):
        held += size
        if held >= MOST_PIECE_ANSWERS or place == len(sizes) - 1:
            pieces.append(range(start, place + 1))
            start, held = place + 1, 0
    return pieces


def write_script(function: str, *values: object) -> str:
    r"""Write a call of a page's function.

    >>> write_script("receive", 0, ["</script>"])
    'receive(0,["\\u003c/script>"]);\n'
    """
    told = ",".join(json.dumps(value, separators=(",", ":"), ensure_ascii=False) for value in values)
    return f"{function}({told.replace('<', chr(92) + 'u003c')});\n"


def encode_piece(exams: Sequence[Exam], image_sets: Sequence[int]) -> dict[str, Any]:
    """Encode some exams; what several of them ask stands there once.

    Parameters
    ----------
    exams
        Of one piece.
    image_sets
        Number of the set of images of each.

    """
    tables = list({id(exam.questions): exam.questions for exam in exams}.values())
    places = {id(table): place for place, table in enumerate(tables)}
    return {
        "tests": [encode_questions(table) for table in tables],
        "exams": [
            {
                "test": places[id(exam.questions)],
                "images": images,
                "sittings": [_encode_sitting(sitting) for sitting in exam.sittings],
            }
            for exam, images in zip(exams, image_sets, strict=True)
        ],
    }


def encode_questions(table: pa.Table) -> dict[str, Any]:
    """Encode what is asked: texts and lists of options once each, and numbers that say which."""
    ids: list[str] = table["question"].to_pylist()
    start = os.path.commonprefix(ids)  # noqa: RUF071 - characters are meant
    texts: dict[str, int] = {}
    text_Q = [texts.setdefault(text or "", len(texts)) for text in table["instruction"].to_pylist()]
    plain: dict[str, Any] = {"start": start, "ids": [name[len(start) :] for name in ids], "text": text_Q}
    plain["texts"] = list(texts)
    if not table["true_boxes"].null_count:
        return plain | {"boxes": _round_boxes(table["true_boxes"].to_pylist())}
    sets: dict[tuple[str, ...], int] = {}
    plain["set"] = [sets.setdefault(tuple(row), len(sets)) for row in table["options"].to_pylist()]
    plain["sets"] = [list(row) for row in sets]
    plain["answer"] = _pack(table["answer"].to_numpy())
    return plain


def _encode_sitting(sitting: Sitting) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "arm": list(Arm).index(sitting.arm),
        "variant": sitting.variant,
        "seed": sitting.seed,
        "given": _pack(sitting.given_Q),
        "sure": _pack(sitting.sure_Q),
    }
    if sitting.found is not None:
        plain["found"] = _round_boxes(sitting.found.to_pylist())
    return plain


def _pack(values_Q: np.ndarray) -> str:
    return b64encode(values_Q.astype(np.uint8).tobytes()).decode()


def _round_boxes(boxes: Sequence[Sequence[Sequence[float]] | None]) -> list[list[list[float]]]:
    return [[[round(edge, 3) for edge in box] for box in row or ()] for row in boxes]
