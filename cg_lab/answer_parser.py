"""Find the option that a model chose in what it wrote, as a reader would; pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from cg_lab.questions import LETTERS, AnswerForm

THOUGHT_TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
)
"""What models put around thoughts before their answers."""

_LEAD = (
    r"(?i:\b(?:answer|solution|response|conclusion|verdict|choice|option)\b\W{0,4}"
    r"(?:is|would be|should be|must be|will be)\b"
    r"|\b(?:answer|solution|response|conclusion|verdict)\b"
    r"|\b(?:choose|pick|select|chose|selected|picked|go with|going with|think|believe|guess)\b"
    r"(?:\s+(?:it is|it's|that))?"
    r"|\b(?:it is|it's|it must be|therefore|thus|hence|so)\b|答案(?:是|为|选)?|选(?!项))"
)
"""What goes before a letter that is chosen."""
_FILLED = r"(?i:\W{0,4}(?:(?:the|most likely|likely|clearly|definitely|option|choice|letter|answer)\b\W{0,4}){0,3})"
_VERDICT = (
    r"(?i:\s+(?:is|would be|seems|looks|appears|must be|should be)\s+(?:the\s+|my\s+|to be\s+)*(?:most\s+)?"
    r"(?:correct|right|true|best|accurate|appropriate|answer|likely)\b)"
)
"""What goes behind a letter that is chosen."""
_REFUSAL = re.compile(
    r"\W{0,3}(?:(?:is|was|are|seems|looks)\s+not\b|\w+n't\b|(?:is|was|seems|looks)\s+(?:wrong|incorrect|false|unlikely"
    r"|excluded|ruled)|can\s*not\b|cannot\b)",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"(?:\bnot|n't|\bneither|\bnor|\bexcept|\brules? out|\bruled out|\bexcludes?)\W{0,3}(?:option\W*)?$", re.IGNORECASE
)
_REASON = r"(?i:because|since|as|for|due|rather|instead|based|given|which|and|or|but|is|would|seems|looks)"


def parse_choice(text: str, options: tuple[str, ...], form: AnswerForm) -> int | None:
    r"""Find the option that a model chose in what it wrote; None if that can't be said.

    Thoughts are left out: only what stands behind them, or in an answer's own tags or box, is read. Where letters are
    asked for, a letter counts that stands alone, at the beginning, behind "the answer is" and the like, before "is
    correct", or as the only one in brackets; then an option's own text, if the text of exactly one option is there (of
    options that contain each other, the longest). Where texts are asked for, texts go first.

    >>> options = ("no mass", "mass", "cyst")
    >>> texts = ("B", "(C) cyst", "The answer is A.", "A cyst?", "answer: b", "<think>A?</think> c", r"\boxed{B}")
    >>> [parse_choice(text, options, AnswerForm.LETTER) for text in texts]
    [1, 2, 0, 2, 1, 2, 1]
    >>> [parse_choice(text, options, AnswerForm.TEXT) for text in ("no mass", "Mass.", "cyst or mass", "nothing")]
    [0, 1, None, None]
    """
    said = _leave_thoughts_out(unicodedata.normalize("NFKC", text)).strip()
    for part in (*_list_marked(said), said):
        letter = _find_letter(part, options)
        option = _find_option(part, options)
        first, second = (letter, option) if form is AnswerForm.LETTER else (option, letter)
        if first is not None or second is not None:
            return second if first is None else first
    return None


def _leave_thoughts_out(text: str) -> str:
    """Leave thoughts out, also one that begins before the text and one that does not end in it."""
    for start, end in THOUGHT_TAGS:
        opening, closing = (
            re.escape(unicodedata.normalize("NFKC", start)),
            re.escape(unicodedata.normalize("NFKC", end)),
        )
        text = re.sub(rf"{opening}.*?{closing}", " ", text, flags=re.DOTALL | re.IGNORECASE)
        text = re.split(closing, text, flags=re.IGNORECASE)[-1]
        text = re.split(opening, text, flags=re.IGNORECASE)[0]
    return text


def _list_marked(text: str) -> Iterator[str]:
    """Give what stands in an answer's own tags or box, the last first."""
    tagged = re.findall(r"<\s*(?:final_?)?answer\s*>(.*?)(?:<\s*/\s*(?:final_?)?answer\s*>|$)", text, re.DOTALL | re.I)
    yield from reversed(tagged)
    boxed = re.findall(r"\\(?:boxed|fbox)\s*\{((?:[^{}]|\{[^{}]*\})*)\}", text)
    for inside in reversed(boxed):
        yield re.sub(r"\\(?:text|mathrm|mathbf|textbf|mathsf)\s*\{([^{}]*)\}", r"\1", inside)


def _find_letter(text: str, options: tuple[str, ...]) -> int | None:
    """Find the letter that a text chooses: the last one that it says to be the answer, else the only one there."""
    known = LETTERS[: len(options)]
    plain = re.sub(r"[*`_\"“”\u2018\u2019$]+|(?<!\w)'|'(?!\w)", "", text).strip()
    if alone := re.match(rf"\W*([{known}])\W*(?:\n|$)", plain, re.IGNORECASE):
        return known.index(alone[1].upper())
    # A small letter in a sentence may be a word.
    letter = rf"([{known}](?![\w']|-\w)|[{known.lower()}](?=\s*(?:$|[\n).,:;\]}}])))"
    chosen = [
        *_list_letters(rf"{_LEAD}{_FILLED}\(?{letter}", plain, options),
        *_list_letters(rf"(?<![\w'])([{known}])\)?(?:\s*[:.][^\n.]{{0,80}}?)?{_VERDICT}", plain, options),
    ]
    if chosen:
        return max(chosen)[1]
    if re.match(rf"\W*[{known}]\W*(?:(?:and|or|,|/|&)\W*[{known}]\b)", plain):
        return None
    for pattern in (
        rf"(?:(?:^|\n)\W*|\b(?i:option|choice|选项)\b\W{{0,4}}){letter}(?=\s*[).\]:,;]|\s+{_REASON}\b|\s*\n|$)",
        rf"[(\[]\s*([{known}{known.lower()}])\s*[)\]]",
    ):
        named = {number for _, number in _list_letters(pattern, plain, options)}
        if named:
            return named.pop() if len(named) == 1 else None
    return None


def _list_letters(pattern: str, text: str, options: tuple[str, ...]) -> list[tuple[int, int]]:
    """List places and options of the letters that a pattern finds and the text does not deny."""
    found: list[tuple[int, int]] = []
    for match in re.finditer(pattern, text):
        behind = text[match.end(1) :]
        is_article = match[1] in {"A", "I"} and re.match(rf"\s+(?!{_REASON}\b)[a-z]", behind)
        if not (is_article or _REFUSAL.match(behind) or _DENIAL.search(text[: match.start(1)])):
            found.append((match.start(1), LETTERS.index(match[1].upper())))
    return [(place, number) for place, number in found if number < len(options)]


def _find_option(text: str, options: tuple[str, ...]) -> int | None:
    """Find the only option whose own words a text holds."""
    text = text.casefold()
    written = [unicodedata.normalize("NFKC", option).casefold() for option in options]
    found: list[int] = []
    for place in sorted(range(len(options)), key=lambda place: -len(options[place])):
        pattern = rf"(?<!\w){re.escape(written[place])}(?!\w)"
        if re.search(pattern, text):
            found.append(place)
            text = re.sub(pattern, " ", text)
    return found[0] if len(found) == 1 else None
