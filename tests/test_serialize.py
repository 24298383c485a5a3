"""Files that are written whole or not at all, ids that depend on content alone, and faults told with their place."""

from __future__ import annotations

import hashlib
import json
import locale
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BeforeValidator, PlainSerializer

from cg_lab.errors import UserError
from cg_lab.serialize import (
    TextHasher,
    canonical_json,
    content_id,
    dump_json,
    omit_defaults,
    parse,
    parse_json,
    read_json,
    read_rows,
    replacing,
    to_plain,
    write_json,
    write_lines,
    write_text,
)


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Shot:
    image: str
    number: int = 0
    colour: Colour = Colour.RED
    source: Literal["phantom"] = "phantom"
    more: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Film:
    title: str
    shots: tuple[Shot, ...]


@dataclass(frozen=True, kw_only=True)
class Tree:
    branches: tuple[Tree, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """A word that is written as its number in a list, which is the context."""

    word: Annotated[
        str,
        BeforeValidator(lambda number, info: info.context[number]),
        PlainSerializer(lambda word, info: info.context.index(word)),
    ]


@pytest.fixture
def ascii_machine() -> Iterator[None]:
    """Make ASCII what files are written in where nobody says otherwise."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


SHOT = Shot(image="ä.png", number=2)
FILM = Film(title="Ein Film", shots=(SHOT,))


def test_a_file_is_replaced_whole_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "file.txt"
    write_text(path, "erste Fassung, länger\n")
    write_text(path, "zweite\n")
    assert path.read_bytes() == b"zweite\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_writing_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new and \ud800 no text")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_until_it_is_whole_a_file_is_written_beside_its_place_hidden_and_by_this_process(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with replacing(path) as beside:
        assert beside == tmp_path / f".file.txt.{os.getpid()}.new"
        beside.write_text("text")
        assert not path.exists()
    assert path.read_text() == "text"


def test_a_file_that_was_not_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "file.txt"):
        pass


def test_files_are_utf_8_on_any_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encodings: list[Any] = []
    write, read = Path.write_text, Path.read_text
    monkeypatch.setattr(Path, "write_text", lambda *a, **k: encodings.append(k.get("encoding")) or write(*a, **k))
    monkeypatch.setattr(Path, "read_text", lambda *a, **k: encodings.append(k.get("encoding")) or read(*a, **k))
    write_json(tmp_path / "file.json", {"ß": "日本"})
    assert read_json(tmp_path / "file.json") == {"ß": "日本"}
    assert [str(name).lower() for name in encodings] == ["utf-8", "utf-8"]


@pytest.mark.usefixtures("ascii_machine")
def test_lines_and_tables_are_utf_8_and_keep_the_ends_of_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.csv"
    write_lines(path, iter(["name,text\n", 'ä,"one\r\ntwo\n"\n']))
    assert path.read_bytes() == 'name,text\nä,"one\r\ntwo\n"\n'.encode()
    assert list(path.parent.iterdir()) == [path]
    assert list(read_rows(path)) == [{"name": "ä", "text": "one\r\ntwo\n"}]


def test_json_is_written_with_an_indent_of_one_in_the_fields_order_and_as_it_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "film.json", FILM)
    shot = (
        '  {\n   "image": "ä.png",\n   "number": 2,\n   "colour": "red",\n   "source": "phantom",\n'
        '   "more": [],\n   "notes": []\n  }\n'
    )
    text = f'{{\n "title": "Ein Film",\n "shots": [\n{shot} ]\n}}\n'
    assert (tmp_path / "film.json").read_text(encoding="utf-8") == text
    assert parse(Film, read_json(tmp_path / "film.json"), where="film.json") == FILM
    assert parse_json(Film, tmp_path / "film.json") == FILM
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "film.json", {"share": float("nan")})
    assert (tmp_path / "film.json").read_text(encoding="utf-8") == text


def test_plain_data_hold_no_types_of_ours() -> None:
    plain = to_plain({1: (Colour.RED, [SHOT]), "kept": None})
    assert plain == {
        "1": [
            "red",
            [{"image": "ä.png", "number": 2, "colour": "red", "source": "phantom", "more": [], "notes": []}],
        ],
        "kept": None,
    }
    assert type(plain["1"][0]) is str
    assert to_plain(Shot) is Shot


def test_a_sequence_of_any_type_is_a_plain_list_but_bytes_are_not(tmp_path: Path) -> None:
    assert to_plain(range(2)) == [0, 1]
    assert to_plain(b"ab") == b"ab"


def test_fields_that_have_their_default_are_left_out_but_for_the_tag() -> None:
    assert omit_defaults(Film(title="x", shots=(Shot(image="a"), SHOT))) == {
        "title": "x",
        "shots": [
            {"image": "a", "source": "phantom", "notes": []},
            {"image": "ä.png", "number": 2, "source": "phantom", "notes": []},
        ],
    }
    assert omit_defaults([SHOT, Colour.RED]) == [omit_defaults(SHOT), "red"]
    assert omit_defaults(Shot) is Shot


def test_canonical_json_is_one_text_for_equal_data() -> None:
    assert canonical_json({"b": [1.0, 2.5, {"x": 3.0}], "a": "ä", "c": (True, None)}) == (
        '{"a":"ä","b":[1,2.5,{"x":3}],"c":[true,null]}'
    )
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            canonical_json({"share": bad})


def test_an_id_is_the_beginning_of_the_hash_of_kind_schema_and_value() -> None:
    text = '{"kind":"job","schema":3,"value":{"a":2,"b":["ä"]}}'
    expected = hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
    assert content_id("job", 3, {"b": ("ä",), "a": 2.0}) == expected
    others = {content_id("cell", 3, {"b": ["ä"], "a": 2}), content_id("job", 4, {"b": ["ä"], "a": 2})}
    assert len(others | {expected}) == 3


@pytest.mark.parametrize("rest", [["ä"], [3, "b", 'c"']])
def test_hashers_of_texts_name_them_by_their_content(rest: list[str | int]) -> None:
    assert TextHasher("draw", 2, ["a", 7]).name(rest) == content_id("draw", 2, ["a", 7, *rest])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"title": "x", "shots": [], "sots": 1}, "film.json has a fault:\n  - sots: unknown key"),
        ({"shots": []}, "film.json has a fault:\n  - title: missing"),
        ([], "film.json has a fault:\n  - (top): "),
        ({"title": 3, "shots": []}, "film.json has a fault:\n  - title: should be a text, not 3"),
        (
            {"title": "x", "shots": [{"image": "a", "number": "y" * 200, "key": 1}]},
            "film.json has 2 faults:\n  - shots.0.number: should be a whole number, "
            f"not '{'y' * 116}...\n  - shots.0.key: unknown key",
        ),
    ],
)
def test_every_fault_of_a_file_is_told_with_its_place(raw: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        parse(Film, raw, where="film.json")
    assert str(caught.value).startswith(message)
    assert caught.value.__suppress_context__
    (tmp_path / "film.json").write_text(json.dumps(raw))
    assert parse_json(Film, tmp_path / "film.json") is None


def test_a_value_is_shown_whole_below_120_characters() -> None:
    for length, shown in ((117, "'" + "y" * 117 + "'"), (118, "'" + "y" * 116 + "...")):
        with pytest.raises(UserError) as caught:
            parse(Shot, {"image": "a", "number": "y" * length}, where="shot")
        assert str(caught.value).endswith(f", not {shown}")


@pytest.mark.parametrize("kind", [tuple[str, ...], list[str], set[str], frozenset[str]])
def test_a_value_in_the_place_of_a_list_is_told_with_the_list_of_it(kind: Any) -> None:
    for value, said in (("a", "such as [a], not 'a'"), (3, "such as [3], not 3"), (None, "not null")):
        with pytest.raises(UserError) as caught:
            parse(kind, value, where="here")
        assert str(caught.value) == f"here has a fault:\n  - (top): should be a list, {said}"


def test_unknown_keys_are_refused_within_unions_and_lists_too() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Twig:
        leaf: int

    @dataclass(frozen=True, kw_only=True)
    class Root:
        depth: int

    with pytest.raises(UserError) as caught:
        parse(list[Twig | Root], [{"leaf": 1}, {"leaf": 1, "wrong": 1}], where="here")  # type: ignore[arg-type]
    assert str(caught.value).splitlines() == [
        "here has 4 faults:",
        "  - 1.wrong: unknown key",
        "  - 1.depth: missing",
        "  - 1.leaf: unknown key",
        "  - 1.wrong: unknown key",
    ]


def test_types_may_read_and_write_by_what_stands_beside_the_data() -> None:
    words = ("zero", "one", "two")
    page = parse(Page, {"word": 2}, where="here", context=words)
    assert page == Page(word="two")
    assert dump_json((page,), context=words) == ['{"word":2}']


def test_types_that_hold_themselves_are_read() -> None:
    assert parse(Tree, {"branches": [{"branches": []}]}, where="here") == Tree(branches=(Tree(),))
    with pytest.raises(UserError, match=r"branches.0.leaf: unknown key"):
        parse(Tree, {"branches": [{"leaf": 1}]}, where="here")


def test_files_that_are_missing_or_no_json_are_told_by_their_path(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    with pytest.raises(UserError) as caught:
        read_json(path)
    assert str(caught.value) == f"{path}: no such file"
    for content in (b"{", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            read_json(path)
        assert str(caught.value).startswith(f"{path}: not valid JSON (")
    assert parse_json(Film, path) is None
    assert parse_json(Film, tmp_path / "absent.json") is None


def test_values_are_written_one_a_line() -> None:
    assert dump_json(()) == []
    assert dump_json((Tree(),)) == ['{"branches":[]}']
    lines = dump_json((SHOT, Shot(image="b")))
    assert [parse(Shot, json.loads(line), where="line") for line in lines] == [SHOT, Shot(image="b")]
    assert "ä" in lines[0]
    assert [json.loads(line) for line in dump_json(({"a": 1}, {"b": [2]}))] == [{"a": 1}, {"b": [2]}]


def test_a_cell_of_a_table_may_be_as_long_as_a_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    long = ";".join(f"subset-{number}" for number in range(20_000))
    path.write_text(f"name,list\na,{long}\n")
    assert list(read_rows(path)) == [{"name": "a", "list": long}]
