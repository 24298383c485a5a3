"""The public release of Med-MAT (arXiv 2412.20070): JSON lists of questions about images that lie below `med-mat/`."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cg_lab.catalog import Note
from cg_lab.data.json_lists import read_json_list
from cg_lab.data.places import Place
from cg_lab.data.rows import SIDES, Reading, RowError, Rows, Tally, clean_text, fold, lies_below
from cg_lab.errors import UserError
from cg_lab.mat import Subset
from cg_lab.questions import LETTERS, Question

IMAGES = "med-mat"
OPTION = re.compile(r"^[ \t]*([A-Z])[ \t]*[:.)][ \t]*(.*?)[ \t\r]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Layout:
    """One way in which the release was uploaded."""

    name: str
    folder: str
    pattern: re.Pattern[str]
    is_merged: bool
    """Whether a file's number is that of a subset; else it is that of an original data set."""


LAYOUTS = (
    _Layout("aggregated", "Aggregated_Subsets", re.compile(r"Subset--?(\d+)-(train|val|test)\.json"), is_merged=True),
    _Layout("aggregated", "", re.compile(r"Subset--?(\d+)-(train|val|test)\.json"), is_merged=True),
    _Layout(
        "original", "Original_Medical_Datasets", re.compile(r"[Oo]ri--?(\d+)-(train|val|test)\.json"), is_merged=False
    ),
)


def list_release(root: Path) -> list[Path]:
    """List the files of a release: the merged subsets, where they are there, else the original data sets.

    Raises
    ------
    UserError
        If there are none.

    """
    for layout in LAYOUTS:
        files = sorted(path for path in (root / layout.folder).glob("*.json") if layout.pattern.fullmatch(path.name))
        if files:
            return files
    raise UserError(
        f"data.release: no file of the release in '{root}'; it has Aggregated_Subsets/Subset--01-train.json, "
        "Subset-01-train.json or Original_Medical_Datasets/ori--01-train.json"
    )


def read_release(
    root: Path, factors: tuple[str, ...], known: Mapping[str, Subset], *, with_questions: bool = False
) -> Reading:
    """Read the records of a release; those that can't be used are counted and listed.

    Parameters
    ----------
    root
        The release's folder; images lie below `med-mat/` in it, or in it where there is no such folder.
    factors, known
        The catalogue: subsets by name, which ends with the paper's number.
    with_questions
        Keep the release's own question texts and options.

    Raises
    ------
    UserError
        If there is no file of the release, or one is no JSON list.

    """
    files = list_release(root)
    reader = _Reader(known, with_questions=with_questions)
    for file in files:
        reader.read(file)
    reader.rows.label = merge_labels(reader.rows, reader.tally)
    notes = reader.tally.to_notes()
    if reader.lost:
        notes.append(
            Note(
                subject=root.name,
                reason="file belongs to no subset of the catalogue, left out",
                count=len(reader.lost),
                examples=tuple(reader.lost),
            )
        )
    return Reading(
        rows=reader.rows,
        place=Place(kind="files", root=str(root / IMAGES if (root / IMAGES).is_dir() else root)),
        factors=factors,
        subsets={name: known[name] for name in dict.fromkeys(reader.rows.subset)},
        notes=notes,
        is_own=False,
    )


class _Reader:
    def __init__(self, known: Mapping[str, Subset], *, with_questions: bool) -> None:
        self.by_number = {number_of(name): name for name in known if number_of(name) is not None}
        self.by_dataset: dict[int, list[str]] = defaultdict(list)
        for name, subset in known.items():
            for dataset in subset.datasets:
                if dataset.isdecimal():
                    self.by_dataset[int(dataset)].append(name)
        self.with_questions = with_questions
        self.rows = Rows()
        self.tally = Tally("release")
        self.lost: list[str] = []

    def read(self, file: Path) -> None:
        """Read one file; its name says which subset or data set it is."""
        layout = next(layout for layout in LAYOUTS if layout.pattern.fullmatch(file.name))
        match = cast(re.Match[str], layout.pattern.fullmatch(file.name))
        number, side = int(match[1]), match[2]
        if layout.is_merged:
            names = [self.by_number[number]] if number in self.by_number else []
        else:
            names = self.by_dataset.get(number, [])
        if not names:
            self.lost.append(file.name)
            return
        self.rows.sources.append(file.name)
        # Only the train files were released; their side then says nothing.
        own_side = side if side != "train" or file.with_name(file.name.replace("-train", "-test")).exists() else ""
        ids: set[object] = set()
        for line, record in enumerate(read_json_list(file), 1):
            try:
                self._take(record, line, names, own_side, ids)
            except RowError as error:
                self.tally.count(f"{error}, left out", f"{file.name}, {line}")

    def _take(self, record: object, line: int, names: list[str], side: str, ids: set[object]) -> None:
        if not isinstance(record, dict):
            raise RowError("record is no object")
        fields = cast(dict[str, Any], record)
        self._count_id(fields.get("id"), line, ids)
        image, label = _read_image(fields.get("image")), read_caption(fields.get("caption"))
        if label is None:
            raise RowError("caption is no text")
        question: Question | None = None
        if self.with_questions or "Question-choice" in fields:
            try:
                question = read_question(fields.get("Question-choice"), fields.get("Answer-choice"), label)
            except RowError as error:
                if self.with_questions:
                    raise
                self.tally.count(f"{error}, its caption is used", f"{self.rows.sources[-1]}, {line}")
        own = fields.get("split")
        if isinstance(own, str) and own.casefold() in SIDES:
            side = own.casefold()
        group = clean_text(fields.get("group")) or ""
        for name in names:
            if question is not None and self.with_questions:
                self.rows.question[len(self.rows)] = question
            self.rows.add(line, image, name, label, group=group, side=side)

    def _count_id(self, number: object, line: int, ids: set[object]) -> None:
        if isinstance(number, int | str):
            if number in ids:
                self.tally.count("id is there twice, kept", f"{self.rows.sources[-1]}, {line}")
            ids.add(number)


def _read_image(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise RowError("no image named")
    image = value.strip().removeprefix("./").removeprefix(f"{IMAGES}/")
    if not lies_below(image) or not image.isprintable():
        raise RowError("image lies outside the release")
    return image


def read_question(text: object, answer: object, label: str) -> Question:
    """Read a question with lettered options, and make sure that its answer is the label.

    Parameters
    ----------
    text
        The question, then lines such as `A: benign` or `A. benign`.
    answer
        A letter.
    label
        What the answer must say.

    Raises
    ------
    RowError
        If it is no such question.

    """
    if not isinstance(text, str) or not isinstance(answer, str):
        raise RowError("no question with options")
    found = list(OPTION.finditer(text))
    options = [clean_text(match[2]) or "" for match in found]
    if len(options) < 2 or "".join(match[1] for match in found) != LETTERS[: len(options)]:
        raise RowError("options are not lettered A, B, ...")
    if not all(options) or len({fold(option) for option in options}) < len(options):
        raise RowError("an option is empty or there twice")
    letter = answer.strip().rstrip(".:)").upper()
    if len(letter) != 1 or letter not in LETTERS[: len(options)]:
        raise RowError("answer is a letter beyond the options")
    place = LETTERS.index(letter)
    if not _is_same(options[place], label):
        is_option = any(_is_same(option, label) for option in options)
        raise RowError("answer is another option than the caption" if is_option else "answer is none of the options")
    options[place] = label
    return Question(text=" ".join(text[: found[0].start()].split()), options=tuple(options), answer=place)


def _is_same(first: str, second: str) -> bool:
    return fold(first).rstrip(".") == fold(second).rstrip(".") or _parts(first) == _parts(second)


def _parts(label: str) -> frozenset[str]:
    return frozenset(fold(part) for part in label.split(","))


def read_caption(value: object) -> str | None:
    """Give a label; several are joined with commas.

    >>> read_caption(["edema", "mass"]), read_caption("edema ,mass"), read_caption([]), read_caption(float("nan"))
    ('edema, mass', 'edema, mass', None, None)
    """
    parts = cast(list[object], value) if isinstance(value, list) else [value]
    texts = [clean_text(part) for part in parts]
    if not texts or None in texts:
        return None
    whole = ",".join(cast(list[str], texts))
    return ", ".join(part.strip() for part in whole.split(",") if part.strip()) or None


def number_of(name: str) -> int | None:
    """Give the number that a subset's name ends with.

    >>> number_of("ct-lung-covid-03"), number_of("ct-lung")
    (3, None)
    """
    tail = name.rpartition("-")[2]
    return int(tail) if tail.isdecimal() and tail.isascii() else None


def merge_labels(rows: Rows, tally: Tally) -> list[str]:
    """Give labels that differ only in case, spaces or the order of their parts the spelling that is used most."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for subset, label in zip(rows.subset, rows.label, strict=True):
        counts[subset][label] += 1
    chosen: dict[tuple[str, str], str] = {}
    for subset, labels in counts.items():
        best: dict[frozenset[str], str] = {}
        for label, count in sorted(labels.items(), key=lambda item: (-item[1], item[0])):
            spelling = best.setdefault(_parts(label), label)
            chosen[subset, label] = spelling
            if spelling != label:
                for _ in range(count):
                    tally.count(
                        "label differs in case, spaces or order, taken as one", f"{subset}: {label} = {spelling}"
                    )
    return [chosen[pair] for pair in zip(rows.subset, rows.label, strict=True)]
