"""Real images, where the pack lies beside the project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cg_lab.catalog import Catalog
from cg_lab.cli import main
from cg_lab.config import read_study
from cg_lab.data.samples import DataSource, Split, ask
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from tests.data import layouts

MANIFEST = Path(__file__).resolve().parents[3] / "shared" / "realpack" / "manifest.csv"

pytestmark = pytest.mark.skipif(not MANIFEST.exists(), reason="the pack of real images is not beside the project")

Write = Callable[[layouts.Rows, Path], list[str]]
WRITERS: dict[str, Write] = {
    "manifest": layouts.write_manifest,
    "med_mat": layouts.write_release,
    "medmnist": layouts.write_medmnist,
    "imagefolder": layouts.write_folders,
    "dicom_table": layouts.write_dicom_table,
    "findings": layouts.write_one_hot,
    "conversations": layouts.write_conversations,
    "coco": layouts.write_coco,
    "webdataset": layouts.write_webdataset,
    "archive": layouts.write_archive,
}


def open_all(overrides: list[str], kept: Path) -> tuple[Catalog, DataSource]:
    study = read_study(overrides)
    catalog = read_catalog(study.data, kept)
    plan = build_plan([Run(name="", study=study, catalog=catalog, backbone=identify_backbone(study.model))])
    return catalog, open_source(plan.catalogs[0], kept)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, DataSource]:
    """Open the whole pack once."""
    return open_all(["data=manifest", f"data.path={MANIFEST}", "design=all_related"], tmp_path_factory.mktemp("pack"))


def test_real_images_are_planned_asked_about_and_kept_apart_by_group(opened: tuple[Catalog, DataSource]) -> None:
    catalog, source = opened
    tested: set[str] = set()
    trained: set[str] = set()
    assert len(catalog.subsets) == 8
    for subset in catalog.subsets:
        test, train = (source.read_samples(subset.name, split) for split in (Split.TEST, Split.TRAIN))
        tested |= {sample.group or sample.id for sample in test}
        trained |= {sample.group or sample.id for sample in train}
        assert len(source.read_images(test[:2])) == 2
        assert ask(source, test[0]).options[ask(source, test[0]).answer] == test[0].label
    assert not tested & trained


def test_shortcuts_and_look_alikes_of_real_images_are_told(opened: tuple[Catalog, DataSource]) -> None:
    told = {(note.subject, "look" in note.reason) for note in opened[0].notes}
    assert ("mri-brain-cancer", False) in told  # its classes come from two places
    assert ("us-breast-cancer", True) in told  # two films of one patient, a frame apart


@pytest.mark.slow
def test_every_layout_gives_the_same_samples_splits_and_questions(tmp_path: Path) -> None:
    rows = layouts.read_rows(MANIFEST, every=5)
    found: dict[str, tuple[object, ...]] = {}
    for name, write in WRITERS.items():
        overrides = [*write(rows, tmp_path / name), "design=all_related", "data.test_share=0.25"]
        catalog, source = open_all(overrides, tmp_path / "kept" / name)
        samples = tuple(
            source.read_samples(subset.name, split) for subset in catalog.subsets for split in (Split.TRAIN, Split.TEST)
        )
        asked = tuple(ask(source, sample) for side in samples for sample in side)
        shown = tuple(image.convert("RGB").tobytes() for image in source.read_images(samples[0]))
        found[name] = (catalog.data, catalog.subsets, samples, asked, shown)
    assert sum(len(side) for side in found["manifest"][2]) > 400  # type: ignore[arg-type]
    for name in WRITERS:
        assert found[name] == found["manifest"], name


TRAINED = ("manifest", "dicom_table")
"""Layouts whose images go through a training of their own: files as they are, films, and an archive."""


@pytest.mark.slow
def test_every_layout_has_the_same_effects(tmp_path: Path) -> None:
    """Some are swept on their own; the others in the folder of the first one, whose results serve them all."""
    rows = layouts.read_rows(MANIFEST, every=10)
    common = ["sweep", "design=all_related", "seeds=[0]", "data.test_share=0.25", "data.min_steps=0", "tracking=none",
              "arms=[zero_shot,unrelated,related]", "targets=[ct-lung-cancer-01]", "design.max_samples=64"]  # fmt: skip
    effects: dict[str, str] = {}
    for name, write in sorted(WRITERS.items(), key=lambda item: item[0] not in TRAINED):
        results = tmp_path / f"results_{name if name in TRAINED else TRAINED[0]}"
        before = set((results / "jobs").glob("*"))
        assert main([*common, *write(rows, tmp_path / name), f"results_dir={results}", f"study={name}"]) == 0
        written = (results / "studies" / name / "effects.csv").read_text(encoding="utf-8")
        effects[name] = written.replace(f"\n{name},", "\nlayouts,")
        if name not in TRAINED:
            assert set((results / "jobs").glob("*")) == before
    assert len(effects["manifest"].splitlines()) > 3
    for name in WRITERS:
        assert effects[name] == effects["manifest"], name
