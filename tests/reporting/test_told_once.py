"""A report tells each reason and each p-value once, and no finer than few seeds allow."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape

import numpy as np
import pytest

from cg_lab.arms import Arm
from cg_lab.planning.plan import Cell
from cg_lab.questions import AnyQuestion
from cg_lab.reporting.figures import plot_answers
from cg_lab.reporting.words import MOST_TOLD
from cg_lab.reporting.write import ReportFiles, write_report
from cg_lab.results import Layout
from tests.reporting.answering import Row, choose, plan_study, write_answers

RELATED = {"ct-brain-mass": 0.42, "us-kidney-bleed": 0.95, "xray-lung-side": 0.55}
P_VALUE = re.compile(r"p [=<] \d+(?:\.\d+)?(?:e-?\d+)?")


def answer(cell: Cell, number: int, question: AnyQuestion) -> Row:
    rate = {Arm.CEILING: 0.98, Arm.RELATED: RELATED[cell.contrast.split("/")[0]]}.get(cell.arm, 0.36)
    is_right = np.random.default_rng([number, cell.seed or 0, *map(ord, cell.contrast)]).random() < rate
    right = question.answer
    return choose(question, right if is_right else (right + 1) % len(question.options))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    layout = Layout(tmp_path_factory.mktemp("results"))
    plan = plan_study(
        layout, "seeds=[0,1,2]", f"targets=[{','.join(RELATED)}]", "data.test_per_subset=60",
        "arms=[zero_shot,unrelated,related,alone,blind,ceiling]",
    )  # fmt: skip
    write_answers(layout, plan, answer)
    return write_report(layout, plan.study, images=False)


def read_pages(files: ReportFiles) -> list[str]:
    texts = (path.read_text(encoding="utf-8") for path in (files.markdown, files.html))
    return [unescape(text).replace("\u00a0", " ") for text in texts]


def test_no_reason_and_no_p_value_is_told_twice(files: ReportFiles) -> None:
    reasons = [part.reason for part in files.effects.contrasts]
    told = Counter(found for reason in reasons for found in P_VALUE.findall(reason))
    assert len(told) > 2
    for text in read_pages(files):
        assert [text.count(reason) for reason in reasons] == [1] * len(reasons)
        assert Counter(P_VALUE.findall(text)) == told


def test_no_p_value_is_finer_than_few_seeds_allow(files: ReportFiles) -> None:
    assert min(part.p_holm or 1 for part in files.effects.contrasts) < 0.0005
    for text in read_pages(files):
        values = P_VALUE.findall(text)
        assert "p < 0.001" in values
        assert min(float(value.split()[-1]) for value in values) == 0.001


def test_what_would_decide_a_question_stands_beside_its_word_and_in_its_reason(files: ReportFiles) -> None:
    labels = Counter(part.further.label for part in files.effects.contrasts if part.further)
    page = read_pages(files)[1]
    assert labels
    assert all(page.count(f">{label}<") == count for label, count in labels.items())


def test_no_line_of_the_page_ends_within_an_interval_a_p_value_or_a_share(files: ReportFiles) -> None:
    page = unescape(files.html.read_text(encoding="utf-8"))
    shown = page[page.index('class="answer"') : page.index("What this does not show")]
    assert re.search(r"\[[+-]\d+,\u00a0[+-]\d+\]", shown)
    assert re.search(r"p\u00a0=\u00a00", shown)
    told = re.sub(r"<(svg|figcaption).*?</\1>", "", shown, flags=re.DOTALL)
    assert not re.search(r"\[[^\]]* [^\]]*\]|\bp [=<]|\d %", told)


def test_gains_that_a_reason_names_are_left_to_it(files: ReportFiles) -> None:
    text = read_pages(files)[0]
    (open_question,) = re.findall(r"^- CT Brain Mass: no evidence\..*$", text, re.MULTILINE)
    (composes,) = re.findall(r"^- US Kidney Bleed: composes\..*$", text, re.MULTILINE)
    assert open_question.count("points") == 3
    assert re.search(r", \+\d+ points \[\S+, \S+\] over zero-shot and .* Reason: above zero-shot", composes)


def test_a_word_leads_to_its_reason_and_where_that_is_not_in_the_text_the_table_has_it(
    files: ReportFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = files.html.read_text(encoding="utf-8")
    for number, part in enumerate(files.effects.contrasts, start=1):
        assert f'<a href="#found-{number}">{part.word}</a>' in page
        assert f'<li id="found-{number}"' in page
    assert len(files.effects.contrasts) < MOST_TOLD
    for module in ("write", "words"):
        monkeypatch.setattr(f"cg_lab.reporting.{module}.MOST_TOLD", 1)
    folder = files.html.parent
    layout = Layout(folder.parents[1])
    cut = write_report(layout, "s", images=False, folder=folder / "cut")
    for text in read_pages(cut):
        assert [text.count(part.reason) for part in files.effects.contrasts] == [1, 1, 1]


def test_a_long_title_goes_on_in_a_further_line_so_that_its_word_is_seen(
    files: ReportFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plot_answers(files.effects)[0]
    monkeypatch.setattr("cg_lab.reporting.figures.LETTERS", 14)
    after = plot_answers(files.effects)[0]
    assert before.axes[0].get_title(loc="left") == "CT Brain Mass: no evidence"
    assert after.axes[0].get_title(loc="left") == "CT Brain Mass:\nno evidence"
    assert after.get_figheight() > before.get_figheight()
