"""Real images, where the pack lies beside the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from cg_lab.config import read_study
from cg_lab.data.samples import Split, ask
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan

MANIFEST = Path(__file__).resolve().parents[3] / "shared" / "realpack" / "manifest.csv"

pytestmark = pytest.mark.skipif(not MANIFEST.exists(), reason="the pack of real images is not beside the project")


def test_real_images_are_planned_asked_about_and_kept_apart_by_group() -> None:
    study = read_study(["data=manifest", f"data.path={MANIFEST}", "design=all_related", "seeds=[0]"])
    catalog = read_catalog(study.data)
    plan = build_plan([Run(name="", study=study, catalog=catalog, backbone=identify_backbone(study.model))])
    assert len(plan.contrasts) == 8
    assert not any(contrast.fully_covered for contrast in plan.contrasts)
    source = open_source(plan.catalogs[0], MANIFEST)
    tested: set[str] = set()
    trained: set[str] = set()
    for subset in plan.catalogs[0].subsets:
        test, train = (source.read_samples(subset.name, split) for split in (Split.TEST, Split.TRAIN))
        tested |= {sample.group or sample.id for sample in test}
        trained |= {sample.group or sample.id for sample in train}
        assert len(source.read_images(test[:2])) == 2
        assert ask(source, test[0]).options[ask(source, test[0]).answer] == test[0].label
    assert not tested & trained
