"""`explain` tells in words; the maps of a plan are sound SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from cg_lab.cli import main

MED_MAT = ("data=med_mat", "twins=equal")


def test_a_target_is_explained_with_its_tags_twins_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "ct-brain-cancer-06", *MED_MAT, "design.directions=[area]"]) == 0
    told = capsys.readouterr().out
    for text in (
        "cancer (counts as state too)",
        "twins      none",
        "shared by all: area",
        "ct-brain-state-05 shows modality CT and area Brain",
        "xray-brain-cancer-32 shows area Brain and task cancer",
        "unrelated: 1,536 samples of 22 subsets",
        "not checked for shared images",
    ):
        assert text in told


def test_a_target_that_nothing_can_be_asked_about_is_told_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "co-cervix-quality-01", *MED_MAT]) == 0
    assert "nothing can be asked about it: no two subsets share its task" in capsys.readouterr().out


def test_a_subset_of_another_kind_and_an_unknown_one_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "der-skin-detection-38", *MED_MAT]) == 2
    assert "is a detection subset; design.kinds has classification" in capsys.readouterr().err
    assert main(["explain", "ct-brain-cancer-6", *MED_MAT]) == 2
    assert "Did you mean 'ct-brain-cancer-06'" in capsys.readouterr().err


def test_plan_draws_grid_and_graph(tmp_path: Path) -> None:
    assert main(["plan", *MED_MAT, "design=folds", f"results_dir={tmp_path}"]) == 0
    for name in ("grid", "graph"):
        text = (tmp_path / "studies" / "med_mat_folds" / "figures" / f"{name}.svg").read_text()
        root = ET.fromstring(text)
        titles = {part.text for part in root.iter() if part.tag.endswith("title")}
        assert any("ct-lung-cancer-04" in (title or "") and "target" in (title or "") for title in titles)
