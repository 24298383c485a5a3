"""The section "Examples" of a report."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cg_lab.analysis.effects import compute_effects
from cg_lab.arms import Arm
from cg_lab.cli import main
from cg_lab.cli.arguments import parse_arguments
from cg_lab.data.phantom import World
from cg_lab.data.phantom.rendering import DRAWING_VERSIONS
from cg_lab.planning.plan import Cell, Plan
from cg_lab.questions import AnyQuestion, Question
from cg_lab.reporting.illustrate import Section, illustrate
from cg_lab.reporting.words import tell_story
from cg_lab.reporting.write import write_report
from cg_lab.results import Layout
from tests.reporting.answering import Row, answer_by_arm, choose, find, plan_images, plan_study, write, write_answers


def show(plan: Plan, layout: Layout, *, images: bool = True) -> Section:
    section = illustrate(plan, layout, {job.id for job in plan.evals}, images=images)
    assert section is not None
    return section


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, Plan]:
    layout = Layout(tmp_path_factory.mktemp("phantoms"))
    plan = plan_study(layout, "targets=[ct-brain-mass,us-kidney-bleed]", "data.test_per_subset=40")
    write_answers(layout, plan, answer_by_arm)
    return layout, plan


def test_bars_are_the_probabilities_that_the_predictions_hold(phantoms: tuple[Layout, Plan]) -> None:
    layout, plan = phantoms
    section = show(plan, layout)
    part, card = section.parts[0], section.parts[0].cards[0]
    assert [column.name for column in card.columns] == ["zero-shot", "unrelated", "related", "ceiling"]
    assert [column.is_right for column in card.columns] == [False, False, True, True]
    assert part.name == "CT Brain Mass"
    contrast = plan.contrasts[0].id
    shares = []
    for job in [cell.eval_job for cell in plan.cells if (cell.contrast, cell.arm) == (contrast, Arm.RELATED)]:
        rows = pq.read_table(layout.predictions(job)).to_pylist()
        right = [row for row in rows if row["correct"] and row["instruction"] == card.question]
        shares.append([np.exp(row["log_probs"]) / np.exp(row["log_probs"]).sum() for row in right])
    bars = [line.bars[2].share for line in card.lines]
    assert any(np.allclose(bars, share) for share in np.mean(shares, axis=0))
    assert sum(bars) == pytest.approx(1)
    assert [line.is_right for line in card.lines] == [line.bars[2].is_chosen for line in card.lines]


def test_every_held_out_question_has_one_example_of_each_kind(phantoms: tuple[Layout, Plan]) -> None:
    layout, plan = phantoms
    for part in show(plan, layout).parts:
        assert [card.why for card in part.cards] == [
            "related right, unrelated wrong", "related wrong, and surest of it", "typical",
        ]  # fmt: skip
        assert all(card.image and card.image.uri.startswith("data:image/png;") for card in part.cards)


def test_confusions_count_the_answers_of_all_seeds(phantoms: tuple[Layout, Plan]) -> None:
    layout, plan = phantoms
    for part in show(plan, layout).parts:
        found = part.confusions
        assert found is not None
        assert found.num_answers == 80
        assert found.num_wrong == 2 * len(range(2, 40, 3))


def test_two_reports_of_a_study_have_the_same_bytes_and_their_images_in_them(phantoms: tuple[Layout, Plan]) -> None:
    layout, plan = phantoms
    first = write_report(layout, plan.study)
    before = first.html.read_bytes(), first.markdown.read_bytes()
    again = write_report(layout, plan.study)
    assert (again.html.read_bytes(), again.markdown.read_bytes()) == before
    page = before[0].decode()
    images = re.findall(r'<img[^>]* src="data:image/png;base64,[^"]+"[^>]* alt="([^"]+)"', page)
    assert len(images) == 6
    assert images[0].startswith("Test image of CT Brain Mass; right answer: ")
    assert "| CT Brain Mass | related right, unrelated wrong (the middle one of " in before[1].decode()


def test_no_images_leaves_them_out_of_the_page_and_says_so(phantoms: tuple[Layout, Plan]) -> None:
    layout, plan = phantoms
    given = [f"results_dir={layout.root}", f"study={plan.study}"]
    page = layout.study(plan.study) / "report.html"
    for asked in (["--no-images"], ["report_images=false"]):
        assert main(["report", *given]) == 0
        assert page.read_text(encoding="utf-8").count("data:image") == 6
        assert main(["report", *given, *asked]) == 0
        text = page.read_text(encoding="utf-8")
        assert "data:image" not in text
        assert "Images were left out, as --no-images" in text
        assert "related right, unrelated wrong" in text


def test_the_help_of_report_tells_how_to_leave_images_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["report", "--help"])
    assert "--no-images" in capsys.readouterr().out


def test_a_study_without_predictions_has_no_section(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plan = plan_study(layout, "targets=[ct-brain-mass]")
    assert illustrate(plan, layout, set(), images=True) is None
    assert "<h2>Examples" not in write_report(layout, plan.study).html.read_text(encoding="utf-8")


def test_a_study_without_training_asks_how_well_the_untouched_model_answers_and_shows_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plan = plan_study(layout, "targets=[ct-brain-mass]", "data.test_per_subset=20", "arms=[zero_shot]")
    write_answers(layout, plan, answer_by_arm)
    assert tell_story(compute_effects(plan, {}, {})).question.endswith("without any training?")
    assert [column.name for column in show(plan, layout).parts[0].cards[0].columns] == ["zero-shot"]


def test_predictions_of_older_versions_give_no_section(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plan = plan_study(layout, "targets=[ct-brain-mass]", "data.test_per_subset=40")
    write_answers(layout, plan, answer_by_arm)
    for job in plan.evals:
        table = pq.read_table(layout.predictions(job.id))
        pq.write_table(table.select(["question", "group", "score"]), layout.predictions(job.id))
    assert illustrate(plan, layout, {job.id for job in plan.evals}, images=True) is None


def test_images_that_are_gone_cost_the_report_nothing_but_themselves(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "results")
    plan = plan_images(layout, tmp_path)
    write_answers(layout, plan, answer_by_arm)
    whole = show(plan, layout)
    assert whole.no_images == ""
    assert all(card.image and max(card.image.width, card.image.height) == 224 for card in whole.parts[0].cards)
    for path in tmp_path.glob("*.png"):
        path.unlink()
    files = write_report(layout, plan.study)
    text = files.html.read_text(encoding="utf-8")
    assert "data:image" not in text
    assert re.search(
        r"The images can&#39;t be shown: image &#39;0-\d+\.png&#39; below &#39;.*&#39; can&#39;t be read", text
    )
    assert "missing; plan again; and 2 more." in text
    assert "The images can't be shown" in files.markdown.read_text(encoding="utf-8")


def test_a_table_of_images_that_is_gone_or_damaged_is_told(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "results")
    plan = plan_images(layout, tmp_path)
    write_answers(layout, plan, answer_by_arm)
    (table,) = (layout.data / "tables").iterdir()
    (table / "samples.parquet").write_bytes(b"none")
    assert "the table of images can't be read for subset 'ct-lung-mass'" in show(plan, layout).no_images
    (table / "about.json").unlink()
    assert "no table of images in" in show(plan, layout).no_images


def test_phantoms_of_another_version_are_not_drawn_as_if_they_were_the_same(
    phantoms: tuple[Layout, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, plan = phantoms
    monkeypatch.setitem(DRAWING_VERSIONS, World.COMPOSITIONAL, 99)
    assert (
        "phantoms are drawn by version 1 of the compositional world, and this cg_lab has version 99"
        in show(plan, layout).no_images
    )


def test_options_of_unequal_number_keep_their_own_probabilities(tmp_path: Path) -> None:
    """Questions of the source's own may have two options or four."""

    def answer(cell: Cell, number: int, question: AnyQuestion) -> Row:
        assert isinstance(question, Question)
        options = (*question.options, "third", "fourth") if number % 2 else question.options
        asked = Question(text=question.text, options=options, answer=question.answer)
        return choose(asked, asked.answer if cell.arm is not Arm.UNRELATED else 1 - asked.answer, 0.7)

    layout = Layout(tmp_path / "results")
    plan = plan_images(layout, tmp_path)
    write_answers(layout, plan, answer)
    for card in show(plan, layout).parts[0].cards:
        assert len(card.lines) in {2, 4}
        for place in range(4):
            assert sum(line.bars[place].share for line in card.lines) == pytest.approx(1)
            assert max(line.bars[place].share for line in card.lines) == pytest.approx(0.7)


def test_of_many_options_the_weighty_ones_are_shown(tmp_path: Path) -> None:
    def answer(cell: Cell, number: int, question: AnyQuestion) -> Row:
        many = Question(text="Which?", options=tuple(f"option {place}" for place in range(20)), answer=11)
        return choose(many, 19 if cell.arm is Arm.RELATED else 3, 0.9)

    layout = Layout(tmp_path / "results")
    plan = plan_images(layout, tmp_path)
    write_answers(layout, plan, answer)
    card = show(plan, layout).parts[0].cards[0]
    assert {line.text for line in card.lines} >= {"option 3", "option 11", "option 19"}
    assert (len(card.lines), card.num_more) == (6, 14)


def test_answers_in_writing_show_the_share_of_seeds_and_what_named_no_option(tmp_path: Path) -> None:
    def answer(cell: Cell, number: int, question: AnyQuestion) -> Row:
        assert isinstance(question, Question)
        if cell.arm is Arm.ZERO_SHOT:
            return write(question, None)
        return write(question, question.answer if cell.seed == 0 or cell.arm is Arm.CEILING else None)

    layout = Layout(tmp_path / "results")
    plan = plan_images(layout, tmp_path)
    write_answers(layout, plan, answer)
    section = show(plan, layout)
    lines = section.parts[0].cards[0].lines
    by_name = {line.text: [bar.share for bar in line.bars] for line in lines}
    assert by_name[""] == [1, 0.5, 0.5, 0]
    assert [bars for line, bars in by_name.items() if line and sum(bars)] == [[0, 0.5, 0.5, 1]]
    assert "share of seeds that gave them" in section.bars
    assert "no option named" in write_report(layout, plan.study).html.read_text(encoding="utf-8")


def test_boxes_are_drawn_over_the_image_of_each_arm(tmp_path: Path) -> None:
    def answer(cell: Cell, number: int, question: AnyQuestion) -> Row:
        if cell.arm is Arm.ZERO_SHOT:
            return find(question, [], 0.0)
        shift, iou = (0.02, 0.8) if cell.arm is not Arm.UNRELATED else (0.2, 0.1)
        return find(question, [[0.33 + shift, 0.25, 0.55 + shift, 0.66]], iou - 0.001 * number - 0.2 * (number == 3))

    layout = Layout(tmp_path / "results")
    plan = plan_images(layout, tmp_path, boxes=True)
    write_answers(layout, plan, answer)
    section = show(plan, layout)
    assert section.parts[0].confusions is None
    card = section.parts[0].cards[0]
    assert card.columns[0].detail == "no box"
    assert [column.is_right for column in card.columns] == [False, False, True, True]
    page = write_report(layout, plan.study).html.read_text(encoding="utf-8")
    drawing = page[page.index('class="panels"') : page.index("</figure>", page.index('class="panels"'))]
    assert (drawing.count("<svg"), drawing.count("<image"), drawing.count("<use")) == (4, 1, 3)
    assert drawing.count("<rect") == 2 * (
        4 + 3
    )  # each box once dark and once bright; true ones four times, found three
    assert "Where it goes wrong" not in page
    bare = write_report(layout, plan.study, images=False).html.read_text(encoding="utf-8")
    assert "<image" not in bare
    assert bare.count("<rect") == page.count("<rect")


def test_two_worlds_whose_samples_have_the_same_ids_show_their_own_images(tmp_path: Path) -> None:
    from cg_lab.config import read_study
    from cg_lab.data.sources import read_catalog
    from cg_lab.models.identity import identify_backbone
    from cg_lab.planning.build import Run, build_plan
    from tests.reporting.answering import ARMS

    layout = Layout(tmp_path)
    runs = []
    for world in ("factored", "redundant"):
        study = read_study(
            ["study=s", "seeds=[0]", ARMS, "targets=[ct-brain-mass]", f"data.world={world}", "data.test_per_subset=20"]
        )
        backbone = identify_backbone(study.model)
        runs.append(Run(name=world, study=study, catalog=read_catalog(study.data), backbone=backbone))
    plan = build_plan(runs)
    write_answers(layout, plan, answer_by_arm)
    one, other = (part.cards[0] for part in show(plan, layout).parts)
    assert one.question == other.question
    assert one.image
    assert other.image
    assert one.image.uri != other.image.uri
