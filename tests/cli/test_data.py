"""`data check`, `data preview` and `data prepare`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cg_lab.cli import main

SUBSETS = (("CT", "Lung", "Cancer"), ("CT", "Brain", "Bleed"), ("MRI", "Brain", "Cancer"), ("US", "Breast", "Mass"))


@pytest.fixture
def overrides(tmp_path: Path) -> list[str]:
    """Write four small subsets; labels and paths would do harm in a page that did not escape them."""
    lines = ["image,label,modality,area,task,group"]
    for place, elements in enumerate(SUBSETS):
        for number in range(24):
            pixels = np.random.default_rng([place, number]).integers(0, 255, (6, 6), dtype=np.uint8)
            name = f"{place}-{number}.png"
            Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(tmp_path / name)
            label = ("<script>alert(1)</script>", "ورم", "=cmd|' /C calc'!A0")[number % 3]
            lines.append(f'{name},"{label}",{",".join(elements)},p{place}{number // 2}')
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\nabsent.png,ورم,CT,Lung,Cancer,\n", encoding="utf-8")
    return [
        "data=manifest", f"data.path={tmp_path}/manifest.csv", "data.max_train=12", "design=all_related", "seeds=[0]",
        f"results_dir={tmp_path}/results", "tracking=none", "study=small",
    ]  # fmt: skip


def test_check_says_what_images_are_like(overrides: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", *overrides]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^ct-lung-cancer +3 +12 +6 ", told, re.MULTILINE)
    assert re.search(r"4 subsets, \d+ images in use: 48 train, \d+ test", told)
    assert "1 x image missing or not decodable, left out; manifest.csv, 98: absent.png (missing)" in told


@pytest.mark.parametrize(
    ("floor", "few", "many", "warns"),
    [
        ((), "12 samples takes 200 steps, 200 x each", "48 samples takes 200 steps, 100 x each", False),
        (("finetune.min_steps=0",), "12 samples takes 1 steps, 1 x each", "48 samples takes 2 steps, 1 x each", True),
    ],
)
def test_check_foretells_how_many_steps_fine_tunes_take(
    floor: tuple[str, ...],
    few: str,
    many: str,
    warns: bool,
    overrides: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["data", "check", *overrides, *floor]) == 0
    told = capsys.readouterr().out
    line = next(line for line in told.splitlines() if line.startswith("steps: "))
    assert few in line
    assert many in line
    assert ("too few to learn anything from images; finetune.min_steps=200 goes" in told) == warns


def test_a_plan_counts_the_samples_that_a_floor_of_steps_takes(
    overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["plan", *overrides, "targets=[ct-lung-cancer]", "arms=[zero_shot,related]"]
    assert main([*common, "finetune.min_steps=0"]) == 0
    assert "12 training samples" in capsys.readouterr().out
    assert main(common) == 0
    told = capsys.readouterr().out
    assert "2,400 training samples" in told
    assert "1 of 1 fine-tunes are lengthened to finetune.min_steps=200" in told
    assert main([*common, "budget.samples=2399"]) == 2, "a budget counts them too"


def test_preview_shows_every_subset_and_harms_nobody(overrides: list[str], tmp_path: Path) -> None:
    assert main(["data", "preview", *overrides, "--each", "3"]) == 0
    page = (tmp_path / "results/data/preview-manifest.html").read_text(encoding="utf-8")
    assert page.count("<h2 ") == 4
    assert page.count('<img src="data:image/jpeg;base64,') == 24
    assert page.count('class="right"') == 24
    assert "<script>" not in page
    assert "http" not in page
    assert "<bdi>ورم</bdi>" in page


@pytest.mark.slow
def test_prepare_fills_the_cache_that_jobs_start_from(
    overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "prepare", *overrides]) == 0
    told = capsys.readouterr()
    assert "7/7 parts prepared in" in told.out
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "results/prepared").glob("*.safetensors")}
    assert len(files) == 7
    one = next(iter(files))
    whole = one.read_bytes()
    one.unlink()
    assert main(["data", "prepare", *overrides]) == 0
    assert one.read_bytes() == whole  # the rest was not done again
    assert all(file.stat().st_mtime_ns == at for file, at in files.items() if file != one)
    arms = "arms=[zero_shot,related,unrelated]"
    assert (
        main(["sweep", *overrides, arms, "targets=[ct-lung-cancer]", "finetune.epochs=1", "finetune.min_steps=0"]) == 0
    )
    assert {file.name for file in (tmp_path / "results/prepared").glob("*.safetensors")} == {
        file.name for file in files
    }


def test_phantoms_are_checked_and_shown_but_need_no_preparation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [
        f"results_dir={tmp_path}", "data.modalities=[CT,MRI]", "data.areas=[Lung,Brain]", "data.tasks=[Mass,Bleed]",
        "data.targets=null", "data.train_per_subset=8", "data.test_per_subset=8", "design=all_related",
    ]  # fmt: skip
    for action in ("check", "preview", "prepare"):
        assert main(["data", action, *common]) == 0
    told = capsys.readouterr().out
    assert "8 subsets, 128 images in use" in told
    assert "nothing to prepare" in told
    assert (tmp_path / "data/preview-phantom_compositional.html").stat().st_size > 10_000


def test_a_catalogue_without_images_has_nothing_to_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "data=med_mat", f"results_dir={tmp_path}"]) == 2
    assert "data.release=FOLDER" in capsys.readouterr().err
