"""What a sweep and a report print at their end, from the file of effects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cg_lab.cli import show
from cg_lab.cli.show import MOST_ROWS, show_effects
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from cg_lab.reporting.tables import write_csv
from cg_lab.results import Layout


def test_of_many_questions_the_first_are_printed_and_the_others_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = read_study(["targets=null", "seeds=[0]", "arms=[zero_shot,related]", "study=many"])
    catalog = read_catalog(study.data)
    plan = build_plan([Run(name="", study=study, catalog=catalog, backbone=identify_backbone(study.model))])
    assert len(plan.contrasts) > MOST_ROWS
    layout = Layout(tmp_path)
    layout.study("many").mkdir(parents=True)
    shared = dict.fromkeys(("variant", "level", "direction", "verdict", "verdict_reason", "gain_over_unrelated"), "")
    rows = [
        {"contrast": contrast.id, "target": contrast.target, "related": ";".join(contrast.related), **shared, **own}
        for contrast in plan.contrasts
        for own in (
            {"arm": "zero_shot", "accuracy": "0.25"},
            {"arm": "related", "accuracy": "0.5", "verdict": "cannot say"},
        )
    ]
    write_csv(layout.study("many") / "effects.csv", rows)
    show_effects(layout, plan)
    head, *printed, last = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["target", "trained", "on"]
    assert [line.split()[0] for line in printed] == [contrast.target for contrast in plan.contrasts[:MOST_ROWS]]
    assert all(line.split()[-7:] == ["25", "%", "50", "%", "-", "cannot", "say"] for line in printed)
    assert last.strip() == f"... {len(plan.contrasts) - MOST_ROWS} more"


@pytest.mark.parametrize("columns", [80, 200])
def test_names_that_one_must_type_are_whole_at_any_width_and_each_verdict_says_why(
    columns: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "open_console", lambda: Console(width=columns, highlight=False))
    study = read_study(["design=three_source", "seeds=[0]", "study=few"])
    catalog = read_catalog(study.data)
    plan = build_plan([Run(name="", study=study, catalog=catalog, backbone=identify_backbone(study.model))])
    layout, reason = Layout(tmp_path), "not resolved: over unrelated (+10 points, p = 0.076); [what] would decide it"
    layout.study("few").mkdir(parents=True)
    gain = {"gain_over_unrelated": "0.1", "gain_over_unrelated_low": "-0.01", "gain_over_unrelated_high": "0.2"}
    empty = {
        "variant": "",
        "level": "",
        "direction": "",
        "verdict": "",
        "verdict_reason": "",
        **dict.fromkeys(gain, ""),
    }
    rows = [
        {"contrast": contrast.id, "target": contrast.target, "related": ";".join(contrast.related), **empty, **own}
        for contrast in plan.contrasts
        for own in (
            {"arm": "zero_shot", "accuracy": "0.25"},
            {"arm": "related", "accuracy": "0.5", "verdict": "no evidence", "verdict_reason": reason, **gain},
        )
    ]
    write_csv(layout.study("few") / "effects.csv", rows)
    show.show_effects(layout, plan)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= columns
    words = " ".join(printed.split())
    for contrast in plan.contrasts:
        assert all(name in printed for name in (contrast.target, *contrast.related))
    assert words.count("+10 points [-1, +20]") == words.count("no evidence") == len(plan.contrasts)
    assert words.count(reason) == len(plan.contrasts)


@pytest.mark.parametrize("width", [60, 70, 80, 120])
def test_a_table_is_broken_between_words_and_nothing_of_it_is_cut(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    table = show.open_table("held out target", "trained on", "number", right={"number"})
    names = ("ultrasound-breast-mass", "ultrasound-kidney-bleed + ultrasound-brain-mass", "1,536")
    table.add_row(*names)
    show.print_table(Console(width=width, highlight=False), table)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    assert set(" ".join(names).split()) <= set(printed.split())


def test_ceilings_at_a_guess_are_told_before_any_verdict_with_what_to_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = read_study(["seeds=[0]", "arms=[zero_shot,related,ceiling]", "study=low"])
    catalog = read_catalog(study.data)
    plan = build_plan([Run(name="", study=study, catalog=catalog, backbone=identify_backbone(study.model))])
    layout = Layout(tmp_path)
    layout.study("low").mkdir(parents=True)
    empty = dict.fromkeys(("variant", "level", "direction", "verdict", "verdict_reason", "gain_over_unrelated"), "")

    def show_with(*lows: str) -> str:
        rows = [
            {"contrast": part.id, "target": part.target, "related": "a;b", "chance": "0.5", "accuracy": "0.55", **empty}
            | {"arm": arm, "accuracy_low": low, "verdict": "cannot say" if arm == "related" else ""}
            for part, low in zip(plan.contrasts, lows, strict=True)
            for arm in ("related", "ceiling")
        ]
        write_csv(layout.study("low") / "effects.csv", rows)
        show_effects(layout, plan)
        return " ".join(capsys.readouterr().out.split())

    shown = show_with("0.6", "0.5", "0.4", "0.51")
    assert shown.startswith("Training too short or too little data: in 2 of 4 held-out questions")
    assert "(1,536 samples, 48 steps)" in shown
    assert shown.index("Try finetune.min_steps=200 study=low_200_steps") < shown.index("verdict")
    assert show_with("0.6", "0.7", "0.55", "0.51").startswith("target")


def test_questions_of_several_settings_are_told_apart_by_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = read_study(["seeds=[0]", "arms=[zero_shot,related]", "study=two", "targets=[ct-brain-mass]"])
    catalog, backbone = read_catalog(study.data), identify_backbone(study.model)
    runs = [
        Run(name=f"finetune.learning_rate={rate:g}", study=changed, catalog=catalog, backbone=backbone)
        for rate in (0.1, 0.2)
        for changed in [replace(study, finetune=replace(study.finetune, learning_rate=rate))]
    ]
    plan, layout = build_plan(runs), Layout(tmp_path)
    layout.study("two").mkdir(parents=True)
    empty = dict.fromkeys(("variant", "level", "direction", "verdict_reason", "gain_over_unrelated"), "")
    rows = [
        {"contrast": part.id, "setting": part.setting, "target": part.target, "related": "a;b", **empty}
        | {"arm": "related", "accuracy": "0.5", "verdict": "cannot say"}
        for part in plan.contrasts
    ]
    write_csv(layout.study("two") / "effects.csv", rows)
    show_effects(layout, plan)
    printed = capsys.readouterr().out
    assert "ct-brain-mass, finetune.learning_rate=0.1 " in printed
    assert "ct-brain-mass, finetune.learning_rate=0.2 " in printed


def test_a_table_whose_words_do_not_fit_becomes_a_few_lines_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    table = show.open_table("what", "trained", "untouched", right=("trained", "untouched"))
    table.add_row("tiny_llava", "1,628,384", "")
    show.print_table(Console(width=20, highlight=False), table)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == ["tiny_llava", "  trained 1,628,384"]
    show.print_table(Console(width=40, highlight=False), table)
    assert "untouched" in capsys.readouterr().out.splitlines()[0]
