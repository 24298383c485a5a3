"""The table of arms: what it refuses when the package loads, and that whatever it holds is told everywhere."""

from __future__ import annotations

import re
import runpy
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cg_lab import arms
from cg_lab.arms import CONTROLS, REFERENCES, Arm, Traits
from cg_lab.cli.show import show_effects
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Cell
from cg_lab.questions import AnyQuestion
from cg_lab.reporting.formats import write_tables
from cg_lab.reporting.names import name_arm
from cg_lab.reporting.write import write_report
from cg_lab.results import Layout, read_plan, write_plan
from cg_lab.tracking.records import build_records
from tests import every_arm
from tests.reporting.answering import Row, choose, write_answers

TABLE = Path(arms.__file__).read_text(encoding="utf-8")
GOOD: dict[str, Any] = {"words": "nearest", "meaning": "trained on one subset", "colour": "#D55E00"}


@pytest.mark.parametrize(
    ("traits", "reason"),
    [
        ({"colour": "orange"}, "#rrggbb"),
        ({"colour": "#D55E0"}, "#rrggbb"),
        ({"words": " "}, "its words"),
        ({"words": "near|est"}, "its words"),
        ({"meaning": ""}, "needs a meaning"),
        ({"model": "main", "is_budgeted": True}, "only a training of its own"),
        ({"model": "untouched", "shows": "nothing"}, "only a training of its own"),
        ({"model": "main", "is_main": True}, "only a training of its own"),
        ({"is_main": True, "is_reference": True}, "reference of its own gain"),
        ({"num_seeds": 0}, "can't be trained with 0 seeds"),
        ({"model": "main", "num_seeds": 1}, "only a training of its own has a number of seeds"),
        ({"is_main": True, "num_seeds": 2}, "a main arm is trained with all seeds"),
        ({"asks_target": False}, "only the main arm's model"),
        ({"asks_target": False, "model": "main", "is_reference": True}, "are about the target"),
        ({"asks_target": False, "model": "main", "is_headline": True}, "are about the target"),
    ],
)
def test_traits_that_nothing_could_plan_tell_or_draw_are_refused(traits: dict[str, Any], reason: str) -> None:
    Traits(**GOOD)
    with pytest.raises(ValueError, match=reason):
        Traits(**GOOD | traits)


@pytest.mark.parametrize(
    ("name", "words", "reason"),
    [
        ("nearest", "nearest", None),
        ("nearest", "blind", "two arms have the same words"),
        ("blind", "nearest", "duplicate values"),
        ("near/est", "nearest", "small letters"),
        ("again", 'again", model="untouched', "two arms ask one model the same"),
        ("again", 'again", model="main", image="blank', "two arms ask one model the same"),
        ("again", 'again", model="main', "two arms ask one model the same"),
        ("Nearest", "nearest", "small letters"),
    ],
)
def test_an_entry_that_could_be_taken_for_another_is_refused(
    tmp_path: Path, name: str, words: str, reason: str | None
) -> None:
    entry = f'    NEAREST = ("{name}", Traits(words="{words}", meaning="m", colour="#D55E00"))\n'
    path = tmp_path / "arms.py"
    path.write_text(TABLE.replace("    WITHOUT = (", f"{entry}    WITHOUT = (", 1), encoding="utf-8")
    if reason is None:
        assert len(runpy.run_path(str(path), run_name="arms")["Arm"]) == len(Arm) + 1
    else:
        with pytest.raises(ValueError, match=reason):
            runpy.run_path(str(path), run_name="arms")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A study of every arm whose answers are made up, with its report."""
    layout = Layout(tmp_path_factory.mktemp("results"))
    study = read_study(
        [
            "study=every", "finetune=lora", "seeds=[0,1]", "targets=[ct-brain-mass]", "rule.resamples=100",
            "data.modalities=[CT,MRI,US]", "data.areas=[Lung,Brain,Breast]", "data.tasks=[Mass,Bleed]",
            "data.train_per_subset=20", "data.test_per_subset=20", f"arms=[{','.join(Arm)}]",
        ]
    )  # fmt: skip
    design = every_arm.Settings(name="tests.every_arm", kinds=("classification",), max_samples=16)
    run = Run(
        name="",
        study=replace(study, design=design),
        catalog=read_catalog(study.data),
        backbone=identify_backbone(study.model),
    )
    plan = build_plan([run])
    write_plan(layout, plan)
    write_answers(layout, plan, answer)
    return layout


def answer(cell: Cell, number: int, question: AnyQuestion) -> Row:
    place = list(Arm).index(cell.arm)
    return choose(question, (number * (place + 1)) % 7 % 2, 0.6)


@pytest.fixture(scope="module")
def report(layout: Layout) -> Path:
    """Its folder, with everything that is written of it."""
    write_report(layout, "every", images=False)
    write_tables(layout, "every", "md")
    return layout.study("every")


def test_every_arm_has_its_rows_and_is_named_explained_and_drawn(layout: Layout, report: Path) -> None:
    variants = {cell.arm: cell.variant for cell in read_plan(layout.plan("every")).cells}
    for name in ("effects.csv", "cells.csv"):
        assert set(pd.read_csv(report / name)["arm"]) == set(Arm)
    page = unescape((report / "report.html").read_text(encoding="utf-8"))
    figure = (report / "figures" / "arms.svg").read_text(encoding="utf-8")
    for arm in Arm:
        assert f"<dt>{arm.traits.words}</dt><dd>{arm.traits.meaning}</dd>" in page
        assert (f">{name_arm(arm, variants[arm])}</text>" in figure) == arm.traits.asks_target
        assert (f", {arm.traits.words}" in figure) == arm.traits.asks_target


def test_each_reference_has_its_columns_and_its_panel(report: Path) -> None:
    effects = pd.read_csv(report / "effects.csv")
    main = effects[effects["verdict"].notna()]
    assert len(main) == 2
    for over in REFERENCES:
        columns = [f"gain_over_{over}{end}" for end in ("", "_low", "_high", "_p", "_bootstrap_low", "_bootstrap_high")]
        assert main[columns].notna().all(axis=None)
        assert f">over {over.traits.words}</text>" in (report / "figures" / "forest.svg").read_text(encoding="utf-8")
    for over in CONTROLS:
        assert main[f"mcnemar_p_over_{over}"].notna().all()
        assert f">points over {over.traits.words}</th>" in (report / "report.html").read_text(encoding="utf-8")


def test_every_arm_is_mirrored_with_its_gains_over_the_controls(layout: Layout) -> None:
    records = [
        record for record in build_records(read_plan(layout.plan("every")), layout) if record.tags["kind"] == "cell"
    ]
    assert {record.tags["arm"] for record in records} == set(Arm)
    for record in records:
        arm = Arm(record.tags["arm"])
        has_seed = arm.traits.model != "untouched"
        over = [over for over in CONTROLS if over is not arm and (has_seed or over.traits.model == "untouched")]
        gains = {f"gain_over_{name}" for name in over if arm.traits.asks_target}
        assert {name for name in record.metrics if name.startswith("gain_")} == gains


def test_examples_show_what_each_headline_arm_answered(report: Path) -> None:
    examples = (report / "report.md").read_text(encoding="utf-8").split("## Examples")[1].split("\n## ")[0]
    for arm in Arm:
        assert bool(re.search(rf"[|;] {arm.traits.words}: ", examples)) == arm.traits.is_headline


def test_the_terminal_and_printed_tables_have_a_column_for_each_arm_of_the_overviews(
    layout: Layout, report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_effects(layout, read_plan(layout.plan("every")))
    printed = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("target "))
    written = (report / "tables" / "results.md").read_text(encoding="utf-8").splitlines()[0]
    for arm in Arm:
        assert (f"  {arm.traits.words}  " in printed) == arm.traits.is_tabulated
        assert (f"| {arm.traits.words} |" in written) == arm.traits.is_tabulated
