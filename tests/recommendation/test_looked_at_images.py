"""What `recommend --features` and `--validation` look at, from the command line to the folder that keeps it."""

import json
from pathlib import Path

import pytest

from cg_lab.cli import main

SMALL = ("data.modalities=[CT,MRI]", "data.areas=[Lung,Brain]", "data.tasks=[Mass]", "data.train_per_subset=8")
TARGET = "ct-brain-mass"


@pytest.mark.slow
def test_images_of_the_target_are_looked_at_only_where_it_gives_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["recommend", TARGET, *SMALL, f"results_dir={tmp_path}", "data.targets=null"]
    assert main([*common, "--features"]) == 0
    printed = capsys.readouterr()
    assert f"not looked at: any image of {TARGET}" in printed.out
    assert f"looking at {TARGET}" not in printed.err
    assert "LogME of its own labels" in printed.out
    assert len(list((tmp_path / "features").glob("*.npz"))) == 3

    assert main([*common, "--features", "--validation", "4", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert printed.err.count("looking at ") == 1, "what was looked at before is read"
    assert f"looking at {TARGET}" in printed.err
    assert found["num_target_images"] == 4
    assert found["source_views"][0]["probed"] is not None


def test_a_number_of_images_below_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", TARGET, "--validation", "-2", f"results_dir={tmp_path}"]) == 2
    assert "--validation -2" in capsys.readouterr().err
