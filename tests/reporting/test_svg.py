"""Figures as SVG: short, and nothing that is shown is lost."""

from __future__ import annotations

import re

import pytest

from cg_lab.reporting.figures import StyledFigure, entitle, styled, tip
from cg_lab.reporting.svg import share_definitions, to_svg

SAID = 'a < b & "c": 12.3456'


@pytest.fixture(scope="module", params=[1.0, 2.0])
def drawn(request: pytest.FixtureRequest) -> str:
    """Draw a figure of three marks."""
    with styled():
        figure = StyledFigure(figsize=(3, 2))
        axes = figure.add_subplot()
        axes.plot([0, 0.5, request.param], [1, 2, 3], "-o", gid=tip(SAID))
        axes.set_ylabel("12.3456 turned")
    return to_svg(entitle(figure, "three marks"))


def test_styles_stand_once_and_numbers_keep_two_digits_at_most(drawn: str) -> None:
    assert 'style="' not in drawn
    used = set(re.findall(r'class="(s\w+)"', drawn))
    assert used == set(re.findall(r"\.(s\w+)\{", drawn))
    assert not re.search(r'(?: d| x| y|transform)="[^"]*\.\d\d\d', drawn)
    assert len(drawn) < 4500  # 9,000 as matplotlib has it


def test_what_marks_say_and_what_is_written_stay_as_they_are(drawn: str) -> None:
    assert '<g class="tip"><title>a &lt; b &amp; "c": 12.3456</title>' in drawn
    assert re.search(r'transform="rotate\(-90 [^"]*" [^>]*>12.3456 turned</text>', drawn)
    assert drawn.index("<title>three marks</title>") < drawn.index("<style>")


def test_each_mark_that_is_used_is_defined_once(drawn: str) -> None:
    used = {*re.findall(r'href="#(\w+)"', drawn), *re.findall(r"url\(#(\w+)\)", drawn)}
    defined = re.findall(r' id="(\w+)"', drawn)
    assert used <= set(defined)
    assert len(defined) == len(set(defined))


def test_a_class_means_the_same_in_every_figure() -> None:
    def draw(colour: str) -> dict[str, str]:
        with styled():
            figure = StyledFigure(figsize=(3, 2))
            figure.add_subplot().plot([0, 1], [0, 1], color=colour)
        return dict(re.findall(r"\.(s\w+)\{(.*?)\}", to_svg(entitle(figure, colour))))

    red, blue = draw("#ff0000"), draw("#0000ff")
    assert red != blue
    assert {name: red[name] for name in red if name in blue} == {name: blue[name] for name in blue if name in red}


def test_figures_of_a_page_share_classes_and_marks_of_the_first(drawn: str) -> None:
    sheet = re.findall(r"<style>(.*?)</style>", drawn)[0]
    page = share_definitions(f"<style>p {{}}</style>{drawn}{drawn}")
    assert page.startswith(f"<style>p {{}}{sheet}\n</style><svg")
    assert page.count("<style>") == 1
    assert {page.count(f'id="{name}"') for name in re.findall(r' id="(m\w+)"', drawn)} == {1}
    assert page.count("<use") == 2 * drawn.count("<use")


def test_characters_that_no_xml_can_hold_spoil_no_figure() -> None:
    with styled():
        figure = StyledFigure()
        figure.add_subplot().plot([1, 2], gid=tip('a\x01b\ufffe <&"]]>'))
    assert '<title>a\ufffdb\ufffd &lt;&amp;"]]&gt;</title>' in to_svg(figure)
