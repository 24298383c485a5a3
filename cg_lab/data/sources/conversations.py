"""JSON of conversations about images, as LLaVA and ShareGPT (LLaMA-Factory) train on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from cg_lab.data.identifier_columns import fold_name
from cg_lab.data.json_lists import read_json_records
from cg_lab.data.places import Place
from cg_lab.data.records import RecordChecker
from cg_lab.data.release import OPTION, read_question
from cg_lab.data.rows import Reading, RowError, clean_text, fold
from cg_lab.data_settings import ImageSettings, NonEmptyText
from cg_lab.errors import UserError
from cg_lab.questions import Question

ASKS, ANSWERS = frozenset({"human", "user"}), frozenset({"gpt", "assistant", "model"})
LETTERED = re.compile(r"\(?([A-Za-z])(?:[).:]+\s*|$)(.*)")
"""`B`, `(B)`, `B.`, `B: no`: a letter, and perhaps its option."""
MARKS = ("<image>", "<img>", "<|image|>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ImageSettings):
    """Which file."""

    path: NonEmptyText
    """A JSON list of records, or JSON Lines."""
    root: str | None = None
    """Folder that images lie below; None for the file's own."""
    elements: dict[str, NonEmptyText] | None = None
    """Factors that are the same for all images; others stand in the records."""
    questions: Literal["ours", "own"] = "ours"
    """Our wordings, or the records' own texts with their lettered options."""


def read(settings: Settings, folder: Path | None) -> Reading:
    """Read records; the first answer of a conversation is the label, that of a lettered question its option's text."""
    del folder
    path = Path(settings.path).absolute()
    if not path.is_file():
        raise UserError(f"data.path: no file '{path}'; give a JSON list of conversations, or JSON Lines")
    root = Path(settings.root).absolute() if settings.root else path.parent
    checker = RecordChecker(path.name, settings.factors, elements=settings.elements, group=settings.group)
    records = list(read_json_records(path))
    roles = {fold_name(role): role for role in (*checker.needed, *checker.optional, "label")}
    others = list(
        dict.fromkeys(name for record in records for name in _list_fields(record) if fold_name(name) not in roles)
    )
    checker.open_columns(others)
    for number, record in enumerate(records, 1):
        if isinstance(record, dict) and (reason := _find_reason(cast("dict[str, Any]", record))):
            checker.tally.count(f"record {reason}, left out", f"{path.name}, {number}")
            continue
        try:
            _take(checker, settings, number, record, roles)
        except RowError as error:
            checker.faults.append(f"record {number}: {error}")
    return checker.finish(Place(kind="files", root=str(root)), others)


def list_watched(settings: Settings) -> tuple[str, ...]:
    """Watch the file."""
    return (settings.path,)


def _list_fields(record: object) -> Iterator[str]:
    """Name what a record says beside images and turns."""
    if isinstance(record, dict):
        for name in cast("dict[str, Any]", record):
            if name not in {"image", "images", "conversations", "messages", "id", "system"}:
                yield name


def _take(checker: RecordChecker, settings: Settings, number: int, record: object, roles: Mapping[str, str]) -> None:
    if not isinstance(record, dict):
        raise RowError("no object")
    fields = cast("dict[str, Any]", record)
    image = _read_image(fields)
    asked, answered = _read_turns(fields)
    text = asked
    for mark in MARKS:
        text = text.replace(mark, " ")
    label = _read_label(text, answered)
    question: Question | None = None
    if settings.questions == "own":
        letter = answered if len(answered.strip().rstrip(".:)")) == 1 else _find_letter(text, label)
        question = read_question(text, letter, label)
    cells = dict.fromkeys((*checker.needed, *checker.optional), "")
    cells |= {
        roles[fold_name(name)]: _to_text(fields[name]) for name in _list_fields(fields) if fold_name(name) in roles
    }
    cells |= {"image": image, "label": cells.get("label") or label}
    others = {name: _to_text(value) for name, value in fields.items()}
    checker.check(number, cells, others, question)


def _to_text(value: object) -> str:
    return clean_text(value) or "" if isinstance(value, str | int) else ""


def _find_reason(fields: Mapping[str, Any]) -> str:
    """Say why a record is about no single image; sets for training mix in some that are texts alone."""
    images = fields.get("image", fields.get("images"))
    if images in (None, "", []):
        return "without an image"
    return "with several images" if isinstance(images, list) and len(images) > 1 else ""


def _read_image(fields: Mapping[str, Any]) -> str:
    image = fields.get("image", fields.get("images"))
    if isinstance(image, list):
        image = image[0]
    if isinstance(image, Mapping):
        image = image.get("path")
    if not isinstance(image, str) or not image.strip():
        raise RowError("'image' is no path")
    return image.strip().removeprefix("./")


def _read_turns(fields: Mapping[str, Any]) -> tuple[str, str]:
    turns = fields.get("conversations", fields.get("messages"))
    asked = ""
    for turn in turns if isinstance(turns, list) else ():
        if not isinstance(turn, dict):
            break
        speaker, text = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
        if isinstance(text, list):
            text = " ".join(str(part.get("text", "")) for part in text if isinstance(part, dict))
        if not isinstance(text, str):
            break
        if speaker in ASKS and not asked:
            asked = text
        elif speaker in ANSWERS and asked:
            return asked, text
    raise RowError("no question with an answer in 'conversations' or 'messages'")


def _read_label(text: str, answered: str) -> str:
    """Give the answer in words: a letter stands for its option, alone or in front of it."""
    options = {match[1]: clean_text(match[2]) or "" for match in OPTION.finditer(text)}
    plain = clean_text(answered.strip().rstrip(".")) or ""
    match = LETTERED.fullmatch(plain)
    option = options.get(match[1].upper(), "") if match else ""
    return option if match and fold(match[2]) in {"", fold(option)} and option else plain


def _find_letter(text: str, label: str) -> str:
    return next((match[1] for match in OPTION.finditer(text) if clean_text(match[2]) == label), "")
